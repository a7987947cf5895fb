"""EAP-IG's JSON graph: its names, its rules of who is in, there and back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses.circuits import AttributionOptions, attribute
from analyses.circuits.eap_ig_format import read_json, write_json
from analyses.circuits.selection import select
from probe.errors import ProbeError
from tests.analyses.circuits.asking import agree, batch_of, model_of
from tests.analyses.circuits.synthetic import DIRECTED, GROUPED, SMALL, random_circuit


def eap_ig_edges(n_layers: int, n_heads: int) -> list[str]:
    """The edges of EAP-IG's Graph, enumerated as a residual stream grows."""
    stream, edges = ["input"], []
    for layer in range(n_layers):
        heads = [f"a{layer}.h{head}" for head in range(n_heads)]
        edges += [f"{node}->{head}<{letter}>" for node in stream for head in heads for letter in "qkv"]
        stream += heads
        edges += [f"{node}->m{layer}" for node in stream]
        stream.append(f"m{layer}")
    return edges + [f"{node}->logits" for node in stream]


@pytest.mark.parametrize("graph", [SMALL, GROUPED])
def test_a_file_has_eap_igs_names(graph, tmp_path):
    circuit = random_circuit(graph)
    written = json.loads(write_json(circuit, tmp_path / "one.json").read_text())
    assert set(written["edges"]) == set(eap_ig_edges(3, 4))
    assert list(written["nodes"]) == [*graph.sources, "logits"]
    assert {"n_layers": 3, "n_heads": 4, "parallel_attn_mlp": False}.items() <= written["cfg"].items()
    assert "d_model" in written["cfg"]
    assert all(edge["in_graph"] for edge in written["edges"].values())


@pytest.mark.parametrize("graph", [SMALL, GROUPED])
def test_there_and_back(graph, tmp_path):
    circuit = random_circuit(graph, seed=5)
    mask = select(circuit, 40)
    again, kept = read_json(write_json(circuit, tmp_path / "one.json", mask))
    np.testing.assert_allclose(again.scores, circuit.scores, rtol=1e-12)
    np.testing.assert_array_equal(kept, mask)
    assert again.graph == circuit.graph
    assert again.about == circuit.about


def test_a_node_is_in_if_it_has_edges_on_both_sides(tmp_path):
    circuit = random_circuit(seed=2)
    mask = select(circuit, 25)
    written = json.loads(write_json(circuit, tmp_path / "one.json", mask).read_text())
    inside = {name for name, edge in written["edges"].items() if edge["in_graph"]}
    sources = {name.partition("->")[0] for name in inside}
    targets = {name.partition("->")[2].partition("<")[0] for name in inside}
    expected = {name: name in sources and (name in targets or name == "input") for name in circuit.graph.sources}
    assert {name: node["in_graph"] for name, node in written["nodes"].items()} == {**expected, "logits": True}


def test_a_file_of_eap_igs_own_has_a_key_for_every_query_head(tmp_path):
    """What two heads share is the sum of what each would have had; and what helps is positive there, negative here."""
    edges = {name: {"score": number / 7, "in_graph": number % 5 == 0} for number, name in enumerate(eap_ig_edges(3, 4))}
    file = {"cfg": {"n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "d_model": 8}, "nodes": {}, "edges": edges}
    (tmp_path / "theirs.json").write_text(json.dumps(file))
    circuit, mask = read_json(tmp_path / "theirs.json")
    cell = circuit.graph.source("m1"), circuit.graph.target("a2.h1<k>")
    both = [edges[f"m1->a2.h{head}<k>"] for head in (2, 3)]
    assert circuit.scores[cell] == pytest.approx(-sum(edge["score"] for edge in both))
    assert mask[cell] == any(edge["in_graph"] for edge in both)
    assert circuit.scores.sum() == pytest.approx(-sum(edge["score"] for edge in edges.values()))
    assert circuit.about.model == "unknown"


CFG = {"n_layers": 2, "n_heads": 2, "d_model": 4}
BAD = {
    "not JSON": "{",
    "a list": "[]",
    "no edges": json.dumps({"cfg": CFG, "nodes": {}}),
    "backwards": json.dumps({"cfg": CFG, "nodes": {}, "edges": {"m1->m0": {"score": 1, "in_graph": True}}}),
    "unknown node": json.dumps({"cfg": CFG, "nodes": {}, "edges": {"m9->logits": {"score": 1, "in_graph": True}}}),
    "no arrow": json.dumps({"cfg": CFG, "nodes": {}, "edges": {"m0": {"score": 1, "in_graph": True}}}),
    "no score": json.dumps({"cfg": CFG, "nodes": {}, "edges": {"m0->logits": {}}}),
    "no shape": json.dumps({"cfg": {}, "nodes": {}, "edges": {}}),
    "an edge that a parallel model has not": json.dumps(
        {
            "cfg": {**CFG, "parallel_attn_mlp": True},
            "nodes": {},
            "edges": {"a0.h0->m0": {"score": 1, "in_graph": True}},
        }
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_such_file_is_refused_by_name(fault, tmp_path):
    (tmp_path / "bad.json").write_text(BAD[fault])
    with pytest.raises(ProbeError):
        read_json(tmp_path / "bad.json")
    with pytest.raises(ProbeError, match=r"none\.json"):
        read_json(tmp_path / "none.json")


def test_a_graph_of_attention_and_mlp_side_by_side_comes_back(tmp_path):
    circuit = random_circuit(replace(DIRECTED.plain, parallel=True))
    again, _ = read_json(write_json(circuit, tmp_path / "one.json"))
    assert again.graph == circuit.graph
    np.testing.assert_allclose(again.scores, circuit.scores)
    assert not any(name.startswith("a1.") for name in again.edges.query("target == 'm1'")["source"])


def test_a_pickle_of_eap_ig_s_is_refused_and_not_opened(tmp_path):
    (tmp_path / "graph.pt").write_bytes(b"\x80\x04never read")
    with pytest.raises(ProbeError, match="pickle") as caught:
        read_json(tmp_path / "graph.pt")
    assert "to_json" in caught.value.remedy


def test_what_eap_ig_has_no_name_for_is_refused_and_can_be_joined(tmp_path):
    parted = random_circuit(DIRECTED)
    with pytest.raises(ProbeError, match="joined"):
        write_json(parted, tmp_path / "one.json")
    whole, _ = read_json(write_json(parted.joined(), tmp_path / "one.json"))
    at = {name: DIRECTED.targets.index(name) for name in ("a2.h1<v>", "a2.h1<v>@from_right", "a1.h3<q>")}
    both = parted.scores[:, at["a2.h1<v>"]] + parted.scores[:, at["a2.h1<v>@from_right"]]
    np.testing.assert_allclose(whole.scores[:, whole.graph.targets.index("a2.h1<v>")], both)
    single = whole.scores[:, whole.graph.targets.index("a1.h3<q>")]
    np.testing.assert_allclose(single, parted.scores[:, at["a1.h3<q>"]])


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa"])
def test_what_was_attributed_is_written_with_all_that_eap_ig_asks_for(variant, tmp_path):
    """Its Graph.from_model makes the graph from the file's own `cfg`; n_kv_heads it passes over."""
    model, batch = model_of(variant), batch_of()
    circuit = attribute(model, batch, method="eap", options=AttributionOptions(directions=True))
    written = json.loads(write_json(circuit.joined(), tmp_path / "one.json").read_text())
    asked = {"n_layers": model.n_layers, "n_heads": model.n_heads, "parallel_attn_mlp": False}
    assert written["cfg"] == {**asked, "d_model": model.d_model, "n_kv_heads": model.n_kv_heads}
    plain = attribute(model, batch, method="eap")
    again, mask = read_json(tmp_path / "one.json")
    agree(torch.tensor(again.scores), torch.tensor(plain.scores))
    assert mask.sum() == plain.graph.n_edges
    assert again.about == circuit.about
