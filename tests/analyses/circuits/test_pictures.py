"""Figures are made from the tables alone, from disk as well, and show what is in them."""

from __future__ import annotations

from html import escape

import numpy as np
import pytest

from analyses.circuits import DiffOptions
from analyses.circuits.comparison.compare import compare, mass
from analyses.circuits.comparison.diff import diff
from analyses.circuits.graph import Graph
from analyses.circuits.pictures import importance, picture
from analyses.plots.circuit_layout import Layout
from analyses.result import Result
from tests.analyses.circuits.synthetic import DIRECTED, GROUPED, SMALL, circuit_of, random_circuit

SHAPE = {"n_layers": 3, "n_heads": 4, "n_kv_heads": 2}


def pair(graph: Graph):
    one = random_circuit(graph, seed=1, noise=2, model="<b>one</b>")
    return one, circuit_of(graph, np.asarray(one.example_edges) * 1.1 + 0.3, model="two")


MAKERS = {
    "graph": lambda a, b: picture(a),
    "greedy": lambda a, b: picture(a, ks=[10, 40], how="greedy"),
    "side by side": lambda a, b: picture(a, b),
    "importance": lambda a, b: importance(a, b, k=50, resamples=50),
    "overlap": lambda a, b: compare(a, b, resamples=40, splits=3),
    "mass": lambda a, b: mass(a, b, resamples=40),
    "diff": lambda a, b: diff(a, b, k=30, options=DiffOptions(resamples=40)),
}


@pytest.mark.parametrize("graph", [SMALL, GROUPED, DIRECTED], ids=["plain", "shared keys", "directions"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_figure_is_drawn_from_disk_as_from_memory(name, graph, tmp_path):
    result = MAKERS[name](*pair(graph))
    figure = result.figure().to_json()
    assert Result.open(result.save(tmp_path)).figure().to_json() == figure
    assert "<b>one" not in figure.replace("\\u003c", "<")  # a model's name is text, whatever it holds


def shown(figure, k: int) -> list:
    (slider,) = figure.layout.sliders
    (step,) = [step for step in slider.steps if step.label == str(k)]
    visible = step.args[0]["visible"]
    assert len(visible) == len(figure.data)
    return [trace for trace, on in zip(figure.data, visible, strict=True) if on]


def edges_drawn(traces) -> int:
    """Lines, each ended by a gap."""
    lines = [trace for trace in traces if trace.mode == "lines" and trace.line.color in ("#0072B2", "#D55E00")]
    return sum(sum(value is None for value in trace.x) for trace in lines)


def test_the_slider_shows_as_many_edges_as_it_says():
    circuit = random_circuit(SMALL, seed=3)
    figure = picture(circuit, ks=[10, 20, 50, 100]).figure()
    for k in (10, 20, 50, 100):
        assert edges_drawn(shown(figure, k)) == k
    first = [trace for trace in figure.data if trace.visible]
    assert edges_drawn(first) == 100


def test_the_pointer_finds_every_edge_with_its_score_and_its_colour_says_its_sign():
    circuit = random_circuit(SMALL, seed=3)
    traces = shown(picture(circuit, ks=[20]).figure(), 20)
    told = {text for trace in traces if trace.mode == "markers" and trace.text is not None for text in trace.text}
    top = circuit.top(20)
    assert len(told) == 20
    for row in top.itertuples():
        (one,) = [text for text in told if text.startswith(f"{row.source} → {escape(row.target)}<br>")]
        assert f"score {row.score:.4g} ({'helps' if row.score < 0 else 'hurts'})" in one
    helping = sum(trace.x.count(None) for trace in traces if trace.mode == "lines" and trace.line.color == "#0072B2")
    assert helping == (top["score"] < 0).sum()


def test_wider_lines_are_stronger_edges():
    circuit = random_circuit(SMALL, seed=3)
    table = picture(circuit, ks=[60]).table
    traces = [trace for trace in shown(picture(circuit, ks=[60]).figure(), 60) if trace.mode == "lines"]
    widest = max(traces, key=lambda trace: trace.line.width if trace.line.color != "#CCCCCC" else 0)
    layout = Layout.of({"n_layers": 3, "n_heads": 4})
    strongest = table.loc[table["score"].abs().idxmax()]
    start = layout.lines([strongest["source"]], [strongest["target"]])[0, 0]
    assert tuple(start.round(3)) in set(zip(widest.x, widest.y, strict=True))


def test_layers_go_upward_and_every_edge_with_them():
    layout = Layout.of(SHAPE)
    graph = Graph(**SHAPE)
    frame = graph.frame()
    lines = layout.lines(frame["source"].tolist(), frame["target"].tolist())
    assert (lines[:, -1, 1] > lines[:, 0, 1]).all()
    assert len(set(layout.nodes.values())) == len(layout.nodes) == len(graph.sources) + 1
    for target in graph.target_values:
        assert layout.reader(str(target)) == (graph.nodes_of(target) or ["logits"])


def test_importance_is_the_circuits_own_sum_with_an_interval():
    circuit = random_circuit(GROUPED, seed=2)
    table = importance(circuit, k=40, resamples=200).table.set_index("node")
    expected = circuit.importance(40).set_index("node")["score"]
    np.testing.assert_allclose(table["estimate"], expected[table.index], rtol=1e-6)
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    assert (table["high"] > table["low"]).sum() > 5
    assert set(table["kind"]) == {"head", "mlp"}


def test_a_diff_names_its_counts_and_hides_by_status():
    result = MAKERS["diff"](*pair(SMALL))
    legend = {trace.name for trace in result.figure().data if trace.name}
    assert legend == {f"{status} ({number})" for status, number in result.about["counts"].items()}
