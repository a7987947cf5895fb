"""Joint and single knock-outs: interaction, which distinguishes redundancy from distribution, and sufficiency.

**Interaction**: the loss when a set of components is knocked out at once, minus the sum of the losses one by one, in
shares of the whole answer. Above 0, they back each other up (redundancy, self-repair): each looks unimportant alone.
Below 0, they lie on one path, and the same loss is counted several times.

**Sufficiency**: the fewest components that, with everything else replaced, keep f ≥ 0.85 of the answer,
f = (M(kept) - M(none)) / (M(all) - M(none)).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.components.knockouts import Knockouts
from analyses.components.scores import Scores
from analyses.result import Result
from analyses.specialization.curves import POINTS, by_strength, first_gone, grid
from analyses.statistics import bootstrap

ENOUGH = 0.85


def interaction(runs: Iterable[tuple[Knockouts, Scores]], *, sizes: Sequence[int] = (2, 4, 8)) -> Result:
    """For the strongest 2, 4, 8 components: joint drop, sum of single drops, and the joint drop minus the sum."""
    rows = []
    for run, scores in runs:
        whole = run.full - run.empty
        order = by_strength(scores)[: max(sizes)]
        singles = run.drop(run.each()[order])
        named = {"model": run.model.name, "task": run.task, "scope": run.scope, "ablation": run.ablation.kind}
        for size in (size for size in sizes if size <= run.n_components):
            joint = run.drop(first_gone(by_strength(scores), np.array([size])))[0]
            total = singles[:size].sum(0)
            for what, values in (("joint", joint), ("sum of singles", total), ("joint − sum", joint - total)):
                found = statistics.ratio(values, whole).row(p=what == "joint − sum")
                rows.append({**named, "k": size, "what": what, **found})
    return Result(
        name="interaction",
        table=pd.DataFrame(rows),
        title="Do components back each other up?",
        caption="The loss when the strongest k are knocked out together, minus the sum of their single losses, in "
        "shares of the answer. Right of 0: they back each other up. Left of 0: they are steps of one path.",
        drawing="forest",
        about={"axes": {"rows": ["k", "what", "model"], "colour": "task", "x_title": "share of the metric"}},
    )


def sufficiency(
    runs: Iterable[tuple[Knockouts, Scores]], *, enough: float = ENOUGH, points: int = POINTS, resamples: int = 2000
) -> Result:
    """The least k with f ≥ `enough`, by model and task, interpolated linearly between the points of the curve."""
    rows = []
    for run, scores in runs:
        kept = grid(run.n_components, points)
        metric = run.metric(~first_gone(by_strength(scores), kept))
        named = {"model": run.model.name, "task": run.task, "scope": run.scope, "ablation": run.ablation.kind}
        found = bootstrap(
            lambda w, m=metric, k=kept: least(_faithful(m, w), k, enough), run.n, count=resamples, kind="percentile"
        )
        rows += [{**named, "what": "k", **found.row()}]
        share = {name: value / run.n_components for name, value in found.row().items() if name != "n"}
        rows += [{**named, "what": "k/n", **share, "n": run.n}]
    return Result(
        name="sufficiency",
        table=pd.DataFrame(rows),
        title=f"How many components keep {enough:.0%} of the answer",
        caption="The fewest components, the strongest first, that answer nearly as well as the whole model when all "
        "others are replaced. Further right: the answer needs more of them.",
        drawing="forest",
        about={"axes": {"rows": ["model"], "colour": "task", "facet": "what"}, "enough": enough, "reference": None},
    )


def _faithful(metric: NDArray, weights: NDArray) -> NDArray:
    """f at each point, r × points: the first keeps nothing, the last everything."""
    mean = weights @ metric.T
    return (mean - mean[:, :1]) / (mean[:, -1:] - mean[:, :1])


def least(f: NDArray, kept: NDArray, enough: float = ENOUGH) -> NDArray:
    """Where f (… × points) first reaches `enough`, interpolated linearly; f is 1 at the last point."""
    reached = f >= enough
    reached[..., -1] = True
    at = reached.argmax(-1)
    before = np.maximum(at - 1, 0)
    high, low = (np.take_along_axis(f, of[..., None], -1)[..., 0] for of in (at, before))
    part = np.where(high > low, (enough - low) / np.where(high > low, high - low, 1), 1.0)
    return np.where(at == 0, kept[0], kept[before] + np.clip(part, 0, 1) * (kept[at] - kept[before]))
