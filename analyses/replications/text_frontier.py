"""English text written by flows, compared with the discrete twin, independent tokens, and real text.

    frontier       likelihood under an AR model, variety, and distance from real text
    beyond_text    how much closer to real text a flow is than independent tokens, and its map in one step than
                   the flow in one

Likelihood alone can be gamed: text that repeats itself is likely. So each way of writing is a point with two
coordinates, and it is better than another only if it is likelier AND no less varied. `off` combines both: the squared
distance between the bigram frequencies of what was written and those of the text, relative to the squared norm of the
text's. Sampling noise is subtracted, so text of the same kind has an expected value of 0 and may come out below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses import statistics
from analyses.replications.flows import FACTORISED, STEPS, UNIGRAM, FlowModels
from analyses.replications.written_answers import (
    ROWS,
    Rule,
    as_autoregression,
    refuse_without,
    write,
)
from analyses.result import Result
from analyses.statistics.magnitudes import squares
from probe.decoding import Sampler, writer_of
from probe.models.model import Model
from probe.paradigms import Masked

TEXT = "text itself"
SUREST = "surest first"
GIVEN = 8  # tokens of a text that are the prompt


def frontier(
    models: Mapping[str, Model],
    judge: Model,
    texts: Tensor,
    *,
    reference: str | None = None,
    given: int = GIVEN,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
) -> Result:
    """The likelihood under an AR model, the variety, and the distance from real text of what each model writes.

    `texts` (n × length) are held-out: their first `given` tokens are the prompts, and the texts themselves, scored in
    the same way, show where real text is. Every model samples: a masked one its tokens, a flow its noise, an AR model
    left to right. The text of a masked model also depends on the order of positions: it writes once in random order, as
    it was trained, and once the most confident token first, as the public samplers do. With a `reference`, one of the
    models, `closer` is how much smaller `off` is than that model's in equally many steps.
    """
    if reference is not None:
        refuse_without(reference, models)
    length = texts.shape[1] - given
    written = {
        (label, count): write(model, texts[:, :given], length, rule, seed=seed).tokens
        for name, model in models.items()
        for count in (steps if writer_of(model).free_steps else (length,))
        for label, rule in _drawings(name, model, count).items()
    }
    written |= {(TEXT, 0): texts, (UNIGRAM, 1): _shuffled(texts, given, seed)}
    off = {which: _Off(tokens[:, given:], texts[:, given:]) for which, tokens in written.items()}
    rows = [
        {"model": name, "steps": count, **_scored(judge, tokens, given), **off[name, count].columns()}
        | _closer(off[name, count], off.get((reference or "", count)), name == reference)
        for (name, count), tokens in written.items()
    ]
    return Result(
        "claim_frontier",
        pd.DataFrame(rows).assign(unit="nats a token", q=lambda found: statistics.adjusted(found["p"])),
        "What the flows write: likelihood and variety",
        "Lower is likelier under the AR model, further right is more varied; text that repeats itself is likely and "
        "of low entropy, so only a point below AND not left of another is better. Bands: 95% bootstrap over texts. "
        "`off`: relative squared distance of the bigram frequencies from real text's (0: like it)."
        + (f" `closer`, q: how much smaller `off` is than {reference}'s in equally many steps." if reference else ""),
        "profile",
        {
            "axes": {
                "x": "entropy",
                "colour": "model",
                "x_title": "unigram entropy of a text (nats)",
                "y_title": "NLL under the AR model (nats per token)",
            },
            "judge": judge.name,
            "reference": reference,
            "given": given,
            "seed": seed,
        },
    )


def beyond_text(
    models: FlowModels,
    texts: Tensor,
    *,
    steps: int = STEPS[-1],
    given: int = GIVEN,
    seed: int = 0,
) -> Result:
    """How much closer to real text a flow in several steps is than texts of independent tokens, and its map in one step
    than the flow in one. All continue the same held-out `texts`; differences are paired."""

    def off(model: Model, count: int) -> _Off:
        tokens = write(model, texts[:, :given], texts.shape[1] - given, _drawing(model, count), seed=seed).tokens
        return _Off(tokens[:, given:], texts[:, given:])

    several, one, mapped, factorised = (
        off(models.flow, steps),
        off(models.flow, 1),
        off(models.flow_map, 1),
        off(models.masked, 1),
    )
    unigram = _Off(_shuffled(texts, given, seed)[:, given:], texts[:, given:])
    held = {
        f"flow, {steps} steps, over {UNIGRAM}": (several, unigram),
        f"flow, {steps} steps, over {FACTORISED}": (several, factorised),
        "flow map, 1 step, over flow, 1 step": (mapped, one),
    }
    rows = []
    for name, (ours, theirs) in held.items():
        found = statistics.recentred(_less_off, ours.scores, theirs.scores, seed=seed).row(p=True)
        rows.append({"model": name, **found, "off": ours.estimate, "other": theirs.estimate})
    return Result(
        "claim_beyond_text",
        pd.DataFrame(rows).assign(unit="share of off", q=lambda found: statistics.adjusted(found["p"])),
        "Closer to the text than independent tokens, and than the flow in one step",
        "How much smaller `off` is for the first than for the second, with its 95% interval over texts. Off: the "
        "relative squared distance of the bigram frequencies from real text's, 0 for text of the same kind.",
        "forest",
        {"axes": {"rows": ["model"], "x_title": "difference in `off`"}, "seed": seed, "given": given},
    )


class _Off:
    """The distance of what is written from real text, by bigram frequencies.

    `scores` are n × pairs: how much more frequent each bigram is in what was written for a prompt than in the real
    continuation, divided by the norm of the real frequencies, so that the squared norm of their mean is `off`.
    """

    def __init__(self, written: Tensor, texts: Tensor):
        ours, theirs = _pairs(written.cpu(), texts.cpu())
        self.scores = (ours - theirs) / np.sqrt((theirs.mean(0) ** 2).sum())
        self.found = statistics.recentred(_sum_of_squares, self.scores)
        self.estimate = float(self.found.estimate)

    def columns(self) -> dict[str, float]:
        row = self.found.row()
        return {"off": row["estimate"], "off_low": row["low"], "off_high": row["high"]}


def _pairs(*texts: Tensor) -> list[NDArray]:
    """The bigram frequencies (n × pairs) of several sets of texts, in shared columns."""
    size = int(max(each.max() for each in texts)) + 1
    codes = [(each[:, :-1] * size + each[:, 1:]).numpy() for each in texts]
    known = np.unique(np.concatenate([each.ravel() for each in codes]))
    found = []
    for each in codes:
        at = np.searchsorted(known, each) + len(known) * np.arange(len(each))[:, None]
        counts = np.bincount(at.ravel(), minlength=len(known) * len(each)).reshape(len(each), len(known))
        found.append(counts / each.shape[1])
    return found


def _sum_of_squares(scores: NDArray) -> Callable[[NDArray], NDArray]:
    return lambda weights: squares(weights, scores).sum(1)


def _less_off(ours: NDArray, theirs: NDArray) -> Callable[[NDArray], NDArray]:
    return lambda weights: squares(weights, theirs).sum(1) - squares(weights, ours).sum(1)


def _closer(ours: _Off, reference: _Off | None, same: bool) -> dict[str, float]:
    if reference is None or same:
        return dict.fromkeys(("closer", "closer_low", "closer_high", "p"), np.nan)
    found = statistics.recentred(_less_off, ours.scores, reference.scores).row(p=True)
    names = {"closer": "estimate", "closer_low": "low", "closer_high": "high", "p": "p"}
    return {name: found[column] for name, column in names.items()}


def _drawings(name: str, model: Model, steps: int) -> dict[str, Rule]:
    """The ways to sample from a model, by the names of their points."""
    ways: dict[str, Rule] = {name: _drawing(model, steps)}
    if isinstance(model.paradigm, Masked):
        ways[f"{name}, {SUREST}"] = Sampler("confidence", steps=steps, temperature=1.0)
    return ways


def _drawing(model: Model, steps: int) -> Rule:
    """Sample every token at temperature 1."""
    return writer_of(model).in_steps(model, steps, draws=True)


def _scored(judge: Model, tokens: Tensor, given: int) -> dict[str, Any]:
    """The mean NLL of the continuations, and their mean entropy, each with its interval."""
    likely = statistics.mean(_nll(judge, tokens, given)).row()
    varied = statistics.mean(_entropy(tokens[:, given:])).row()
    return {**likely, "entropy": varied["estimate"], "entropy_low": varied["low"], "entropy_high": varied["high"]}


@torch.no_grad()
def _nll(judge: Model, tokens: Tensor, given: int) -> NDArray:
    """The mean NLL (n) of the tokens after the first `given`."""
    model, found = as_autoregression(judge), []
    for part in tokens.split(ROWS):
        logits = model.logits(part)[:, given - 1 : -1].float()
        if judge.mask_id is not None:
            logits[..., judge.mask_id] = -torch.inf
        truth = part[:, given:].to(logits.device)
        found.append(torch.nn.functional.cross_entropy(logits.transpose(1, 2), truth, reduction="none").mean(1).cpu())
    return torch.cat(found).double().numpy()


def _entropy(tokens: Tensor) -> NDArray:
    """The entropy (n) of each text's token frequencies."""
    same = (tokens[:, :, None] == tokens[:, None, :]).double().mean(2)  # the frequency of the token at each place
    return same.log().neg().mean(1).cpu().numpy()


def _shuffled(texts: Tensor, given: int, seed: int) -> Tensor:
    """Each prompt continued by tokens drawn from the frequencies of all texts."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(texts), texts.shape[1] - given)
    drawn = texts.flatten()[torch.randint(texts.numel(), shape, generator=generator)]
    return torch.cat([texts[:, :given], drawn], 1)
