"""Choosing τ: by the rule that is written down, on the calibration split, with heads that learn what to say."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.errors import ProbeError
from probe.training.horizon_choice import HorizonChoice, Written, choice, choose_tau
from tests.probe.tiny import model_of


def planted(tau: float, passes: list[int], slots: float) -> Written:
    made = torch.tensor(passes * 10)
    return Written("elastic", tau, 1, "calibration", 50 / int(made.sum()), slots, made)


def test_the_fewest_slots_of_those_that_are_no_slower():
    best, slower = planted(1.0, [2, 3, 4, 3, 2], 9.0), planted(0.5, [4, 4, 5, 4, 4], 3.0)
    as_good = planted(2.0, [3, 2, 4, 3, 2], 8.0)
    assert choice([best, slower]) is best
    assert choice([slower, best, as_good]) is as_good
    assert choice([as_good, planted(3.0, [2, 3, 4, 3, 2], 12.0), best]) is as_good


def test_a_choice_is_made_on_one_split_and_told_of_another():
    model, plan = probe.load("zoo:fluid", selftest="off"), HorizonChoice((1e-6, 0.5), (1,), 48, 24, epochs=8)
    shipped = model.attachments["horizon"]
    found = choose_tau(model, [probe.task("countdown")], plan)
    calibration = [one for one in found.rows if one.split == "calibration"]
    assert [one.tau for one in calibration] == [1e-6, 0.5]
    assert found.chosen is choice(calibration)
    timid, bold = calibration  # hardly a draft is sure to a millionth, and the head learns to say so
    assert 1 <= timid.tokens_a_pass < bold.tokens_a_pass
    assert timid.slots_a_token < bold.slots_a_token
    assert timid.right is not None
    assert timid.right > 0.6
    assert found.chosen is bold
    reported = [one for one in found.rows if one.split == "test"]
    assert [one.strides for one in reported] == ["elastic", "of 1", "of 2", "of 4", "of 8", "of 16"]
    assert reported[1].tokens_a_pass == 1
    assert model.attachments["horizon"] is not shipped
    again = choose_tau(model, [probe.task("countdown")], plan)
    assert [one.row() for one in again.rows] == [one.row() for one in found.rows]
    assert set(found.rows[0].row()) == {"split", "strides", "τ", "K* told", "tokens a pass", "slots a token"}


def test_only_fluid_has_a_horizon():
    with pytest.raises(ProbeError, match="FLUID"):
        choose_tau(model_of(), [probe.task("countdown")])
    with pytest.raises(ProbeError, match="above 0"):
        HorizonChoice(taus=())
