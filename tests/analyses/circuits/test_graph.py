"""The graph of a transformer: what EAP-IG counts and names, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.circuits import Graph
from probe.errors import ProbeError

SHAPES = st.builds(
    Graph,
    n_layers=st.integers(1, 4),
    n_heads=st.just(4),
    n_kv_heads=st.sampled_from([1, 2, 4]),
    position_roles=st.sampled_from([(), ("answer", "elsewhere")]),
    directions=st.booleans(),
)


def test_gpt2_small_is_counted_as_eap_ig_counts_it():
    graph = Graph(12, 12, 12)
    assert (graph.n_edges, len(graph.nodes())) == (32_491, 158)


def test_names():
    graph = Graph(2, 4, 2)
    assert graph.sources[:6] == ("input", "a0.h0", "a0.h1", "a0.h2", "a0.h3", "m0")
    first = ("a0.h0<q>", "a0.h1<q>", "a0.h2<q>", "a0.h3<q>", "a0.h0<k>", "a0.h1<k>", "a0.h0<v>", "a0.h1<v>", "m0")
    assert graph.targets[:9] == first
    assert graph.targets[-1] == "logits"
    assert Graph(1, 1, 1, ("answer", "elsewhere"), directions=True).targets[:5] == (
        "a0.h0<q>@answer", "a0.h0<k>@answer", "a0.h0<v>@answer", "a0.h0<k>@from_right@answer",
        "a0.h0<v>@from_right@answer",
    )  # fmt: skip


def test_shared_keys_feed_every_head_that_reads_with_them():
    graph = Graph(1, 4, 2)
    fed = graph.feeds[graph.target("a0.h1<k>")]
    assert [graph.sources[at] for at in np.flatnonzero(fed)] == ["a0.h2", "a0.h3"]
    assert not graph.feeds[graph.target("logits")].any()


@given(graph=SHAPES)
def test_an_edge_goes_to_what_comes_after_its_source(graph):
    frame = graph.frame()
    assert len(frame) == graph.n_edges == graph.valid.sum()
    assert frame[["source", "target"]].duplicated().sum() == 0
    turn = {"input": -1.0} | {name: int(name[1:].split(".")[0]) + 0.5 * (name[0] == "m") for name in graph.sources[1:]}
    for target, sources in frame.groupby("target")["source"]:
        plain = target.split("@")[0].split("<")[0]
        limit = np.inf if plain == "logits" else turn[plain]
        assert {source for source in turn if turn[source] < limit} == set(sources)


@given(graph=SHAPES, seed=st.integers(0, 99))
def test_edges_by_name_and_masks_are_the_same_thing(graph, seed):
    mask = (np.random.default_rng(seed).random(graph.shape) < 0.2) & graph.valid
    assert np.array_equal(graph.mask(graph.frame(mask)), mask)


@given(graph=SHAPES)
def test_every_target_feeds_what_comes_next(graph):
    for target, fed in zip(graph.target_values, graph.feeds, strict=True):
        assert set(graph.nodes_of(target)) == {graph.sources[at] for at in np.flatnonzero(fed)}
        layers = {int(graph.source_layers[at]) for at in np.flatnonzero(fed)}
        assert layers == (set() if target.kind == "logits" else {target.layer})


def test_an_unknown_name_is_refused():
    with pytest.raises(ProbeError, match=r"a1\.h7"):
        Graph(2, 4, 2).target("a1.h7<q>")
    with pytest.raises(ProbeError, match="m9"):
        Graph(2, 4, 2).mask(Graph(2, 4, 2).frame().assign(source="m9"))
