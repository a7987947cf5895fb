"""A result on disk is the result: the same table, words and figure."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analyses import plots
from analyses.result import Result
from probe.errors import ProbeError
from probe.jobs.run_folder import read_result

TABLE = pd.DataFrame(
    {
        "model": ["ar", "ar", "diffusion", "diffusion"] * 2,
        "task": ["ioi"] * 4 + ["paths"] * 4,
        "layer": [0, 1] * 4,
        "estimate": np.linspace(-0.2, 0.5, 8),
        "low": np.linspace(-0.3, 0.4, 8),
        "high": np.linspace(-0.1, 0.6, 8),
        "n": 12,
        "null": 0.0,
    }
)


def result_of(drawing: str, **axes) -> Result:
    return Result("name", TABLE, "A <b>title</b>", "How to read it.", drawing, {"axes": axes, "seed": np.int64(3)})


def test_open_gives_back_what_was_saved(tmp_path):
    saved = result_of("profile", x="layer", colour="model", facet="task")
    opened = Result.open(saved.save(tmp_path))
    pd.testing.assert_frame_equal(opened.table, TABLE)
    assert (opened.name, opened.title, opened.caption, opened.drawing) == (
        "name",
        saved.title,
        saved.caption,
        "profile",
    )
    assert opened.about["seed"] == 3
    assert opened.figure().to_json() == saved.figure().to_json()


DRAWINGS = {
    "profile": {"x": "layer", "colour": "model", "facet": "task"},
    "forest": {"rows": ["model", "layer"], "colour": "model", "facet": "task"},
    "heatmap": {"x": "layer", "y": "model", "facet": "task"},
    "bars": {"x": "layer", "colour": "model", "facet": "task"},
}


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_figures_hold_every_estimate_and_escape_what_they_are_told(drawing):
    figure = result_of(drawing, **DRAWINGS[drawing]).figure()
    axis = {"profile": "y", "bars": "y", "forest": "x", "heatmap": "z"}[drawing]
    shown = np.concatenate([np.ravel(trace[axis]).astype(float) for trace in figure.data if trace[axis] is not None])
    assert {round(value, 9) for value in TABLE["estimate"]} <= {round(value, 9) for value in shown}
    assert "<b>" not in figure.layout.title.text


def test_intervals_are_drawn():
    bars = [
        trace for trace in result_of("forest", rows=["model", "layer"]).figure().data if trace.error_x.array is not None
    ]
    np.testing.assert_allclose(bars[0].error_x.array, TABLE["high"] - TABLE["estimate"])
    np.testing.assert_allclose(bars[0].error_x.arrayminus, TABLE["estimate"] - TABLE["low"])


def panels_at(figure) -> list[tuple[float, float]]:
    """Where panels stand, as the left end and the lower end of each."""
    return [(figure.layout[f"xaxis{n}"].domain[0], figure.layout[f"yaxis{n}"].domain[0]) for n in ("", 2)]


def test_the_labels_of_one_panel_never_stand_in_another():
    """Lines with other labels are drawn below each other; with the same ones side by side, labelled once."""
    (left, _), (right, _) = panels_at(abreast := result_of("forest", rows=["layer"], facet="model").figure())
    assert left < right
    assert (abreast.layout.yaxis.showticklabels, abreast.layout.yaxis2.showticklabels) == (None, False)
    (above, top), (below, bottom) = panels_at(result_of("forest", rows=["model"], facet="model").figure())
    assert above == below
    assert bottom < top


def test_a_number_with_a_name_among_them_keeps_its_place_and_a_missing_cell_says_nothing():
    budgets = pd.DataFrame({"k": [22, 111, "all"], "y": ["a", "a", "b"], "estimate": [0.1, 0.2, 0.3]})
    axes = {"axes": {"x": "k", "y": "y"}}
    figure = Result("name", budgets, "Title", "", "heatmap", axes).figure()
    assert figure.layout.xaxis.type == "category"
    assert list(figure.data[0].x) == [22, 111, "all"]
    assert set(np.ravel(figure.data[0].text)) == {""}


def test_a_model_keeps_its_colour():
    assert plots.colours(["diffusion", "ar"])["ar"] == plots.colours(["ar", "x", "y"])["ar"] == plots.colour_of("ar")
    assert len(set(plots.colours(["ar", "diffusion", "a", "b", "c"]).values())) == 5


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ProbeError, match=r"Did you mean .*'profile'"):
        result_of("profil").figure()
    TABLE.to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(ProbeError, match=r"written by Result\.save"):
        Result.open(tmp_path / "plain.parquet")


def test_a_notebook_shows_the_words_and_the_first_rows_and_no_markup_of_theirs():
    table = TABLE.assign(model=["<script>", "<script>2"] * 4, other="<script>")  # in rows, and said once for all
    shown = Result("name", table, "A <b>title</b>", "<i>How</i> to read it.", "profile", {})._repr_html_()
    assert "&lt;b&gt;title" in shown
    assert "&lt;i&gt;How" in shown
    assert shown.count("&lt;script&gt;") == 8 + 1
    assert "<script>" not in shown
    assert "more rows" not in shown
    longer = Result("name", pd.concat([table] * 3), "Title", "", "profile", {})._repr_html_()
    assert "16 more rows" in longer


def test_a_file_whose_caption_has_its_older_name_opens(tmp_path):
    path = result_of("profile", x="layer", colour="model", facet="task").save(tmp_path)
    table = pq.read_table(path)
    words = json.loads(table.schema.metadata[b"twinprobe"])
    words["reads"] = words.pop("caption")
    pq.write_table(table.replace_schema_metadata({b"twinprobe": json.dumps(words).encode()}), path)
    assert Result.open(path).caption == "How to read it."
    assert read_result(path).caption == "How to read it."


def test_a_notebook_is_told_once_what_is_the_same_in_all_rows():
    table = pd.DataFrame(
        {"task": ["ioi"] * 2, "edit": [""] * 2, "layer": [0, 1], "estimate": [0.5, 0.5], "n": [64] * 2}
    )
    shown = Result("name", table, "Title", "", "profile", {})._repr_html_()
    assert "In every row: task ioi, n 64." in shown
    assert [column for column in table if f"<th>{column}</th>" in shown] == ["layer", "estimate"]
