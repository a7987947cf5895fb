"""What a report says: each number with interval, null and command, each failure with its error, in every setting."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from analyses.result import Result
from probe.jobs.report import markdown, render
from probe.jobs.report.contents import contents
from probe.jobs.report.hypotheses import verdict
from probe.jobs.report.models import role_of
from probe.jobs.report.render import write_report
from probe.jobs.run_folder import open_run
from tests.probe.jobs.made_up import QUESTION, index, write_run, write_unit


class Words(HTMLParser):
    """The words of a page in the order in which they are read, without its scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.silent, self.found = 0, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.silent += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.silent:
            self.found.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.found).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("runs") / "demo")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def words(folder) -> str:
    return str(Words((folder / "report.html").read_text("utf-8")))


@pytest.fixture(scope="module")
def text(folder) -> str:
    """The Markdown, as a reader of it sees it."""
    rendered = MarkdownIt("commonmark").enable("table").render((folder / "report.md").read_text("utf-8"))
    return str(Words(rendered))


def test_the_question_comes_first_and_the_findings_before_the_figures(words, text):
    for report in (words, text):
        assert report.index(QUESTION) < report.index("Of 196 estimates with a null, 13 exclude it")
    assert words.index("13 exclude it") < words.index("Figure 1.")


def test_the_text_is_short_enough_for_an_issue_and_has_each_effect_with_its_interval(folder, text):
    assert len((folder / "report.md").read_text("utf-8")) < 12_000
    assert "▲ 0.120 [0.090, 0.150]" in text
    assert text.count("of 48 exclude the null") == 4  # a measure of many heads: how many of them changed


def test_the_finding_is_the_planted_one(folder):
    """One difference of four was planted, and three heads of forty-eight in each of four tables."""
    report = contents(open_run(folder))
    by_measure = {section.heading: section.tally for section in report.sections}
    assert (by_measure["Front loading"].above, by_measure["Front loading"].judged) == (1, 4)
    assert (by_measure["Attention"].above, by_measure["Attention"].below) == (8, 4)
    assert by_measure["Depth"].judged == 0
    (planted,) = [
        (line.pair, report.tasks[place])
        for line in report.grid
        for place, cells in enumerate(line.cells)
        if line.measure == "Front loading" and any(cell.significance == "above" for cell in cells)
    ]
    assert planted == ("zoo:masked", "countdown")


def test_hypotheses_come_first_with_their_answers_pair_by_pair(tmp_path):
    report = contents(open_run(write_run(tmp_path / "run", hypotheses=True)))
    answers = {row.statement: [answer and answer.answer for answer in row.answers] for row in report.verdict.rows}
    assert answers["Computation moves earlier on global tasks, compared with local ones."] == ["supported"] * 2
    assert answers["Computation moves earlier because the model sees the right context."] == ["contradicted"] * 2
    assert answers["Components are less sharply specialised."] == ["not measured"] * 2
    assert report.verdict.counts[0] == "zoo:masked: of 11 hypotheses, 2 supported, 9 not measured."
    assert report.verdict.sentences == ["In zoo:masked and zoo:fluid, the AR circuit is kept on local tasks."]
    page = write_report(report.run.folder)
    for words in (str(Words(page.read_text("utf-8"))), page.with_suffix(".md").read_text("utf-8")):
        assert words.index("the AR circuit is kept") < words.index("with a null")
    words = str(Words(page.read_text("utf-8")))
    assert "Does computation move earlier on global tasks, compared with local ones?" in words
    assert "a fortieth of the depth" in words  # why its smallest effect is what it is


def told(*answers: tuple[str, str, str]) -> list[str]:
    """The sentences of a verdict on one hypothesis, each pair with its answer and what it says."""
    row = {"statement": "s", "topic": "depth", "yes": "it moves", "hypothesis": "h", "estimate": 0.1}
    tables = [
        (f"{pair} · prefix", pair, pd.DataFrame([{**row, "answer": answer, "says": says}]), {})
        for pair, answer, says in answers
    ]
    return verdict(tables).sentences


def test_the_first_sentences_follow_from_the_answers_and_say_no_more():
    same = told(("a", "supported", "it moves"), ("b", "supported", "it moves"))
    assert same == ["In a and b, it moves."]
    explained = told(("a", "supported", "it moves (as more AR training does)"), ("b", "supported", "it moves"))
    assert explained == ["In a, it moves (as more AR training does).", "In b, it moves."]
    open_ = told(("a", "contradicted", "it does not move"), ("b", "undecided", ""))
    assert open_ == ["In a, it does not move.", "Undecided: whether it moves (b)."]


def test_each_pair_and_task_has_a_panel_that_leads_to_its_figure(folder):
    report = contents(open_run(folder))
    glance = next(section.multiples for section in report.sections if section.heading == "Front loading")
    assert [line.name for line in glance.lines] == ["zoo:masked", "zoo:fluid"]
    assert glance.tasks == ("ioi", "countdown")
    panels = {(line.name, task): panel for line in glance.lines
              for task, panel in zip(glance.tasks, line.panels, strict=True)}  # fmt: skip
    assert panels["zoo:masked", "countdown"].text == "0.120 [0.090, 0.150]"
    assert {panel.anchor for panel in panels.values()} <= {block.anchor for block in report.blocks}
    assert glance.low < 0 < 0.15 < glance.high  # all on one scale, which has room for the widest


def test_a_reading_that_asks_what_another_asked_is_said_not_to_apply(tmp_path):
    folder = tmp_path / "run"
    unit = write_unit(folder, index(0.12), pair="zoo:masked", task="ioi")
    other = write_unit(folder, index(0.05), pair="zoo:masked", task="countdown")
    again = [{**one, "reading": "one_mask", "id": one["id"] + " one_mask"} for one in (unit, other)]
    moved = write_unit(folder, index(0.01), pair="zoo:masked", task="countdown")
    again[1] |= {"result": moved["result"]}
    report = contents(open_run(write_run(folder, units=[unit, other, *again])))
    (glance,) = [section.multiples for section in report.sections]
    of_one_mask = next(line for line in glance.lines if line.name.endswith("one_mask"))
    assert of_one_mask.panels[0].empty == "does not apply: the same question as prefix"
    assert of_one_mask.panels[1].empty == ""


EXAMPLE = {
    "task": "ioi",
    "clean": [{"text": text, "changed": text == "Mary", "masked": text == "Anna", "asked": text == "Anna"}
              for text in ("Mary", "gave", "it", "to", "Anna")],
    "corrupt": [{"text": text, "changed": text == "Luke", "masked": text == "Anna", "asked": text == "Anna"}
                for text in ("Luke", "gave", "it", "to", "Anna")],
    "right": {"clean": "Anna", "corrupt": "Tom"},
    "said": [{"model": "zoo:ar", "role": "ar", "clean": {"token": "Anna", "p": 0.9, "right": True},
              "corrupt": {"token": "Luke", "p": 0.4, "right": False}}],
}  # fmt: skip


def test_one_prompt_of_each_task_is_shown_with_the_answers_and_each_models_accuracy(tmp_path):
    folder = tmp_path / "run"
    columns = {"model": "zoo:ar", "role": "ar", "estimate": 0.8, "low": 0.7, "high": 0.9, "n": 64, "null": 0.5}
    about = {"example": EXAMPLE, "axes": {"rows": ["model"]}}
    result = Result("answers", pd.DataFrame([columns]), "How often", "", "forest", about)
    units = [write_unit(folder, result, pair=pair, task="ioi") for pair in ("zoo:masked", "zoo:fluid")]
    page = write_report(write_run(folder, units=units))
    words = str(Words(page.read_text("utf-8")))
    for part in ("Mary gave it to Anna", "Luke gave it to Tom", "Anna (90%)", "Luke (40%) ✗", "0.80 [0.70, 0.90]"):
        assert part in words, part
    assert words.count("Anna (90%)") == 1  # one model's answer to one prompt, however many pairs it is in
    assert "{Mary} gave it to [?Anna]" in page.with_suffix(".md").read_text("utf-8")


def test_a_model_has_one_name_and_one_colour_however_a_table_calls_it():
    names = {"ar": "zoo:ar", "diffusion": "zoo:masked", "masked-seed2": "zoo:masked-seed2"}
    for value, role in (
        ("zoo:masked", "diffusion"), ("diffusion", "diffusion"), ("diffusion − ar", "diffusion"),
        ("total", "diffusion"), ("zoo:masked − zoo:ar", "diffusion"), ("zoo:ar", "ar"), ("more training", "ar-cpt"),
        ("seed (ar-seed2)", "ar-seed2"), ("again (masked-seed2)", "diffusion-seed2"),
        ("zoo:masked-seed2 − zoo:ar", "diffusion-seed2"), ("zoo:masked − zoo:ar-cpt", None), ("beyond training", None),
    ):  # fmt: skip
        assert role_of(value, names) == role, value


def test_each_number_has_its_interval_its_null_and_the_command_to_get_it_again(words):
    assert re.search(r"difference\W+0\.120 \[0\.090, 0\.150\]\W+0\.000\W+–\W+256", words)
    assert words.count("twinprobe run spec.yaml --only zoo:masked.countdown.prefix.front_loading.0") == 1


def test_how_to_read_a_figure_is_said_once_a_measure(words):
    assert words.count("Right is earlier: the index is 1") == 1


def test_a_long_table_shows_what_tells_most_and_says_how_much_it_left_out(folder, words):
    block = next(block for block in contents(open_run(folder)).blocks if block.unit.measure == "attention")
    assert [row.labels for row in block.rows[:4]] == [("0", "0"), ("0", "1"), ("0", "2"), ("0", "3")]
    assert [row.significance for row in block.rows[:4]] == ["above", "below", "above", "within"]  # the fourth: q = 0.9
    assert "48 estimates, the 20 furthest from their null" in words
    assert "28 more estimates in results/" in words


def test_what_failed_is_told_with_its_error(words, text):
    for report in (words, text):
        assert "sudoku: expected a tokenizer with digits; found none. Take another." in report
        assert "1 without a result" in report
    assert "TaskError: sudoku" in words  # its traceback


def test_what_made_it_is_told(words, text):
    for report in (words, text):
        assert "2.13.0" in report
        assert "ab" * 32 in report
        assert "0123456789abcdef" in report
        assert "an ordinary processor" in report


def test_every_estimate_is_in_one_table(folder):
    table = pd.read_parquet(folder / "report.parquet")
    assert len(table) == 4 * (3 + 12 + 48)
    assert table["unit_id"].nunique() == 12
    assert (table["significance"] == "above").sum() == 9


def test_a_result_that_cannot_be_read_is_a_failure_and_not_the_end(tmp_path):
    folder = write_run(tmp_path / "run", failed=False)
    unit = open_run(folder).done[0]
    open_run(folder).path(str(unit.result)).write_bytes(b"PAR1 and then nothing")
    words = str(Words(write_report(folder).read_text("utf-8")))
    assert "1 without a result" in words
    assert "a parquet file" in words
    assert "Figure 11." in words


def test_where_there_is_no_room_the_largest_figures_are_left_out_and_it_is_said(folder, monkeypatch):
    report = contents(open_run(folder))
    every, _, none = render._inline_figures(report)
    assert len(every) == 12
    assert none == set()
    sizes = {anchor: len(figure.data) for anchor, figure in every.items()}
    taken = len(render.packed_plotly()) + render.ROOM_FOR_WORDS * len(every)
    monkeypatch.setattr(render, "LARGEST", taken + sum(sizes.values()) - 1)
    (without,) = render._inline_figures(report)[2]
    assert sizes[without] == max(sizes.values())
    assert "left out to keep the page small" in str(Words(render.html(report)))


def test_a_run_that_has_only_begun_has_a_report(tmp_path):
    folder = write_run(tmp_path / "run", units=[])
    assert "No unit of this run has a result yet" in str(Words(write_report(folder).read_text("utf-8")))


def test_a_manifest_that_says_little_is_enough(tmp_path):
    for kind in ("versions", "weights", "device", "git", "seeds", "command", "started", "seconds"):
        folder = write_run(tmp_path / kind, units=[], **{kind: None})
        write_report(folder)
    (folder / "manifest.json").write_text('{"units": [], "weights": {"a": 7}, "versions": [1], "device": "cpu"}')
    assert "No unit of this run" in str(Words(write_report(folder).read_text("utf-8")))


def test_the_same_run_has_the_same_report(folder):
    before = [(folder / name).read_bytes() for name in ("report.html", "report.md", "report.parquet")]
    write_report(folder)
    assert before == [(folder / name).read_bytes() for name in ("report.html", "report.md", "report.parquet")]


@pytest.mark.parametrize(
    "harmful",
    [
        "*bold* _slanted_ `code` ~~struck~~",
        "[here](javascript:alert(1)) ![](http://there/x.png)",
        "<script>alert(1)</script> <b>&amp;",
        "# heading",
        "- a list",
        "1. a list",
        "> quoted",
        "a | b \\| c",
        "line\n\nbreak",
        "``` fence",
        "[x]: http://there",
        "=== ---",
    ],
)
def test_text_is_only_text_in_markdown(harmful):
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render
    plain = " ".join(harmful.split())
    assert rendered(markdown.escaped(harmful)) == f"<p>{html.escape(plain)}</p>\n"
    row = rendered(f"| a | b |\n| --- | --- |\n| {markdown.escaped(harmful)} | {markdown.code(harmful)} |\n")
    assert [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", row)] == [plain, f"<code>{plain}</code>"]


def test_names_and_numbers_are_not_disfigured_in_markdown():
    for word in ("zoo:masked", "front_loading", "0.12 [−0.05, 0.19]", "a3.h1<q>"[:5], "2026-11-21"):
        assert markdown.escaped(word) == word
