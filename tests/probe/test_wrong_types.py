"""Arguments of another type, or beyond all measure, are told as such: no traceback out of somebody else's code."""

from __future__ import annotations

import pytest

import probe
from probe.errors import ProbeError, nearest
from tests.probe.tiny import model_of, tokens_of

HUGE = 10**30


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask_id": 2.5},
        {"mask_id": "2"},
        {"mask_id": True},
        {"shift": "no"},
        {"shift": float("nan")},
        {"shift": 1},
        {"attention": 5},
        {"paradigm": 5},
        {"paradigm": type},
        {"tokenizer": 5},
    ],
    ids=str,
)
def test_load(wrong):
    with pytest.raises(ProbeError) as caught:
        probe.load("zoo:masked", **wrong)
    assert next(iter(wrong)) in caught.value.thing


@pytest.mark.parametrize("where", [5, None, (), ("zoo:ar",), {"zoo:ar": 1, "zoo:masked": 2}])
def test_load_pair(where):
    with pytest.raises(ProbeError, match="two models"):
        probe.load_pair(where)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("sites", value) for value in (5, [5], [], [None])),
        *(("layers", value) for value in (1.5, "x", [1.5], float("nan"), [HUGE], [])),
        *(("positions", value) for value in ({}, [HUGE], 1.5, "x", [])),
        *(("tracer", value) for value in (5, None, "nope")),
    ],
)
def test_record(argument, value):
    with pytest.raises(ProbeError):
        probe.record(model_of(), tokens_of(2, 5), **{"sites": ["resid_post"], argument: value})


@pytest.mark.parametrize("seed", [1.5, "x", None, True, HUGE])
def test_decode(seed):
    with pytest.raises(ProbeError, match="seed"):
        probe.decode(model_of(), tokens_of(1, 5), 2, seed=seed)


def test_nothing_is_near_to_what_is_no_name():
    assert nearest(5, ["ar", "masked"]) == nearest(None, ["ar", "masked"]) == "Known: ar, masked."
