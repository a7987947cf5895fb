"""Selection against EAP-IG's rules, written again the slow way."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.circuits.graph import Graph
from analyses.circuits.selection import blocks, greedy, layer_matched, pruned, select, uniform
from probe.errors import ProbeError
from tests.analyses.circuits.synthetic import DIRECTED, GROUPED, SMALL, random_circuit

GRAPHS = st.sampled_from([SMALL, GROUPED, DIRECTED, Graph(2, 2, 1, position_roles=("answer", "elsewhere"))])


def edges_of(graph: Graph, mask: np.ndarray) -> set[tuple[str, str]]:
    return {(graph.sources[s], graph.targets[t]) for s, t in zip(*np.nonzero(mask), strict=True)}


def nodes_read(graph: Graph, target: str) -> list[str]:
    return graph.nodes_of(graph.target_values[graph.target(target)]) or ["logits"]


def slow_greedy(circuit, k: int, by: str) -> set[tuple[str, str]]:
    """Look at every edge anew before each one that is taken."""
    rows = list(circuit.edges[["source", "target", "score"]].itertuples(index=False))
    read = {target: nodes_read(circuit.graph, target) for target in circuit.graph.targets}
    inside, taken = {"logits"}, set()
    for _ in range(k):
        free = [
            (abs(score) if by == "abs" else -score, source, target)
            for source, target, score in rows
            if (source, target) not in taken and inside.intersection(read[target])
        ]
        _, source, target = max(free)
        taken.add((source, target))
        inside.add(source)
    return taken


def slow_pruned(graph: Graph, edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What lies on a way from the input to the logits, where a node lets everything through."""
    ways = nx.DiGraph([(source, node) for source, target in edges for node in nodes_read(graph, target)])
    ways.add_nodes_from(["input", "logits"])
    alive = (nx.descendants(ways, "input") | {"input"}) & (nx.ancestors(ways, "logits") | {"logits"})
    return {(s, t) for s, t in edges if s in alive and alive.intersection(nodes_read(graph, t))}


@settings(max_examples=20, deadline=None)
@given(GRAPHS, st.integers(0, 5), st.integers(1, 40), st.sampled_from(["abs", "signed"]))
def test_greedy_takes_what_a_search_would(graph, seed, k, by):
    circuit = random_circuit(graph, n=3, seed=seed)
    k = min(k, graph.n_edges)
    assert edges_of(graph, greedy(circuit, k, by)) == slow_greedy(circuit, k, by)


@settings(max_examples=40, deadline=None)
@given(GRAPHS, st.integers(0, 9), st.floats(0.01, 0.6))
def test_pruning_keeps_what_lies_on_a_way_through(graph, seed, share):
    mask = graph.valid & (np.random.default_rng(seed).random(graph.shape) < share)
    kept = pruned(graph, mask)
    assert edges_of(graph, kept) == slow_pruned(graph, edges_of(graph, mask))
    assert not (kept & ~mask).any()
    np.testing.assert_array_equal(pruned(graph, kept), kept)


def test_the_whole_graph_has_no_dead_ends_and_no_path_is_all_dead():
    np.testing.assert_array_equal(pruned(SMALL, SMALL.valid), SMALL.valid)
    mask = np.zeros(SMALL.shape, dtype=bool)
    mask[SMALL.source("a0.h1"), SMALL.target("m2")] = True
    assert not pruned(SMALL, mask).any()


def test_select_is_pruned_unless_told_otherwise():
    circuit = random_circuit(seed=3)
    assert select(circuit, 30, prune=False).sum() == 30
    np.testing.assert_array_equal(select(circuit, 30), pruned(circuit.graph, circuit.mask(30)))
    grown = select(circuit, 30, how="greedy", prune=False)
    assert grown.sum() == 30
    np.testing.assert_array_equal(select(circuit, circuit.graph.n_edges, how="greedy"), circuit.graph.valid)


def test_a_signed_selection_takes_what_helps_the_answer():
    circuit = random_circuit(seed=4)
    assert (circuit.scores[select(circuit, 20, by="signed", prune=False)] < 0).all()


@pytest.mark.parametrize("graph", [SMALL, GROUPED, DIRECTED])
def test_random_masks_match_the_circuit_layer_by_layer(graph):
    mask = random_circuit(graph, seed=1).mask(40)
    masks = layer_matched(graph, mask, 8, seed=2)
    block = blocks(graph)
    for draw in masks:
        assert not (draw & ~graph.valid).any()
        np.testing.assert_array_equal(np.bincount(block[draw], minlength=99), np.bincount(block[mask], minlength=99))
    assert len({draw.tobytes() for draw in masks}) == 8
    np.testing.assert_array_equal(masks, layer_matched(graph, mask, 8, seed=2))


def test_every_edge_is_as_likely_in_a_uniform_draw():
    masks = uniform(SMALL, 30, 3000, seed=0)
    assert (masks.sum((1, 2)) == 30).all()
    share = masks.mean(0)[SMALL.valid]
    expected = 30 / SMALL.n_edges
    assert np.abs(share - expected).max() < 5 * np.sqrt(expected / 3000)


@pytest.mark.parametrize(("k", "how"), [(-1, "top"), (10**6, "greedy"), (5, "greddy")])
def test_what_there_is_not_is_refused(k, how):
    with pytest.raises(ProbeError):
        select(random_circuit(), k, how=how)
