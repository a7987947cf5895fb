"""A whole study from two imports, as a reader of the front page writes it."""

from __future__ import annotations

import inspect
from html import unescape

import plotly.graph_objects as go
import pytest

import analyses
import probe


@pytest.fixture(scope="module")
def study():
    """What every study begins with: twins, prompts that both answer right, and a circuit of each."""
    pair = probe.load_pair("zoo:masked")
    batch = probe.task("ioi").batch(pair, n=12, seed=0)
    circuits = [analyses.circuits.attribute(model, batch, steps=2) for model in (pair.ar, pair.diffusion)]
    return pair, batch, circuits


def test_what_is_recorded_is_a_labelled_array(study):
    pair, batch, _ = study
    trace = probe.record(pair.diffusion, batch, sites=["resid_post", "pattern"], reading="prefix")
    assert {"example", "layer", "position"} <= set(trace["resid_post"].dims)


FEW = analyses.circuits.EvaluationOptions(shares=(0.1, 0.5))
RESULTS = {
    "compare": lambda pair, batch, ar, mdm: analyses.circuits.compare(ar, mdm, resamples=50),
    "faithfulness": lambda pair, batch, ar, mdm: analyses.circuits.faithfulness(pair.ar, batch, ar, options=FEW),
    "importance": lambda pair, batch, ar, mdm: analyses.circuits.importance(ar, mdm, resamples=50),
    "front-loading": lambda pair, batch, ar, mdm: analyses.front_loading.index(ar, mdm),
    "profile": lambda pair, batch, ar, mdm: analyses.front_loading.profile(ar, mdm),
    "spans": lambda pair, batch, ar, mdm: analyses.front_loading.spans(ar, mdm),
    "spread": lambda pair, batch, ar, mdm: analyses.specialization.spread(ar, mdm),
    "heads": lambda pair, batch, ar, mdm: analyses.attention.heads(pair, batch, reading="prefix", resamples=50),
    "logit lens": lambda pair, batch, ar, mdm: analyses.lens.logit_lens(pair, batch),
    "direct": lambda pair, batch, ar, mdm: analyses.lens.direct(pair, batch),
    "contributions": lambda pair, batch, ar, mdm: analyses.activations.contributions(pair, batch),
    "cka": lambda pair, batch, ar, mdm: analyses.representation.cka(pair, batch, resamples=20),
    "drift": lambda pair, batch, ar, mdm: analyses.representation.weight_drift(pair),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_measure_is_a_table_and_a_figure(study, name):
    pair, batch, (ar, mdm) = study
    result = RESULTS[name](pair, batch, ar, mdm)
    assert isinstance(result, analyses.Result)
    assert len(result.table)
    assert isinstance(result.figure(), go.Figure)
    assert result.title in unescape(result._repr_html_())


def test_a_table_of_heads_has_a_column_for_each_score(study):
    pair, batch, _ = study
    columns = {"layer", "head", "previous", "next", "same", "induction", "reverse_induction", "sink", "entropy"}
    assert columns <= set(analyses.attention.heads(pair.ar, batch.clean, resamples=20).table)


ROOMS = [name for name in analyses.__all__ if name not in ("Result", "plots")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_public_function_names_its_arguments_and_has_few(room):
    for name in getattr(analyses, room).__all__:
        function = getattr(getattr(analyses, room), name)
        if not inspect.isfunction(function):
            continue
        kinds = [one.kind for one in inspect.signature(function).parameters.values()]
        assert inspect.Parameter.VAR_KEYWORD not in kinds, name
        assert len(kinds) <= 7, name


def test_every_room_says_what_is_in_it():
    for room in analyses.__all__[1:]:
        found = getattr(analyses, room)
        assert found.__doc__
        for name in found.__all__:
            assert getattr(found, name) is not None
