"""What a report says: each number with interval, null and command, each failure with its error, in every setting."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from probe.jobs.report import markdown
from probe.jobs.report.contents import contents
from probe.jobs.report.render import write_report
from probe.jobs.run_folder import open_run
from tests.probe.jobs.made_up import QUESTION, write_run


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
        assert report.index(QUESTION) < report.index("Of 196 estimates held against a null, 13 leave it out")
        assert report.index("13 leave it out") < report.index("Figure 1.")


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
    assert answers["On global tasks computation moves earlier, more than on local ones."] == ["supported"] * 2
    assert answers["What moves computation earlier is sight of the right context."] == ["contradicted"] * 2
    assert answers["Components are less sharply specialised."] == ["not measured"] * 2
    assert report.verdict.sentences[0] == "zoo:masked · prefix: of 11 hypotheses, 2 supported, 9 not measured."
    page = write_report(report.run.folder)
    for words in (str(Words(page.read_text("utf-8"))), page.with_suffix(".md").read_text("utf-8")):
        assert words.index("of 11 hypotheses") < words.index("held against a null")


def test_each_number_has_its_interval_its_null_and_the_command_to_get_it_again(words, text):
    for report in (words, text):
        assert re.search(r"difference\W+0\.120 \[0\.090, 0\.150\]\W+0\.000\W+–\W+256", report)
        assert report.count("twinprobe run spec.yaml --only zoo:masked.countdown.prefix.front_loading.0") == 1


def test_how_to_read_a_figure_is_said_once_a_measure(words, text):
    for report in (words, text):
        assert report.count("Right is earlier: the index is 1") == 1


def test_a_long_table_shows_what_tells_most_and_says_how_much_it_left_out(folder, words):
    block = next(block for block in contents(open_run(folder)).blocks if block.unit.measure == "attention")
    assert [row.labels for row in block.rows[:4]] == [("0", "0"), ("0", "1"), ("0", "2"), ("0", "3")]
    assert [row.significance for row in block.rows[:4]] == ["above", "below", "above", "within"]  # the fourth: q = 0.9
    assert "48 estimates, the 20 that tell most" in words
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
