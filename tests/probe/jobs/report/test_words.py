"""The report's words lead to one list of definitions, the glossary of the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from probe.jobs.report import words
from probe.jobs.report.words import ALWAYS, LINKED, Glossary, entries
from probe.jobs.stages.registry import stages

ROOT = Path(__file__).parents[4]


def anchors(markup: str) -> list[str]:
    return re.findall(r'href="#word-([^"]+)"', markup)


def test_the_docs_show_the_same_file():
    packaged = Path(words.__file__).with_name("glossary.md")
    assert (ROOT / "docs" / "glossary.md").resolve() == packaged.resolve()
    assert len(entries()) == len(re.findall(r"^\*\*", packaged.read_text("utf-8"), re.MULTILINE)) > 60


@pytest.mark.parametrize("word", [*LINKED, *ALWAYS])
def test_every_word_that_is_linked_or_listed_has_an_entry(word):
    assert len(entries()[word].meaning) > 20


def test_anchors_are_unique():
    assert len({entry.anchor for entry in entries().values()}) == len(entries())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("R, local > 0.5", ["retention"]),
        ("ΔFLI, global > 0.05", ["fli"]),
        ("DiD of causal FLI > 0.05", ["did", "causal-fli"]),
        ("ΔPR/n > 0.05, then PR/n again", ["pr"]),
        ("the twins transfer as much as their second seed", ["twin", "transfer", "second-seed"]),
        ("R2, PRs, FLIP, preread and q", []),
    ],
)
def test_words_are_found_whole_and_linked_once_a_text(text, found):
    assert anchors(Glossary().linked(text)) == found


def test_all_else_is_escaped_and_stays_as_it_is():
    hostile = '<img src=x onerror=alert(1)> FLI " title="x'
    linked = Glossary().linked(hostile)
    assert "<img" not in linked
    assert re.sub("<[^>]+>", "", linked).replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"') == hostile


def test_a_page_lists_what_it_linked_and_what_every_report_needs():
    glossary = Glossary()
    assert set(glossary.used) == set(ALWAYS)
    glossary.linked("CKA and drift")
    assert set(glossary.used) == {*ALWAYS, "CKA", "Drift"}
    assert list(glossary.used) == [word for word in entries() if word in glossary.used]


def test_a_figure_s_terms_are_linked_once():
    glossary = Glossary()
    assert anchors(glossary.about("ΔFLI: right of 0, earlier", ("FLI", "DiD"))) == ["fli", "did"]
    assert "DiD" in glossary.used


def test_every_term_of_a_measure_is_in_the_glossary():
    of_measures = {term for stage in stages().values() if stage.headline for term in stage.headline.terms}
    assert len(of_measures) > 10
    Glossary().about("", sorted(of_measures))  # an unknown one would stop here
