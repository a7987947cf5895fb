"""Causal depth: what a model loses without a layer, and whether early components matter more than others.

Attribution is a gradient, and gradients can vanish where a model saturates, so depth should not rest on them alone.
Here layers and windows of layers are knocked out. The drop in the metric, by layer, is a profile whose centre of mass
can be compared with that of the attribution:

    knockouts = {kind: Knockouts.of(model, batch, kind=kind) for kind in ("zero", "mean", "resample")}
    causal_profile(knockouts.values()).figure()
    targeted([(knockouts["mean"], scores_of(circuit))]).table

`targeted` takes the components with the most attribution in the first, middle and last third of the layers, and knocks
each set out at once. Any set costs something, so each is compared with random sets of as many heads and MLPs, drawn
from all others, with outputs of similar size: of many draws, those with the closest norms (`norm_ratio` says how
close). Each prompt runs with a few of these sets, and different prompts with different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.components.knockouts import Knockouts, Masks
from analyses.components.scores import Scores, depths
from analyses.front_loading.statistic import index_of, shares
from analyses.result import Result
from analyses.statistics import Estimate, adjusted, recentred

STAGES = ("early", "middle", "late")
_CANDIDATES = 2_000  # random draws, of which those closest in norm are run
_MET = 4  # of them, by each prompt
_FARTHEST = 2.0  # the ratio of norms beyond which two sets do not match


def causal_profile(runs: Iterable[Knockouts], *, windows: Sequence[int] = (1,)) -> Result:
    """The drop in the metric by layer (or window of layers) and by kind of ablation.

    Drops are shares of what the model loses if everything is knocked out. The `centre` of mass is a row of its own,
    without a layer.
    """
    rows = []
    for run in runs:
        for width in windows:
            rows += _profile_rows(run, width)
    table = pd.DataFrame(rows)
    return Result(
        name="causal_profile",
        table=table,
        title="What a layer carries",
        caption="The share of the answer that is lost when a layer (or a window of layers) is knocked out, with a 95% "
        "band; layers that back each other up lose little one by one.",
        drawing="causal_profile",
        about={
            "axes": {
                "x": "depth", "colour": "ablation", "facet": "task",
                "x_title": "depth of the layer or of the window's middle", "y_title": "share of the metric lost",
            }
        },
    )  # fmt: skip


def causal_scores(run: Knockouts) -> Scores:
    """The drop by each whole layer, as scores: `front_loading` of these is causal."""
    layers = range(run.model.n_layers)
    nodes = pd.DataFrame({"node": [f"layer {at}" for at in layers], "layer": list(layers), "head": -1, "kind": "head"})
    drop = run.drop(run.layers([[at] for at in layers])).T
    return Scores(run.model.name, run.task, nodes, drop, run.model.n_layers, run.scope, run.examples)


def causal_front_loading(ar: Knockouts, diffusion: Knockouts, controls: Mapping[str, Knockouts]) -> Result:
    """Causal ΔFLI, and the parts of it due to more training or chance: `controls.decomposition` of whole layers'
    drops."""
    from analyses.hypotheses.controls import decomposition

    others = {role: causal_scores(run) for role, run in controls.items()}
    found = decomposition(causal_scores(ar), causal_scores(diffusion), others, {"FLI": index_of})
    return replace(
        found,
        name="causal_front_loading",
        title="Has computation moved earlier, by knock-outs?",
        caption="The change of the front-loading index, computed from the loss when whole layers are knocked out: "
        "right of 0, earlier. Total change = more training alone (AR-CPT) + the rest.",
    )


def _profile_rows(run: Knockouts, width: int) -> list[dict[str, Any]]:
    count = run.model.n_layers
    groups = [range(start, start + width) for start in range(count - width + 1)]
    drop, whole = run.drop(run.layers(groups)).T, run.full - run.empty
    found = statistics.ratio(drop, whole[:, None])
    named = {"model": run.model.name, "task": run.task, "scope": run.scope, "ablation": run.ablation.kind}
    named |= {"window": width}
    each = [
        {**named, "layer": group[0], "depth": (group[0] + width / 2) / count, **row}
        for group, row in zip(groups, pd.DataFrame(found.columns()).to_dict("records"), strict=True)
    ]
    middle = (np.arange(len(groups)) + width / 2) / count
    mass = recentred(lambda values: lambda weights: shares(statistics.magnitudes(weights, values)) @ middle, drop)
    return [*each, {**named, "layer": -1, "depth": np.nan, "measure": "centre of mass", **mass.row()}]


# Targeted sets against random ones


def stage_of(scores: Scores) -> NDArray:
    """0, 1 or 2 for each component: the third of the depth that it is in."""
    return np.minimum((depths(scores.n_layers)[scores.layer] * 3).astype(int), 2)


def strongest(scores: Scores, stage: int, size: int) -> NDArray:
    """A mask of the `size` components with the most |score| in a stage."""
    magnitude = np.where(stage_of(scores) == stage, np.abs(scores.values.mean(0)), -1.0)
    chosen = np.argsort(-magnitude, kind="stable")[: min(size, int((magnitude >= 0).sum()))]
    return np.isin(np.arange(len(magnitude)), chosen)


def matched(mask: NDArray, kinds: NDArray, norms: NDArray, draws: int, *, seed: int = 0) -> tuple[Masks, NDArray]:
    """Random sets with as many components of each kind as the mask has, none of them in it, and their norms' ratios.

    Of many draws, those whose total norm is closest to the mask's. If too few components are left outside the mask, its
    own may be drawn too.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros((_CANDIDATES, len(mask)), dtype=bool)
    for kind in np.unique(kinds[mask]):
        wanted = int((mask & (kinds == kind)).sum())
        pool = np.flatnonzero((kinds == kind) & ~mask)
        pool = pool if len(pool) >= wanted else np.flatnonzero(kinds == kind)
        order = generator.random((_CANDIDATES, len(pool))).argsort(1)[:, :wanted]
        np.put_along_axis(drawn, pool[order], True, axis=1)
    drawn = np.unique(drawn[(drawn != mask).any(1)], axis=0)
    ratio = np.sqrt(drawn @ norms**2 / max(mask @ norms**2, 1e-300))
    far = np.abs(np.log(np.maximum(ratio, 1e-300)))
    closest = np.argsort(far, kind="stable")[:draws]
    closest = closest[far[closest] <= np.log(_FARTHEST)]
    return drawn[closest], ratio[closest]


def targeted(
    runs: Iterable[tuple[Knockouts, Scores]], *, size: int | None = None, draws: int = 16, seed: int = 0
) -> Result:
    """Early, middle and late knock-outs, each compared with random sets; and early compared with middle and late.

    `size` components each: by default a tenth of all.
    """
    rows = [row for run, scores in runs for row in _targeted_rows(run, scores, size, draws, seed)]
    table = pd.DataFrame(rows)
    return Result(
        name="targeted_knockouts",
        table=table.assign(q=adjusted(table["p"])),
        title="Do early components matter more than others?",
        caption="The share of the answer that is lost when the strongest components of a third of the layers are "
        "knocked out; grey: random sets with as many heads and MLPs and outputs of similar size.",
        drawing="forest",
        about={"axes": {"rows": ["comparison", "model"], "colour": "task", "x_title": "share of the metric lost"}},
    )


def _targeted_rows(run: Knockouts, scores: Scores, size: int | None, draws: int, seed: int) -> list[dict[str, Any]]:
    size = size or max(1, round(0.1 * run.n_components))
    norms, kinds = run.norms(), run.nodes["kind"].to_numpy()
    whole = run.full - run.empty
    drops, rows = {}, []
    named = {"model": run.model.name, "task": run.task, "scope": run.scope, "ablation": run.ablation.kind, "k": size}
    for stage, name in enumerate(STAGES):
        mask = strongest(scores, stage, size)
        random, ratio = matched(mask, kinds, norms, draws, seed=seed + stage)
        drops[name] = run.drop(mask[None])[0]
        about = {**named, "stage": name, "draws": len(random)}
        rows.append({**about, "comparison": name, **_share(drops[name], whole).row()})
        if not len(random):
            continue
        others = run.drop(random[met(len(random), run.n)]).mean(0)
        chance = {f"null{end}": value for end, value in zip(("", "_low", "_high"), _ends(others, whole), strict=True)}
        rows[-1] |= {"norm_ratio": ratio.mean(), **chance}
        less_random = _share(drops[name] - others, whole).row(p=True)
        rows.append({**about, "comparison": f"{name} − random", **less_random, "null": 0.0})
    for other in STAGES[1:]:
        found = _share(drops["early"] - drops[other], whole).row(p=True)
        rows.append({**named, "stage": "early", "comparison": f"early − {other}", **found, "null": 0.0})
    return rows


def met(sets: int, examples: int) -> NDArray:
    """Which sets each example runs with (few × examples): all sets equally often."""
    few = min(_MET, sets)
    return (np.arange(few)[:, None] + few * np.arange(examples)) % sets


def _share(over: NDArray, whole: NDArray) -> Estimate:
    return statistics.ratio(over, whole)


def _ends(over: NDArray, whole: NDArray) -> tuple[float, float, float]:
    found = _share(over, whole)
    return float(found.estimate), float(found.low), float(found.high)
