"""A figure shows all that its table holds, or says what it leaves out: every measure of models, under every reading."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

import probe
from analyses import activations, attention, depth, hypotheses, lens, plots, representation
from analyses.plots.heatmap import scale
from analyses.result import Result
from probe.pairs import Pair
from tests.probe.readings import asking

READINGS = ("prefix", "one_mask", "ratio", "trajectory")
ONCE = ("prefix", "one_mask")  # readings that show each example once
OF_A_READING = {
    "logit lens": lens.logit_lens,
    "prediction depth": lens.depth,
    "direct attribution": lens.direct,
    "component lens": lens.component_lens,
    "contributions": activations.contributions,
    "heads": lambda pair, batch, *, reading: attention.heads(pair, batch, reading=reading, resamples=20),
    "skipping": depth.skip_effects,
}
BY_SLOT = {  # tokens of both twins beside each other: refused under a reading that shows an example several times
    "cka": lambda pair, batch, *, reading: representation.cka(pair, batch, reading=reading, resamples=20),
    "cosine": representation.cosine,
}
APPLY = [*((OF_A_READING[name], reading) for name in OF_A_READING for reading in READINGS),
         *((BY_SLOT[name], reading) for name in BY_SLOT for reading in ONCE)]  # fmt: skip


@cache
def pair() -> Pair:
    return Pair(asking.model_of("ar"), asking.model_of("masked, no shift"), name="tiny twins")


def held(result: Result) -> set[float]:
    """The estimates in a table: in one column, or in a column a measure."""
    columns = ["estimate"] if "estimate" in result.table else [*result.about["measures"]]
    return _rounded(result.table[columns].to_numpy(float))


def drawn(figure) -> set[float]:
    """All numbers along the axes of a figure, or in the cells of its heatmaps."""
    parts = [
        trace[axis] for trace in figure.data for axis in ("x", "y", "z") if axis in trace and trace[axis] is not None
    ]
    return _rounded(np.concatenate([pd.to_numeric(np.ravel(part), errors="coerce") for part in parts]))


def _rounded(values: np.ndarray) -> set[float]:
    return {round(float(value), 9) for value in np.ravel(values) if np.isfinite(value)}


def shows_all_or_says_so(result: Result) -> bool:
    figure = result.figure()
    words = plots.left_out(figure)
    assert words == (figure.layout.title.subtitle.text or "").replace("<br>", " ")
    return bool(held(result) - drawn(figure)) == bool(words)


@pytest.mark.parametrize(("measure", "reading"), APPLY)
def test_a_figure_shows_all_of_its_table_or_says_what_it_leaves_out(measure, reading):
    result = measure(pair(), asking.batch_of("countdown", 10), reading=reading)
    assert shows_all_or_says_so(result), plots.left_out(result.figure())


def test_each_step_of_a_decoding_run_is_drawn_for_both_twins():
    result = lens.logit_lens(pair(), asking.batch_of("countdown", 10), reading="trajectory")
    alone = result.table[~result.table["role"].str.contains("−")]
    assert set(alone["step"]) == {int(trace.name.removeprefix("step ")) for trace in result.figure().data if trace.name}
    titles = " ".join(note.text for note in result.figure().layout.annotations)
    assert "· ar" in titles
    assert "· masked, no shift" in titles


def test_so_do_the_figures_of_a_decoding_run():
    model = asking.model_of("masked, no shift")
    run = probe.decode(model, asking.batch_of("countdown", 3).clean[:, :6], 5)
    for by_head in (False, True):
        result = attention.sinks(model, run, by_head=by_head, resamples=20)
        assert shows_all_or_says_so(result), by_head
    assert "each head" in plots.left_out(result.figure())


def test_a_model_has_one_name_and_one_colour_in_every_figure():
    batch = asking.batch_of("countdown", 10)
    found = {}
    for result in (
        lens.logit_lens(pair(), batch),
        activations.contributions(pair(), batch),
        lens.direct(pair(), batch),
    ):
        for trace in result.figure().data:
            if trace.name:
                colour = (trace.line.color if trace.mode == "lines+markers" else None) or trace.marker.color
                found.setdefault(trace.name, set()).add(colour)
    assert found == {"ar": {plots.colour_of("ar")}, "masked, no shift": {plots.colour_of("diffusion")}}


def test_heads_are_a_row_a_score_and_a_column_a_model_with_the_difference_last():
    result = attention.heads(pair(), asking.batch_of("countdown", 10), reading="prefix", resamples=20)
    figure = result.figure()
    titles = [note.text for note in figure.layout.annotations]
    assert [title.replace("<br>", " ") for title in titles[:3]] == ["ar", "masked, no shift", "masked, no shift − ar"]
    assert titles[3:6] == ["previous", "next", "same"]
    scales = [trace.coloraxis for trace in figure.data[:3]]
    assert scales == ["coloraxis", "coloraxis", "coloraxis2"]
    assert figure.layout.coloraxis2.cmin == -figure.layout.coloraxis2.cmax


def test_no_text_of_a_figure_is_smaller_than_ten_pixels():
    figure = hypotheses.verdict({"did": hypotheses.Evidence(0.2, 0.1, 0.3, 50)}).figure()
    words = str(figure.to_json())
    assert "<sup>" not in words
    assert min(map(int, re.findall(r"font-size:(\d+)px", words))) >= 10


def test_shares_have_a_scale_from_0_to_1_and_differences_one_about_0():
    assert [scale(np.array([-0.001, 0.9]), "")[end] for end in ("cmin", "cmax")] == [0, 1]
    assert [scale(np.array([-0.4, 0.9]), "")[end] for end in ("cmin", "cmax")] == [-0.9, 0.9]
    assert [scale(np.array([3.0, 90.0]), "")[end] for end in ("cmin", "cmax")] == [3, 90]
