"""Rules as plain data: what a spec can say is what Python can, and what is wrong with it is told when it is read."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.decoding import Flowing, Sampler, Strides, rule_for
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Flow, Fluid, Masked
from probe.readings import named
from tests.probe.tiny import MASK, model_of, tokens_of


@pytest.mark.parametrize(
    ("kind", "said", "rule"),
    [
        (Masked(mask_id=MASK), {"order": "entropy", "steps": 3, "stop": [4]}, Sampler("entropy", steps=3, stop=(4,))),
        (Autoregressive(mask_id=MASK), {"temperature": 1.0}, Sampler(temperature=1.0)),
        (Fluid(mask_id=MASK), {"length": 3, "stop": [4, 5]}, Strides(3, stop=(4, 5))),
        (Flow(mask_id=MASK), {"steps": 3}, Flowing(3)),
    ],
)
def test_a_mapping_is_the_rule_of_the_model_at_hand(kind, said, rule):
    model, prompt = model_of("llama-gqa", kind), tokens_of(2, 3)
    assert rule_for(model, said) == rule_for(model, rule)
    runs = [probe.decode(model, prompt, 6, sampler=one) for one in (said, rule)]
    assert torch.equal(runs[0].states, runs[1].states)
    assert runs[0].sampler == runs[1].sampler


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"order": "entrpy"}, "Did you mean 'entropy'"),
        ({"ordr": "entropy", "steps": 4}, "Did you mean 'order'"),
        ({"length": 0}, "from 1"),
        ({"temperature": "hot"}, "hot"),
    ],
)
def test_a_reading_refuses_what_no_model_writes_by(said, told):
    with pytest.raises(ProbeError, match=told):
        named("trajectory", sampler=said)


def test_a_reading_takes_what_some_model_writes_by():
    for said in ({"order": "margin"}, {"length": "elastic", "least": 4}, {"steps": 2, "keep": True}):
        assert named("trajectory", sampler=said)
    with pytest.raises(ProbeError, match="length"):
        probe.decode(model_of("llama-gqa", Masked(mask_id=MASK)), tokens_of(1, 3), 2, sampler={"length": 3})
