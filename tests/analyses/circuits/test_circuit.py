"""A circuit shows itself: in one line, and in a notebook as small tables in which nothing is markup but its own."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from analyses.circuits import Circuit, Graph, attribute
from tests.analyses.circuits.asking import batch_of, model_of


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not attrs

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return attribute(model_of("gpt2", "full"), batch_of(), steps=1)


def test_a_line_says_what_it_is_of(circuit):
    assert "\n" not in repr(circuit)
    assert repr(circuit) == f"Circuit(unnamed on none [prefix]: {circuit.graph.n_edges} edges by eap-ig)"


def test_a_notebook_shows_where_it_comes_from_and_its_strongest_edges(circuit):
    page = Tags(circuit._repr_html_())
    strongest = circuit.top(10)
    assert page.tags.count("tr") == 1 + 10 + page.tags.count("th") - 3  # the heading, edges, and a fact a line
    for name in (*strongest["source"], *strongest["target"], "logit_difference", "ablation", "corrupt"):
        assert name in page.text


def test_names_are_text_and_never_markup(circuit):
    named = replace(circuit, about=replace(circuit.about, model="<script>alert(1)</script>", task="<b>&"))
    page = named._repr_html_()
    assert "<script" not in page
    assert set(Tags(page).tags) == {"b", "table", "tbody", "thead", "tr", "th", "td"}
    assert "<script>alert(1)</script>" in Tags(page).text


def test_a_graph_of_an_older_file_is_read():
    written = {"n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "roles": ["answer", "elsewhere"], "directions": True}
    assert Graph.from_fields(written) == Graph(2, 4, 2, ("answer", "elsewhere"), True)
