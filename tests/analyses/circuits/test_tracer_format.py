"""A circuit as circuit-tracer's graph: the fields that its viewer's models ask for, and the planted circuit in it."""

from __future__ import annotations

import json

import pytest

from analyses.circuits import attribute, write_graph
from analyses.circuits.tracer_format import INDEX
from probe.errors import ProbeError
from tests.analyses.planted import relay

# Of circuit_tracer/frontend/graph_models.py (0.5): the fields, and what they hold.
METADATA = {"slug": str, "scan": str, "transcoder_list": list, "prompt_tokens": list, "prompt": str,
            "node_threshold": type(None), "schema_version": int}  # fmt: skip
Q_PARAMS = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}
NODE = {"node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str, "token_prob": float,
        "is_target_logit": bool, "run_idx": int, "reverse_ctx_idx": int, "jsNodeId": str, "clerp": str,
        "influence": float, "activation": type(None)}  # fmt: skip
LINK = {"source": str, "target": str, "weight": float}


@pytest.fixture(scope="module")
def planted():
    return relay(n_layers=4, first=1)


@pytest.fixture(scope="module")
def circuit(planted):
    return attribute(planted.model, planted.batch, reading="ar", method="eap-ig", steps=3)


def has(part: dict, fields: dict[str, type]) -> bool:
    return part.keys() == fields.keys() and all(type(part[name]) is kind for name, kind in fields.items())


def test_it_has_the_fields_that_the_viewer_asks_for(circuit, tmp_path):
    words = ["A", "B", "C"]
    graph = json.loads(write_graph(circuit, tmp_path, k=20, prompt=words).read_text())
    assert has(graph["metadata"], METADATA)
    assert has(graph["qParams"], Q_PARAMS)
    assert all(has(node, NODE) for node in graph["nodes"])
    assert all(has(link, LINK) for link in graph["links"])
    names = [node["node_id"] for node in graph["nodes"]]
    assert len(set(names)) == len(names) == len({node["jsNodeId"] for node in graph["nodes"]})
    assert {link[end] for link in graph["links"] for end in ("source", "target")} <= set(names)
    assert all(0 <= node["influence"] <= 1 + 1e-9 and node["ctx_idx"] == 2 for node in graph["nodes"])
    assert graph["metadata"]["prompt_tokens"] == words


def test_the_strongest_links_are_the_planted_ones_and_help(circuit, planted, tmp_path):
    graph = json.loads(write_graph(circuit, tmp_path, k=len(planted.edges)).read_text())
    clerp = {node["node_id"]: node["clerp"] if node["feature_type"] != "logit" else "logits" for node in graph["nodes"]}
    found = {(clerp[link["source"]], clerp[link["target"]]) for link in graph["links"]}
    assert found == {(source, target.partition("<")[0]) for source, target in planted.edges}
    assert all(link["weight"] > 0 for link in graph["links"])


def test_the_index_lists_each_graph_once(circuit, tmp_path):
    for slug in ("one", "two", "one"):
        write_graph(circuit, tmp_path, k=5, slug=slug)
    assert [each["slug"] for each in json.loads((tmp_path / INDEX).read_text())["graphs"]] == ["two", "one"]


def test_nonsense_is_refused(circuit, tmp_path):
    with pytest.raises(ProbeError, match="letters, digits"):
        write_graph(circuit, tmp_path, slug="../up")
    with pytest.raises(ProbeError, match="at least one word"):
        write_graph(circuit, tmp_path, prompt=[])
    (tmp_path / INDEX).write_text('{"graphs": 3}')
    with pytest.raises(ProbeError, match="a list called graphs"):
        write_graph(circuit, tmp_path)
