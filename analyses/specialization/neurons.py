"""Neuron selectivity: single neurons that distinguish a task's cases, and whether they are the same on other tasks.

For each neuron and each case of a task variable (by default the right answer), AUROC is the probability that the neuron
fires more on an example of that case than on another; a neuron's selectivity is the largest |2·AUROC - 1| over cases.
The best of several cases is above 0 by chance, so the null is the same with shuffled labels, and a neuron is called
selective if q < 0.05 (Benjamini-Hochberg over the layer).

    selectivity(pair, batch).table              # by layer: mean selectivity, share of selective neurons
    overlap({"ioi": (pair, batch), …}).table    # Jaccard of the most selective neurons between tasks, and its chance

Specialised neurons have high selectivity and little overlap between tasks; shared ones have much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from scipy.stats import rankdata

from analyses.result import Result
from analyses.statistics import adjusted, refuse_not_finite
from probe.batch import Batch
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, reading_for
from probe.tracing import record

FEWEST = 5  # examples of a case
GROUPS = 16  # groups of examples, each left out once
SHUFFLES = 100
MOST_SELECTIVE = 0.05  # share of all neurons that is compared between tasks


def auroc(activations: NDArray, cases: NDArray) -> NDArray:
    """P(more on this case than on another), ties half: cases × neurons. `cases` is one-hot, examples × cases."""
    ranks = rankdata(activations, axis=0)
    with_case = cases.sum(0)[:, None]
    above = cases.T @ ranks - with_case * (with_case + 1) / 2
    return above / (with_case * (len(cases) - with_case))


def selective(activations: NDArray, cases: NDArray) -> NDArray:
    """Each neuron's selectivity, 0 to 1."""
    return np.abs(2 * auroc(activations, cases) - 1).max(0)


def one_hot(labels: ArrayLike) -> NDArray:
    """Examples × cases, for the cases that enough examples have, and enough have not.

    If every case is rarer than that, there are two: the lower and the upper half of the labels.
    """
    labels = np.asarray(labels)
    values, case = np.unique(labels, return_inverse=True)
    if np.bincount(case).max() < FEWEST:
        case = (case >= np.median(case)).astype(int)
    count = np.bincount(case)
    kept = (count >= FEWEST) & (count <= len(labels) - FEWEST)
    if not kept.any():
        raise ProbeError(
            "labels for selectivity",
            expected=f"a case that at least {FEWEST} examples have and {FEWEST} others have not",
            found=f"{len(values)} different ones among {len(labels)} examples",
            remedy="Use more examples, or labels with fewer cases.",
        )
    return np.eye(len(count))[case][:, kept]


def activations_of(model: Model, batch: Batch, reading: str | Reading = "prefix") -> NDArray:
    """The MLPs' neurons at the answer's slot: examples × layers × neurons (averaged over draws of masks)."""
    asked = reading_for(model, reading, runs=False)
    trace = record(model, batch, ["mlp_hidden"], reading=asked, positions="read")
    values = trace["mlp_hidden"].transpose("example", "layer", ...).to_numpy()
    flat = values.reshape(len(values), values.shape[1], -1)
    example = trace["of_example"].to_numpy()
    total = np.zeros((len(batch), *flat.shape[1:]))
    np.add.at(total, example, flat)
    return total / np.bincount(example, minlength=len(batch))[:, None, None]


def selectivity(
    models: Model | Pair,
    batch: Batch,
    labels: Sequence[Any] | None = None,
    *,
    reading: str | Reading = "prefix",
    activations: Mapping[str, NDArray] | None = None,
    seed: int = 0,
) -> Result:
    """Mean selectivity and the share of selective neurons, by model and layer."""
    cases = one_hot(batch.target.tolist() if labels is None else list(labels))
    rows = []
    for role, model in _models(models).items():
        values = activations[role] if activations else activations_of(model, batch, reading)
        axes = {name: range(count) for name, count in zip(("example", "layer", "neuron"), values.shape, strict=True)}
        refuse_not_finite(f"activations of {model.name!r}", values, axes)
        for layer in range(values.shape[1]):
            named = {"model": model.name, "role": role, "task": batch.task, "layer": layer}
            rows += [{**named, **row} for row in _layer_rows(values[:, layer], cases, seed)]
    return Result(
        name="neuron_selectivity",
        table=pd.DataFrame(rows),
        title="Do single neurons distinguish the answers?",
        caption="Mean selectivity of a layer's neurons (0: fires equally for every right answer; 1: for one answer "
        "only), and the share that is selective beyond chance. Dotted: shuffled labels.",
        drawing="profile",
        about={
            "axes": {"x": "layer", "colour": "role", "facet": "measure", "x_title": "layer", "y_title": "0 to 1"},
            "seed": seed, "reading": str(reading),
        },
    )  # fmt: skip


def _layer_rows(values: NDArray, cases: NDArray, seed: int) -> list[dict[str, Any]]:
    found = selective(values, cases)
    shuffled = _shuffled(values, cases, seed)
    # One null for all neurons of a layer: except for ties, the ranks of all neurons have the same distribution.
    p = (1 + shuffled.size - np.searchsorted(np.sort(shuffled, axis=None), found)) / (1 + shuffled.size)
    low, high = np.quantile(shuffled.mean(1), [0.025, 0.975])
    chance = {"null": shuffled.mean(), "null_low": low, "null_high": high}
    chosen = adjusted(p) < 0.05
    # The selective neurons are chosen once, from all examples, not again for each group left out.
    beyond = found[chosen].min(initial=np.inf)
    left_out = _left_out(lambda rows: selective(values[rows], cases[rows]), len(values))
    means, shares = left_out.mean(1), (left_out >= beyond).mean(1)
    n = len(values)
    return [
        {"measure": "mean selectivity", **_about(float(found.mean()), means), "n": n, **chance},
        {"measure": "share selective", **_about(float(chosen.mean()), shares), "n": n, "null": 0.0},
    ]


def _shuffled(values: NDArray, cases: NDArray, seed: int) -> NDArray:
    """Selectivity with shuffled labels (shuffles × neurons); ranks stay, so each is one product."""
    generator = np.random.default_rng(seed)
    ranks = rankdata(values, axis=0)
    with_case = cases.sum(0)[:, None]
    scale, shift = 2 / (with_case * (len(cases) - with_case)), with_case * (with_case + 1) / 2
    drawn = [np.abs((generator.permutation(cases).T @ ranks - shift) * scale - 1).max(0) for _ in range(SHUFFLES)]
    return np.stack(drawn)


def overlap(
    asked: Mapping[str, tuple[Model | Pair, Batch]], *, reading: str | Reading = "prefix", seed: int = 0
) -> Result:
    """For each two tasks: the Jaccard overlap of their most selective neurons, by model."""
    rows = []
    values = {task: _of_task(models, batch, reading) for task, (models, batch) in asked.items()}
    for one, two in combinations(values, 2):
        for role in values[one].keys() & values[two].keys():
            (name, *first), (_, *second) = values[one][role], values[two][role]
            rows.append({"model": name, "role": role, "tasks": f"{one} ∩ {two}", **_overlap(first, second)})
    return Result(
        name="neuron_overlap",
        table=pd.DataFrame(rows),
        title="Are the same neurons selective on different tasks?",
        caption="Jaccard overlap of the 5% most selective neurons; grey is chance. Right of it, neurons serve several "
        "tasks at once.",
        drawing="forest",
        about={"axes": {"rows": ["tasks", "role"], "colour": "role", "x_title": "Jaccard"}, "reference": None},
    )


def _of_task(models: Model | Pair, batch: Batch, reading: str | Reading) -> dict[str, tuple[str, NDArray, NDArray]]:
    cases = one_hot(batch.target.tolist())
    found = {role: activations_of(model, batch, reading) for role, model in _models(models).items()}
    return {role: (_models(models)[role].name, one.reshape(len(one), -1), cases) for role, one in found.items()}


def _overlap(first: list[NDArray], second: list[NDArray]) -> dict[str, Any]:
    size = first[0].shape[1]
    k = max(1, round(MOST_SELECTIVE * size))

    def jaccard(rows_of_first: NDArray, rows_of_second: NDArray) -> float:
        tops = [
            np.argsort(-selective(values[rows], cases[rows]), kind="stable")[:k]
            for (values, cases), rows in ((first, rows_of_first), (second, rows_of_second))
        ]
        common = int(np.isin(tops[0], tops[1]).sum())
        return common / (2 * k - common)

    counts = [len(values) for values, _ in (first, second)]
    everyone = [np.arange(count) for count in counts]
    left = np.array([jaccard(*(rows[rows % GROUPS != group] for rows in everyone)) for group in range(GROUPS)])
    chance = k / (2 * size - k)
    spread = 2 * np.sqrt(chance / (2 * k))  # about twice the error of a share of 2k
    null = {"null": chance, "null_low": max(0.0, chance - spread), "null_high": chance + spread}
    return {**_about(jaccard(*everyone), left), "n": min(counts), **null}


def _left_out(figure: Any, n: int) -> NDArray:
    """A statistic with each group of examples left out; in groups, because ranking again is expensive."""
    rows = np.arange(n)
    return np.array([figure(rows[rows % GROUPS != group]) for group in range(GROUPS)])


def _about(estimate: float, left_out: NDArray) -> dict[str, float]:
    """An estimate with Student's interval, by the jackknife over groups."""
    count = len(left_out)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    reach = stdtrit(count - 1, 0.975) * error
    return {"estimate": estimate, "low": estimate - reach, "high": estimate + reach}


def _models(models: Model | Pair) -> dict[str, Model]:
    return dict(models.models) if isinstance(models, Pair) else {"model": models}
