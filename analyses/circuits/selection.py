"""Selection: which edges are *the* circuit, given every edge's score.

The strongest k edges (`circuit.mask(k)`) need not be connected: an edge may start at a node that no strong edge enters.
Three choices, each a mask of the matrix of edges:

    select(circuit, 200)                   the strongest 200, without the dead ends among them
    select(circuit, 200, how="greedy")     grown from the logits: an edge is taken only if its target is already in
    pruned(circuit.graph, mask)            any mask without its dead ends

A dead end is a node that no kept edge enters, or that none leaves; the input and the logits never are. Removing one
may make another, so pruning goes on until nothing changes. These are EAP-IG's rules, except for ties.

A circuit is compared with random sets of edges. `layer_matched` draws as many edges between each two kinds of node in
each two layers as the circuit has, and so shows what arbitrary edges at those depths would do.
"""

from __future__ import annotations

import heapq
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from analyses.circuits.circuit import By, Circuit
from analyses.circuits.graph import Graph
from probe.errors import ProbeError, nearest

How = Literal["top", "greedy"]
Mask = NDArray[np.bool_]


def select(circuit: Circuit, k: int, *, how: How = "top", by: By = "abs", prune: bool = True) -> Mask:
    """A circuit of at most k edges, as a mask of the matrix of edges."""
    _refuse_unknown(how)
    mask = circuit.mask(k, by) if how == "top" else greedy(circuit, k, by)
    return pruned(circuit.graph, mask) if prune else mask


def greedy(circuit: Circuit, k: int, by: By = "abs") -> Mask:
    """k edges, each the strongest of those into the nodes that are already in, beginning with the logits."""
    circuit.mask(k, by)  # refuses a k that there is not
    graph = circuit.graph
    columns = _strongest_first(circuit, by)
    into = graph.feeds.T  # source × target: what a node reads
    open_targets = np.array([one.kind == "logits" for one in graph.target_values])
    reached = np.zeros(len(graph.sources), dtype=bool)
    nexts = [(columns[column][0], column, 0) for column in np.flatnonzero(open_targets)]
    heapq.heapify(nexts)
    mask = np.zeros(graph.shape, dtype=bool)
    for _ in range(k):
        if not nexts:
            break
        (_, source), column, turn = heapq.heappop(nexts)
        mask[source, column] = True
        if turn + 1 < len(columns[column]):
            heapq.heappush(nexts, (columns[column][turn + 1], column, turn + 1))
        if not reached[source]:
            reached[source] = True
            fresh = into[source] & ~open_targets
            open_targets |= fresh
            for target in np.flatnonzero(fresh):
                heapq.heappush(nexts, (columns[target][0], target, 0))
    return mask


def _strongest_first(circuit: Circuit, by: By) -> list[list[tuple[int, int]]]:
    """For each target its edges as (rank among all edges, source), strongest first."""
    columns: list[list[tuple[int, int]]] = [[] for _ in circuit.graph.targets]
    for rank, cell in enumerate(circuit.order(by).tolist()):
        source, target = divmod(cell, len(columns))
        columns[target].append((rank, source))
    return columns


def pruned(graph: Graph, mask: Mask) -> Mask:
    """The mask without dead ends."""
    feeds = graph.feeds
    to_logits = np.array([one.kind == "logits" for one in graph.target_values])
    kept = mask & graph.valid
    while True:
        entered = kept.any(0) @ feeds
        entered[0] = True  # the input
        alive = entered & kept.any(1)
        fewer = kept & alive[:, None] & ((feeds @ alive) | to_logits)
        if np.array_equal(fewer, kept):
            return kept
        kept = fewer


def layer_matched(graph: Graph, mask: Mask, draws: int, *, seed: int = 0) -> NDArray[np.bool_]:
    """Random masks (draws × the mask's shape) with as many edges between each two layers and kinds as the mask has."""
    return _shuffled(mask, blocks(graph), graph.valid, draws, seed)


def uniform(graph: Graph, k: int, draws: int, *, seed: int = 0) -> NDArray[np.bool_]:
    """Random masks of k edges (draws × sources × targets)."""
    first = np.zeros(graph.valid.size, dtype=bool)
    first[np.flatnonzero(graph.valid)[:k]] = True
    return _shuffled(first.reshape(graph.shape), np.zeros(graph.shape, dtype=int), graph.valid, draws, seed)


def blocks(graph: Graph) -> NDArray[np.int_]:
    """A number for each cell: two edges share it if they go between the same kinds of node in the same layers."""
    sources = list(zip(graph.source_layers.tolist(), graph.source_kinds.tolist(), strict=True))
    targets = [(one.layer, one.kind, one.position_role, one.from_right) for one in graph.target_values]
    row, column = (np.array([list(dict.fromkeys(names)).index(name) for name in names]) for names in (sources, targets))
    return row[:, None] * (column.max() + 1) + column


def _shuffled(mask: Mask, block: NDArray, valid: Mask, draws: int, seed: int) -> NDArray[np.bool_]:
    """In each block, randomly drawn cells, as many as the mask has there."""
    cells = np.flatnonzero(valid)
    block, chosen = np.unique(block.ravel()[cells], return_inverse=True)[1], mask.ravel()[cells]
    wanted = np.bincount(block, weights=chosen).astype(int)
    first = np.concatenate([[0], np.cumsum(np.bincount(block))[:-1]])
    generator = np.random.default_rng(seed)
    masks = np.zeros((draws, mask.size), dtype=bool)
    for draw in masks:
        order = np.lexsort((generator.random(len(cells)), block))
        rank = np.arange(len(cells)) - first[block[order]]
        draw[cells[order[rank < wanted[block[order]]]]] = True
    return masks.reshape(draws, *mask.shape)


def _refuse_unknown(how: str) -> None:
    known = get_args(How)
    if how not in known:
        raise ProbeError(
            f"selection {how!r}", expected="one of " + ", ".join(known), found=repr(how), remedy=nearest(how, known)
        )
