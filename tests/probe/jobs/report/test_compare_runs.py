"""Two runs held side by side: what was planted between them is what is found."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses.result import Result
from probe.jobs.report.compare_runs import compare
from tests.command import twinprobe
from tests.probe.jobs.made_up import write_run, write_unit


def run_of(folder: Path, **columns) -> Path:
    """A run of one unit with these estimates."""
    table = pd.DataFrame({"layer": range(len(columns["estimate"])), **columns})
    result = Result("depth", table, "Depth", "", "profile", {"axes": {"x": "layer"}})
    return write_run(folder, units=[write_unit(folder, result, pair="zoo:masked", task="ioi")])


def changes(one: Path, two: Path) -> dict[str, str]:
    return compare(one, two).table.set_index("of")["change"].to_dict()


@pytest.mark.parametrize(
    ("one", "two", "change"),
    [
        ((0.5, 0.4, 0.6), (0.5, 0.4, 0.6), "equal"),
        ((0.5, 0.4, 0.6), (0.55, 0.45, 0.65), "within"),
        ((0.5, 0.4, 0.6), (0.65, 0.55, 0.75), "moved"),
        ((0.5, 0.4, 0.6), (0.65, 0.2, 0.9), "moved"),  # the narrow interval leaves the other estimate out
        ((0.5, 0.4, 0.6), (0.9, 0.8, 1.0), "apart"),
        ((0.9, 0.8, 1.0), (0.5, 0.4, 0.6), "apart"),
        ((0.5, math.nan, math.nan), (0.6, math.nan, math.nan), "unjudged"),
        ((0.5, math.nan, math.nan), (0.5, math.nan, math.nan), "equal"),
    ],
)
def test_a_change_is_judged_by_its_intervals(tmp_path, one, two, change):
    folders = [
        run_of(tmp_path / name, **dict(zip(("estimate", "low", "high"), ([value] for value in numbers), strict=True)))
        for name, numbers in (("one", one), ("two", two))
    ]
    assert changes(*folders) == {"layer 0": change}


def test_rows_are_matched_by_what_they_are_of_and_not_by_their_order(tmp_path):
    one = run_of(tmp_path / "one", estimate=[0.1, 0.2], low=[0.0, 0.1], high=[0.2, 0.3])
    two = run_of(tmp_path / "two", layer=[1, 0], estimate=[0.2, 0.1], low=[0.1, 0.0], high=[0.3, 0.2])
    assert set(changes(one, two).values()) == {"equal"}


def test_rows_that_only_one_run_has_are_gone_or_new(tmp_path):
    one = run_of(tmp_path / "one", estimate=[0.1, 0.2])
    two = run_of(tmp_path / "two", layer=[1, 2], estimate=[0.2, 0.3])
    assert changes(one, two) == {"layer 0": "gone", "layer 1": "equal", "layer 2": "new"}


def test_a_run_is_equal_to_itself(tmp_path):
    folder = write_run(tmp_path / "run")
    found = compare(folder, folder)
    assert set(found.table["change"]) == {"equal"}
    assert (found.units, found.circumstances, len(found.telling)) == ((), (), 0)


def test_chance_moves_as_many_estimates_as_the_page_says(tmp_path):
    """Two runs on fresh examples: P(|Z| > 1.96 / √2) = 1/6 moved or apart, P(|Z| > 1.96 · √2) = 1/180 apart."""
    generator = np.random.default_rng(0)
    drawn = [generator.normal(0, 1, 6000) for _ in range(2)]
    folders = [
        run_of(tmp_path / name, estimate=values, low=values - 1.96, high=values + 1.96)
        for name, values in zip(("one", "two"), drawn, strict=True)
    ]
    counts = compare(*folders).counts
    assert (counts["moved"] + counts["apart"]) / 6000 == pytest.approx(1 / 6, abs=0.02)
    assert counts["apart"] / 6000 == pytest.approx(1 / 180, abs=0.004)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    weights = {"zoo:masked": {"sha256": "cd" * 32}, "zoo:fluid": {"sha256": "ab" * 32}}
    versions = {"twinprobe": "0.1.0", "python": "3.11.2", "torch": "2.14.0", "transformers": "5.23.0"}
    after = {"shift": 0.2, "failed": False, "versions": versions, "weights": weights}
    return write_run(folder / "before"), write_run(folder / "after", **after)


def test_what_is_not_the_same_about_their_making_is_told(two_runs):
    found = compare(*two_runs)
    told = {(each.kind, each.name): (each.one, each.two) for each in found.circumstances}
    assert told.pop(("spec", "name")) == ("before", "after")
    assert told.pop(("versions", "torch")) == ("2.13.0", "2.14.0")
    assert told.pop(("weights", "zoo:masked")) == ("ab" * 32, "cd" * 32)
    assert told == {}
    (unit,) = found.units
    assert (unit.one, unit.two) == ("failed (TaskError)", None)


def test_what_moved_is_what_was_moved_the_furthest_first(two_runs):
    telling = compare(*two_runs).telling
    assert set(telling["unit"]) == {
        "zoo:masked.countdown.prefix.front_loading.0",
        "zoo:masked.countdown.prefix.depth.0",
    }
    assert not telling["of"].str.contains("model ar").any()
    ranks = telling["change"].map({"apart": 0, "moved": 1}).tolist()
    assert ranks == sorted(ranks)


def test_it_is_written_as_a_page_a_text_and_a_table(two_runs, tmp_path):
    found = compare(*two_runs)
    page = found.save(tmp_path / "compared")
    table = pd.read_parquet(tmp_path / "compared" / "compare.parquet")
    assert table["change"].value_counts().to_dict() == {k: n for k, n in found.counts.items() if n}
    for text in (page.read_text("utf-8"), (tmp_path / "compared" / "compare.md").read_text("utf-8")):
        assert "0.120 [0.090, 0.150]" in text
        assert "0.200 [0.170, 0.230]" in text
        assert "2.14.0" in text


def test_names_of_runs_are_escaped(tmp_path):
    harmful = "<img src=x onerror=alert(1)>"
    one, two = (write_run(tmp_path / name, name=harmful, versions={harmful: name}) for name in ("one", "two"))
    assert "<img" not in compare(one, two).html()
    assert "<img" not in compare(one, two).markdown()


def test_the_command_line_tells_it_to_people_and_machines(two_runs, tmp_path):
    words = [str(folder) for folder in two_runs]
    told = twinprobe("compare", *words, "--out", str(tmp_path / "compared"), width=200)
    assert told.returncode == 0, told.stderr
    assert "0.200 [0.170, 0.230]" in told.stdout
    assert (tmp_path / "compared" / "compare.html").is_file()
    machine = json.loads(twinprobe("compare", *words, "--json").stdout)
    assert machine["counts"] == compare(*two_runs).counts
    assert machine["changed"][0]["change"] == "apart"
    refused = twinprobe("compare", words[0], str(tmp_path / "nowhere"))
    assert refused.returncode == 2
    assert "no such folder" in refused.stderr
    assert "Traceback" not in refused.stderr
