"""Directions towards an answer: the difference of means, each half of the examples steered by the other half's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from analyses.activations.answer_states import AnswerStates
from probe.errors import ProbeError
from probe.models.model import Model
from probe.tasks import Batch

LEAST = 2  # examples of the answer in each half


@dataclass(frozen=True, eq=False)
class Directions:
    """`vectors` (turn, feature), used by the examples in turn: with two of them, each half has its own."""

    vectors: Tensor
    toward: int

    def of(self, example: Tensor) -> Tensor:
        """Each question's direction (question × feature)."""
        return self.vectors[example % len(self.vectors)]

    def at_random(self, examples: int, generator: torch.Generator) -> Directions:
        """Random directions of the same length: each example has its own, so that examples are independent."""
        own = self.of(torch.arange(examples))
        drawn = torch.randn(own.shape, generator=generator)
        length = own.norm(dim=-1, keepdim=True)
        return Directions(drawn / drawn.norm(dim=-1, keepdim=True) * length, self.toward)


def directions(states: AnswerStates, layer: int, *, toward: int | None = None) -> Directions:
    """From the states after a layer at the answer's slot: the mean of the examples whose target is `toward` (by default
    the most common one), minus that of the others."""
    target = states.target
    chosen = most_common(states.batch) if toward is None else toward
    behind = states.at("resid_pre")[:, layer + 1].float()
    half, right = states.example % 2, target == chosen
    means = []
    for other in (1, 0):  # each half is steered with the other half's direction
        here = half == other
        if int((here & right).sum()) < LEAST or int((here & ~right).sum()) < LEAST:
            raise ProbeError(
                f"a direction towards token {chosen} on {states.batch.task}",
                expected=f"at least {LEAST} examples with and without that answer in each half",
                found=f"{int((here & right).sum())} and {int((here & ~right).sum())} in one",
                remedy="Use more examples, another token (toward=…), or directions of your own.",
            )
        means.append(behind[here & right].mean(0) - behind[here & ~right].mean(0))
    return Directions(torch.stack(means), chosen)


def most_common(batch: Batch) -> int:
    return int(batch.target.mode().values)


def given_or_found(
    role: str, states: AnswerStates, layer: int, given: Mapping[str, Tensor] | None, toward: int | None
) -> Directions:
    """A role's own direction if one was given, else the difference of means."""
    if given is None:
        return directions(states, layer, toward=toward)
    if role not in given or given[role].shape != (states.model.d_model,) or not bool(given[role].isfinite().all()):
        raise ProbeError(
            f"the direction for {role!r}",
            expected=f"{states.model.d_model} finite numbers",
            found="none" if role not in given else f"shape {tuple(given[role].shape)}",
            remedy="Give one for each role: {'ar': …, 'diffusion': …}; a model alone has the role 'model'.",
        )
    return Directions(given[role].float().cpu()[None], most_common(states.batch) if toward is None else toward)


def checked_layer(model: Model, layer: int | None) -> int:
    """The layer after which to steer: by default a third of the way up. Not the last, which only the unembedding reads;
    and `states` hold the layers' inputs."""
    last = model.n_layers - 2
    chosen = min(last, model.n_layers // 3) if layer is None else layer
    if not isinstance(chosen, int) or not 0 <= chosen <= last:
        raise ProbeError(
            "the layer to steer after", expected=f"a number from 0 to {last}", found=str(layer),
            remedy="After the last layer only the unembedding is left.",
        )  # fmt: skip
    return chosen
