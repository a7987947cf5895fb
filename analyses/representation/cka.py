"""Linear CKA: how similarly two models arrange the same tokens, layer by layer, whatever their bases.

    CKA(l, m) = HSIC(K_l, K_m) / √(HSIC(K_l, K_l) · HSIC(K_m, K_m)),     K_l[i, j] = x_i · x_j at layer l

It is invariant to rotating or scaling a layer's space. The usual estimate is biased upwards, strongly so with fewer
tokens than dimensions (two unrelated models seem similar), so the unbiased HSIC is used: sums over *distinct* tokens
only, whose expectation is 0 if nothing is shared.

Tokens of one text are not independent draws, so each minibatch takes one token per example, and HSIC is averaged over
minibatches before the ratio (Nguyen et al. 2021). Intervals resample examples by weighting them; since the sums stay
over distinct examples, one drawn twice does not count as two similar ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.representation.outliers import TIMES, without_outliers
from analyses.representation.states import Beside, Tokens, asked, in_pairs
from analyses.result import Result
from analyses.statistics import bootstrap
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

if TYPE_CHECKING:
    import xarray

Grams = list[tuple[NDArray, NDArray]]
"""For each minibatch, the kernels of both models: layer × n × n."""

MINIBATCHES = 2
RESAMPLES = 300
SHUFFLES = 100


def cka(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    traces: Mapping[str, xarray.Dataset] | None = None,
    drop_outliers: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Result:
    """CKA of every layer of the AR model with every layer of each other model; clean and masked slots separately.

    traces          recorded traces by role (`traces_of`)
    drop_outliers   leave out the dimensions that are outliers in either model, among the compared tokens
    resamples       of examples, for the intervals
    """
    parts = []
    sources = asked(models, batch, reading, traces)
    names = {role: source.name for role, source in sources.items()}
    for first, role, tokens in in_pairs(sources):
        for group, minibatches in _states_of(tokens, drop_outliers, seed).items():
            found = similarity(minibatches, resamples, seed)
            parts.append(found.assign(role=role, beside=first, tokens=group, task=batch.task))
    table = pd.concat(parts, ignore_index=True)
    rows = zip(table["role"], table["beside"], table["tokens"], strict=True)
    table.insert(0, "panel", [f"{names[role]} and {names[other]}, {tokens}" for role, other, tokens in rows])
    titles = {"x_title": "layer of the AR model", "y_title": "layer", "z_title": "CKA"}
    return Result(
        "cka",
        table,
        f"Linear CKA with the AR model, {batch.task}",
        "A cell compares a layer of the AR model with one of the named model: 1 if they arrange the same tokens "
        "alike, 0 if they share nothing. A bright diagonal: representations are kept, layer by layer; a bright line "
        f"above it: they come earlier.{_told(len(table) - len(table.dropna(subset='low')), len(table))}",
        "heatmap",
        {"axes": {"x": "beside_layer", "y": "layer", "facet": "panel", **titles}, "reading": str(reading), "seed": seed,
         "outliers_dropped_above": TIMES if drop_outliers else None},
    )  # fmt: skip


def _told(undefined: int, cells: int) -> str:
    """What the caption says of cells whose interval is not defined."""
    if not undefined:
        return ""
    return (
        f" {undefined} of {cells} cells have no interval: one example outweighs the others there, and in resamples "
        "without it a layer is not even like itself. `drop_outliers` may help."
    )


def _states_of(tokens: Tokens, drop_outliers: bool, seed: int) -> dict[str, list[Beside]]:
    """The minibatches of each group, of which only the tokens drawn are recorded, all together."""
    drawn = {group: [rows[some] for some in minibatches(tokens.example[rows], MINIBATCHES, seed)]
             for group, rows in tokens.groups.items()}  # fmt: skip
    needed = np.unique(np.concatenate([rows for each in drawn.values() for rows in each]))
    both = tokens[needed].states()
    both = without_outliers(both) if drop_outliers else both
    return {group: [both[np.searchsorted(needed, rows)] for rows in each] for group, each in drawn.items()}


def similarity(drawn: Iterable[Beside], resamples: int, seed: int) -> pd.DataFrame:
    """CKA of every layer of `a` (beside_layer) with every layer of `b` (layer) over some minibatches of the same
    examples, with intervals and nulls."""
    grams = [(gram(both.a), gram(both.b)) for both in drawn]
    layers_a, layers_b, n = len(grams[0][0]), len(grams[0][1]), grams[0][0].shape[1]
    found = bootstrap(lambda weights: ratio(grams, weights), n, count=resamples, seed=seed)
    table = found.frame(beside_layer=range(layers_a), layer=range(layers_b))
    null = _shuffled(grams, seed).reshape(SHUFFLES, -1)
    low, high = np.nanquantile(null, [0.025, 0.975], axis=0)
    table.loc[table["low"].isna() | table["high"].isna(), ["low", "high"]] = np.nan  # undefined in some resamples
    return table.assign(null=np.nanmean(null, 0), null_low=low, null_high=high)


def minibatches(example: NDArray, count: int, seed: int) -> list[NDArray]:
    """The rows of one random token of every example, for each minibatch."""
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(len(example)) for _ in range(count)]
    return [order[np.unique(example[order], return_index=True)[1]] for order in orders]


def gram(states: NDArray) -> NDArray:
    """layer × n × n, with a zero diagonal, from states (n × layer × feature); scaled to unit size."""
    by_layer = np.moveaxis(states.astype(np.float64), 1, 0)
    by_layer = by_layer - by_layer.mean(1, keepdims=True)  # does not change CKA, and keeps precision
    found = by_layer @ by_layer.swapaxes(1, 2)
    found[:, np.arange(len(states)), np.arange(len(states))] = 0
    size = np.sqrt(np.square(found).mean((1, 2), keepdims=True))
    return found / np.where(size > 0, size, 1)


def ratio(grams: Grams, weights: NDArray) -> NDArray:
    """CKA (resample × layers of a × layers of b) under each row of weights."""
    each = [_hsics(a, b, weights) for a, b in grams]
    across, own_a, own_b = (np.sum(parts, axis=0) for parts in zip(*each, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return across / np.sqrt(own_a[:, :, None] * own_b[:, None, :])


def _hsics(a: NDArray, b: NDArray, weights: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """HSIC of every layer of a with every layer of b, and of each with itself; the first axis is resamples."""
    of_a, of_b = ([(gram, weights @ gram) for gram in side] for side in (a, b))
    across = np.stack([np.stack([hsic(*k, *m, weights) for m in of_b], 1) for k in of_a], 1)
    own_a, own_b = (np.stack([hsic(*k, *k, weights) for k in side], 1) for side in (of_a, of_b))
    return across, own_a, own_b


def hsic(k: NDArray, wk: NDArray, m: NDArray, wm: NDArray, w: NDArray) -> NDArray:
    """Unbiased HSIC of two kernels in each resample; wk and wm are w @ k and w @ m.

    E[k_ij m_ij] − 2 E[k_ij m_il] + E[k_ij] E[m_lh], each over distinct examples drawn by weight. The kernels have no
    diagonal, so j ≠ i everywhere; terms where further indices coincide are subtracted.
    """
    w2, both = w**2, k * m
    by_i = w @ both  # Σ_j w_j k_ij m_ij
    pair, pair_w2 = (w * by_i).sum(1), (w2 * by_i).sum(1)
    triple = (w * wk * wm).sum(1) - pair_w2
    quadruple = (w * wk).sum(1) * (w * wm).sum(1) - 4 * (w2 * wk * wm).sum(1) + 2 * (w2 * (w2 @ both)).sum(1)
    s2, s3, s4 = ((w**power).sum(1) for power in (2, 3, 4))
    distinct = (1 - s2, 1 - 3 * s2 + 2 * s3, 1 - 6 * s2 + 8 * s3 + 3 * s2**2 - 6 * s4)
    return pair / distinct[0] - 2 * triple / distinct[1] + quadruple / distinct[2]


def hsic_of_all(a: NDArray, b: NDArray) -> NDArray:
    """Unbiased HSIC of every layer of a with every layer of b, all examples weighted equally (Song et al. 2012)."""
    n = a.shape[1]
    rows_a, rows_b = a.sum(2), b.sum(2)
    pair = a.reshape(len(a), -1) @ b.reshape(len(b), -1).T
    total = np.outer(rows_a.sum(1), rows_b.sum(1))
    return (pair + total / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows_a @ rows_b.T) / (n * (n - 3))


def _shuffled(grams: Grams, seed: int) -> NDArray:
    """CKA (shuffle × layers of a × layers of b) with the examples of b shuffled against those of a."""
    generator = np.random.default_rng(seed)
    own_a, own_b = (np.sum([np.diag(hsic_of_all(pair[side], pair[side])) for pair in grams], axis=0) for side in (0, 1))

    def across() -> NDArray:
        order = generator.permutation(grams[0][0].shape[1])
        return np.sum([hsic_of_all(a, b[:, order][:, :, order]) for a, b in grams], axis=0)

    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([across() for _ in range(SHUFFLES)]) / np.sqrt(np.outer(own_a, own_b))
