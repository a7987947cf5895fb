"""Ablation: what replaces the output of an ablated source.

corrupt    its output on the example's corrupt prompt
zero       0
mean       its mean over all clean rows, slot by slot
resample   its output on the clean row of another example (at the same step), drawn once from a seed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses.circuits.attribution.node_outputs import NodeOutputs, outputs_of
from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from analyses.circuits.attribution.prompts import PromptPairs

ABLATIONS = ("corrupt", "zero", "mean", "resample")


@dataclass
class Ablation:
    """One kind of ablation, for all rows of some prompts."""

    prompts: PromptPairs
    kind: str = "corrupt"
    seed: int = 0
    neurons: bool = False
    experts: bool = False
    _mean: NodeOutputs | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in ABLATIONS:
            raise ProbeError(
                f"ablation {self.kind!r}",
                expected="one of " + ", ".join(ABLATIONS),
                found=repr(self.kind),
                remedy=nearest(str(self.kind), ABLATIONS),
            )
        if self.experts and self.kind == "mean":
            raise ProbeError(
                "ablation 'mean' with experts",
                expected="corrupt, zero or resample",
                found="'mean', with which all experts would write at every token",
                remedy="Choose another ablation, or experts=False.",
            )

    def prepare(self, rows: int) -> None:
        """Compute what needs a pass over all rows (the means), in chunks of `rows`."""
        if self.kind != "mean" or self._mean is not None:
            return
        total = None
        for start in range(0, len(self.prompts), rows):
            canvas = self.prompts.canvas()[start : start + rows]
            part = outputs_of(self.prompts.model, canvas, neurons=self.neurons)[0].map(lambda found: found.sum(0))
            total = part if total is None else total.minus_(part.map(torch.neg))
        assert total is not None
        self._mean = total.map(lambda sums: sums / len(self.prompts))

    def instead(self, rows: slice, like: NodeOutputs) -> tuple[NodeOutputs, Tensor | None]:
        """The outputs that replace those of some rows (`like`), and the final norm's output of the run that made them,
        if there was one."""
        if self.kind == "zero":
            return like.map(torch.zeros_like), None
        if self.kind == "mean":
            self.prepare(rows.stop - rows.start)
            assert self._mean is not None
            count = len(like.embed)
            return self._mean.map(lambda mean: mean.expand(count, *mean.shape).clone()), None
        if self.kind == "resample":
            canvas = self.prompts.canvas()[self.partners[rows]]
        else:
            canvas = self.prompts.canvas("corrupt")[rows]
        return outputs_of(self.prompts.model, canvas, neurons=self.neurons, experts=self.experts)

    @property
    def partners(self) -> Tensor:
        """For each row, the row of another example at the same step; its own if there is no other."""
        generator = torch.Generator().manual_seed(self.seed)
        partner = torch.empty(len(self.prompts), dtype=torch.long)
        for step in self.prompts.step.unique():
            rows = (self.prompts.step == step).nonzero()[:, 0]
            rows = rows[torch.randperm(len(rows), generator=generator)]
            partner[rows] = rows.roll(1)
        return partner
