"""Front-loading: how early a model computes, and whether its diffusion twin computes earlier.

Attribution mass p(l) is a layer's share of Σ|s(v)| over heads and MLPs; with normalised depth x = (l + ½)/L,

    centre of mass  CoM = Σ p(l)·x(l)
    index           FLI = 1 - 2·CoM, in (-1, 1): 1 is all in the first layer, -1 all in the last, 0 even
    early mass      Σ p(l) over x < 1/3

    profile(ar, diffusion).figure()     # p(l) of each, with bands
    index(ar, diffusion).table          # FLI, early mass of each; Δ of both, and W₁ between the profiles
    spans(ar, diffusion).table          # where edges start, and how many layers they span
    did({"ioi": (ar, diffusion), "countdown": (…)})

**DiD** = ΔFLI on global tasks - ΔFLI on local ones is Mechanism Shift's structural hypothesis as one number. It is
above 0 if the diffusion model computes earlier on global tasks, and not merely on all tasks.

Differences are paired: both models answered the same prompts. Noise is subtracted from magnitudes before and in
resampling (`analyses.statistics.recentred` says why a plain bootstrap would be wrong; the calibration shows it). W₁
cannot be below 0, so it is compared with its null: the W₁ between two resamples of the prompts in *one* model.

Everything here also takes the `Scores` of a knock-out: that profile is causal (see `depth`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.circuit import Circuit
from analyses.components.scores import (
    KINDS,
    PARTS,
    Scores,
    change,
    label,
    measured,
    scores_of,
    side_by_side,
)
from analyses.front_loading.statistic import FIGURES, figures_of, index_of, profile_of, shares, wasserstein
from analyses.result import Result
from analyses.statistics import Estimate, Statistic, adjusted, combination, recentred

CHANGE = "diffusion − AR"
_NULL_DRAWS = 1_000

# From profiles to numbers: closed forms, on the last axis


# From scores to statistics of weighted prompts


def profile(*circuits: Circuit | Scores, parts: Iterable[str] = ("all",), k: int | None = None) -> Result:
    """Attribution mass by layer, one line per model."""
    tables = []
    for scores in (scores_of(one, k) for one in circuits):
        for part in parts:
            found = measured(profile_of, scores.part(part))
            frame = found.frame(layer=range(scores.n_layers)).assign(depth=scores.depth, part=part, **label(scores))
            tables.append(frame.assign(null=1 / scores.n_layers))
    return Result(
        name="attribution_profile",
        table=pd.concat(tables, ignore_index=True),
        title="Where attribution lies",
        caption="Each line is a model: the share of |attribution| of its heads and MLPs in each layer, with a 95% "
        "band. A line further to the left computes earlier; the dotted one is even.",
        drawing="profile",
        about={
            "axes": {
                "x": "depth", "colour": "model", "facet": "task",
                "x_title": "depth (l + ½)/L", "y_title": "share of attribution",
            },
            "k": k,
        },
    )  # fmt: skip


def index(
    ar: Circuit | Scores,
    diffusion: Circuit | Scores,
    *controls: Circuit | Scores,
    parts: Iterable[str] = tuple(PARTS)[:3],
    k: int | None = None,
    seed: int = 0,
) -> Result:
    """FLI and early mass of each model, and how each differs from the first; also for attention and MLPs separately."""
    first, *others = (scores_of(one, k) for one in (ar, diffusion, *controls))
    rows = []
    for part in (part for part in parts if first.part(part).values.size):
        base, rest = first.part(part), [one.part(part) for one in others]
        found, changes = side_by_side(figures_of, base, *rest)
        for at, name in enumerate(FIGURES):
            rows += [_of_model(one, part, name, of[at]) for one, of in zip((base, *rest), found, strict=True)]
            rows += [_change(base, one, part, name, of[at]) for one, of in zip(rest, changes, strict=True)]
        rows += [_distance(base, one, part, seed) for one in rest]
    table = pd.DataFrame(rows)
    return Result(
        name="front_loading",
        table=table.assign(q=adjusted(table["p"])),
        title="Front-loading",
        caption="FLI, the front-loading index, is 1 if all attribution is in the first layer, -1 if in the last. "
        "Early mass is the share in the first third of the layers. A change is the model's minus the AR twin's, on "
        "the same prompts: right of 0, it computes earlier. W₁ is how far attribution has moved, in either direction; "
        "grey is the W₁ between other prompts in one model.",
        drawing="forest",
        about={
            "axes": {"rows": ["part", "model"], "colour": "task", "facet": "measure", "x_title": ""},
            "k": k,
            "seed": seed,
        },
    )


def _of_model(scores: Scores, part: str, measure: str, found: Estimate) -> dict[str, Any]:
    return {**label(scores), "part": part, "measure": measure, **found.row(), "p": np.nan}


def _change(base: Scores, other: Scores, part: str, measure: str, found: Estimate) -> dict[str, Any]:
    named = {**label(other), "model": f"{other.model} − {base.model}"}
    return {**named, "part": part, "measure": f"Δ {measure}", **found.row(p=True), "null": 0.0}


def _between_profiles(a: Scores, b: Scores) -> Statistic:
    one, two = profile_of(a), profile_of(b)
    return lambda weights: wasserstein(one(weights), two(weights))


def _distance(base: Scores, other: Scores, part: str, seed: int) -> dict[str, Any]:
    """W₁ between two models' profiles, with that between two resamples of one model's prompts."""
    profiles = [profile_of(one) for one in (base, other)]
    found = measured(_between_profiles, base, other)
    one, two = (statistics.resamples(base.n, _NULL_DRAWS, seed=seed + turn) for turn in (0, 1))
    null = np.mean([wasserstein(of(one), of(two)) for of in profiles], axis=0)
    low, high = np.quantile(null, [0.025, 0.975])
    named = {**label(other), "model": f"{other.model} − {base.model}", "part": part, "measure": "W₁"}
    as_far = np.sum((null >= found.estimate) | np.isnan(null))  # a resample without a profile counts as no evidence
    p = (as_far + 1) / (len(null) + 1) if np.isfinite(found.estimate) else np.nan
    row = found.row()
    return {
        **named,
        **row,
        "low": max(row["low"], 0.0),
        "null": null.mean(),
        "null_low": low,
        "null_high": high,
        "p": p,
    }


def did(
    twins: Mapping[str, tuple[Circuit | Scores, Circuit | Scores]], *, part: str = "all", k: int | None = None
) -> Result:
    """ΔFLI on each task, on local and on global ones, and the difference of the two; the same for early mass.

    Tasks are fixed, not a sample of tasks: the interval is over prompts.
    """
    pairs = {task: tuple(scores_of(one, k).part(part) for one in two) for task, two in twins.items()}
    rows = []
    changes = {task: change(figures_of, *two) for task, two in pairs.items()}
    for at, name in enumerate(FIGURES):
        found = {task: both[at] for task, both in changes.items()}
        scopes = {scope: [task for task in pairs if pairs[task][0].scope == scope] for scope in ("local", "global")}
        rows += [
            {"task": task, "measure": f"Δ {name}", "scope": pairs[task][0].scope, **one.row(p=True)}
            for task, one in found.items()
        ]
        rows += [_over(found, tasks, scope, f"Δ {name}") for scope, tasks in scopes.items() if tasks]
        if all(scopes.values()):
            rows.append(_difference_in_differences(found, scopes, f"Δ {name}"))
    table = pd.DataFrame(rows)
    return Result(
        name="did",
        table=table.assign(q=adjusted(table["p"]), null=0.0),
        title="Has computation moved earlier, and more so where constraints are global?",
        caption="Each line is the diffusion model's front-loading minus its AR twin's: right of 0, the diffusion model "
        "computes earlier. The last line is DiD, the difference in differences: the mean over global tasks minus that "
        "over local ones.",
        drawing="forest",
        about={
            "axes": {"rows": ["task"], "colour": "scope", "facet": "measure", "x_title": CHANGE},
            "part": part,
            "k": k,
        },
    )


def _over(found: Mapping[str, Estimate], tasks: list[str], scope: str, measure: str) -> dict[str, Any]:
    mean = combination([found[task] for task in tasks], np.full(len(tasks), 1 / len(tasks)))
    return {"task": f"all {scope}", "measure": measure, "scope": scope, **mean.row(p=True)}


def _difference_in_differences(
    found: Mapping[str, Estimate], scopes: Mapping[str, list[str]], measure: str
) -> dict[str, Any]:
    signs = {"global": 1, "local": -1}
    factors = [signs[scope] / len(tasks) for scope, tasks in scopes.items() for _ in tasks]
    total = combination([found[task] for tasks in scopes.values() for task in tasks], factors)
    return {"task": "global − local", "measure": measure, "scope": "DiD", **total.row(p=True)}


def right_context(prefix: Circuit | Scores, one_mask: Circuit | Scores, *, attention: str = "full") -> Result:
    """FLI of one model with the right context visible minus FLI without it, on the same prompts."""
    one, other = scores_of(prefix), scores_of(one_mask)
    rows = [
        {**label(one), "reading": name, "measure": "FLI", **measured(index_of, of).row(), "p": np.nan}
        for name, of in (("prefix", one), ("one mask", other))
    ]
    found = change(index_of, one, other).row(p=True)
    rows.append({**label(one), "reading": "one mask − prefix", "measure": "Δ FLI", **found, "null": 0.0})
    blind = {"nothing": "it sees nothing to its right"} if attention == "causal" else {}
    if np.array_equal(one.values, other.values):
        blind = {"nothing": "no token is to the right of the answer, so both readings ask the same question"}
    return Result(
        name="right_context",
        table=pd.DataFrame(rows[:1] if blind else rows),
        title="Does the model compute earlier if it sees the right context?",
        caption="FLI, the front-loading index, of one model under both readings, and their difference on the same "
        "prompts: right of 0, seeing the right context moves computation earlier."
        + "".join(f" Does not apply here: {reason}." for reason in blind.values()),
        drawing="forest",
        about={"axes": {"rows": ["reading"], "colour": "task", "facet": "measure"}, **blind},
    )


def spans(*circuits: Circuit, k: int | None = None) -> Result:
    """Edges by where they start and how far they reach: mass-weighted depth of the source, and span.

    `k` keeps the strongest edges of each circuit; if it has fewer, all are used and the caption says so.

    Intervals need a circuit with example edges.
    """
    rows = []
    for circuit in circuits:
        sources, reaches, cells = _edge_geometry(circuit, k)
        about = circuit.about
        for name, place in (("source depth", sources), ("span", reaches)):
            found = _weighted_place(circuit, cells, place)
            rows.append({"model": about.model, "task": about.task, "scope": about.scope, "measure": name, **found})
    return Result(
        name="edge_spans",
        table=pd.DataFrame(rows),
        title="Where edges start, and how far they reach",
        caption="Both as shares of the model's depth, weighted by |score|: a source depth of 0.2 is a fifth of the way "
        "up; a span of 0.5 covers half of the layers." + _of_fewer(circuits, k),
        drawing="forest",
        about={"axes": {"rows": ["measure", "model"], "colour": "task", "x_title": "share of depth"}, "k": k},
    )


def _of_fewer(circuits: Iterable[Circuit], k: int | None) -> str:
    """Which circuits have fewer edges than k."""
    counts = {circuit.about.model: circuit.graph.n_edges for circuit in circuits}
    fewer = [f"{model} has {count:,}" for model, count in counts.items() if k is not None and count < k]
    return f" Circuits with fewer than {k:,} edges, used whole: {', '.join(fewer)}." if fewer else ""


def _edge_geometry(circuit: Circuit, k: int | None) -> tuple[NDArray, NDArray, NDArray]:
    """For the edges between components (or from them to the logits): the source's depth, the span, and the cells."""
    graph = circuit.graph
    chosen = graph.valid if k is None else circuit.mask(min(k, graph.n_edges))
    source, target = np.nonzero(chosen & np.isin(graph.source_kinds, KINDS)[:, None])
    start = graph.source_layers[source]
    stop = np.array([one.layer for one in graph.target_values])[target]
    cells = source * graph.shape[1] + target
    return (start + 0.5) / graph.n_layers, (stop - start) / graph.n_layers, cells


def _weighted_place(circuit: Circuit, cells: NDArray, place: NDArray) -> dict[str, Any]:
    if circuit.by_example is None:
        mass = np.abs(circuit.scores.ravel()[cells])
        return {"estimate": float(mass @ place / mass.sum()), "low": np.nan, "high": np.nan, "n": circuit.n}
    values = circuit.by_example[:, circuit.graph.numbers.ravel()[cells]].astype(np.float64)
    return recentred(lambda scores: lambda w: shares(statistics.magnitudes(w, scores)) @ place, values).row()
