"""Circuits run in each other's models: the same mechanism is transferred, another one is not."""

from __future__ import annotations

import pytest

from analyses.circuits import EvaluationOptions, attribute, cross
from analyses.circuits.evaluation.cross_faithfulness import RANDOM
from analyses.result import Result
from probe.errors import ProbeError
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Masked
from probe.readings import reading_for
from tests.analyses.planted import MASK, relay

SHAPE = {"n_layers": 3, "n_heads": 4, "noise": 0.01, "n": 12}


def crossed(heads: tuple[int, ...], tmp_path=None) -> Result:
    """An AR model whose circuit goes through head 0, and a masked one's through other heads."""
    ar = relay(paradigm=Autoregressive(), **SHAPE)
    diffusion = relay(paradigm=Masked(mask_id=MASK, shift=True), heads=heads, **SHAPE)
    pair = Pair(ar.model, diffusion.model, name="planted")
    return cross(pair, ar.batch, options=EvaluationOptions(shares=(0.03, 0.2, 1.0), draws=4, resamples=200))


@pytest.fixture(scope="module")
def same() -> Result:
    return crossed((0,))


@pytest.fixture(scope="module")
def other() -> Result:
    return crossed((2,))


def of(result: Result, measure: str, role: str, circuit: str) -> list[float]:
    table = result.table
    rows = table[(table["measure"] == measure) & (table["role"] == role) & (table["circuit"] == circuit)]
    return rows.sort_values("share")["estimate"].tolist()


@pytest.mark.parametrize(("role", "foreign"), [("ar", "diffusion"), ("diffusion", "ar")])
def test_one_mechanism_is_transferred_and_another_is_not(same, other, role, foreign):
    for result in (same, other):
        assert of(result, "f", role, role)[0] == pytest.approx(1, abs=0.05)
        assert of(result, "f", role, RANDOM + role)[0] < 0.5
    assert of(same, "transfer", role, foreign)[0] == pytest.approx(1, abs=0.05)
    assert of(same, "f", role, foreign)[0] == pytest.approx(1, abs=0.05)
    assert abs(of(other, "f", role, foreign)[0]) < 0.05
    assert of(other, "transfer", role, foreign)[0] < 0.3


def test_the_whole_graph_is_everyones_circuit(same, other):
    for result in (same, other):
        f = result.table[(result.table["measure"] == "f") & (result.table["share"] == 1)]
        assert len(f) == 8
        assert f["estimate"].to_numpy() == pytest.approx(1, abs=1e-4)
        # Random circuits of all edges are the graph as well: there is nothing beyond them to transfer.
        transfer = result.table[(result.table["measure"] == "transfer") & (result.table["share"] == 1)]
        assert transfer["estimate"].isna().all()


def test_each_model_is_asked_in_its_own_way(same):
    assert same.about["reading"] == "prefix"
    question = relay(**SHAPE)
    assert reading_for(question.model, "prefix").name == "ar"
    assert reading_for(relay(paradigm=Masked(mask_id=MASK), **SHAPE).model, "prefix").name == "prefix"


def test_a_cross_is_drawn_from_disk(other, tmp_path):
    again = Result.open(other.save(tmp_path))
    assert again.figure().to_json() == other.figure().to_json()
    names = {trace.name for trace in other.figure().data if trace.name}
    # A figure names models; these two have one name, and so are told apart by their roles.
    assert {"ar", "diffusion", RANDOM + "ar", RANDOM + "diffusion"} <= names


def test_circuits_of_no_model_of_the_pair_are_refused():
    question = relay(**SHAPE)
    pair = Pair(question.model, relay(paradigm=Masked(mask_id=MASK), **SHAPE).model)
    circuit = attribute(question.model, question.batch, reading="ar", steps=1)
    with pytest.raises(ProbeError, match="difusion"):
        cross(pair, question.batch, {"ar": circuit, "difusion": circuit})
