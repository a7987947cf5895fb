"""Passes and slots that are counted from one look at the text are those of decoding it."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.decoding import ELASTIC, Strides
from probe.decoding.foreseen import counted, foresee
from probe.errors import ProbeError
from probe.paradigms.horizon import LONGEST_BLOCK, new_horizon

RULES = (
    Strides(1),
    Strides(3),
    Strides(16),
    Strides(8, threshold=0.5),
    Strides(ELASTIC),
    Strides(ELASTIC, least=4, threshold=0.3),
    Strides(ELASTIC, least=2, most=3),
)


@pytest.fixture(scope="module")
def fluid() -> probe.Model:
    return probe.load("zoo:fluid", selftest="off")


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("start", [1, 12])
def test_counts_are_those_of_decoding_one_by_one(fluid, rule, start):
    prompts = probe.task("sudoku").examples(fluid, 3).clean[:, :start]
    length = 18 if start == 1 else 9
    head = fluid.attachments["horizon"] if rule.elastic else None
    passes, slots = counted(foresee(fluid, prompts, length), rule, head)
    runs = [probe.decode(fluid, prompt, length, sampler=rule) for prompt in prompts]
    assert passes.tolist() == [int(run.passes) for run in runs]
    assert slots.tolist() == [run.slots for run in runs]


def test_texts_are_greedy_autoregressions_and_first_tokens_are_right(fluid):
    prompts = probe.task("countdown").examples(fluid, 4).clean[:, :9]
    seen = foresee(fluid, prompts, 5)
    assert (seen.tokens == probe.decode(fluid, prompts, 5, sampler=Strides(1)).tokens).all()
    assert seen.ahead.right[:, 0].all()
    assert len(seen.ahead) == 4 * 5
    assert seen.ahead.losses.isfinite().sum(1).max() == 5 < LONGEST_BLOCK


def test_other_rules_are_refused(fluid):
    seen = foresee(fluid, torch.tensor([[5, 6, 7]]), 3)
    head = new_horizon(probe.load("zoo:fluid", selftest="off"))
    for rule, given in ((Strides(4, overlap=False), None), (Strides(4), head), (Strides(ELASTIC), None)):
        with pytest.raises(ProbeError, match="counting"):
            counted(seen, rule, given)
    with pytest.raises(ProbeError, match="most"):
        Strides(ELASTIC, least=4, most=3)
