"""What is to come is read off a model that was built to know it, and not off one that was not."""

from __future__ import annotations

import pytest

from analyses import lookahead
from analyses.lookahead.probes import COUNT, GAIN, PROBE, SELECTIVITY, rows_of
from probe.errors import ProbeError
from probe.pairs import Pair
from probe.paradigms.sampler import Sampler
from tests.analyses.lookahead.masked_run import masked_run
from tests.analyses.planted import relay, two_tokens


@pytest.fixture(scope="module")
def planning():
    return two_tokens(plans=True)


def test_the_planted_models_write_what_they_were_built_to(planning):
    for planted in (planning, two_tokens(plans=False)):
        run = rows_of(planted.model, planted.batch, [1])
        assert run.label.tolist() == planted.batch.clean[:, 5].tolist()


def test_a_plan_is_read_from_the_layer_that_makes_it_and_not_where_there_is_none(planning):
    table = lookahead.read(planning.model, planning.batch, ahead=[1]).table.set_index(["measure", "layer"])
    assert table.loc[(PROBE, 0), "estimate"] > 0.95
    assert table.loc[(GAIN, 0), "low"] > 0.5
    assert table.loc[(SELECTIVITY, 0), "low"] > 0.3
    assert not table.loc[(GAIN, -1), "low"] > 0
    without = two_tokens(plans=False)
    blind = lookahead.read(without.model, without.batch, ahead=[1]).table
    assert not (blind[blind["measure"] == GAIN]["low"] > 0).any()


def test_twins_are_compared_on_the_same_examples(planning):
    without = two_tokens(plans=False)
    pair = Pair(planning.model, without.model, name="one plans")
    table = lookahead.read(pair, planning.batch, ahead=[1]).table
    row = table.query("role == 'diffusion − ar' and layer == 0 and measure == @GAIN", local_dict={"GAIN": GAIN}).iloc[0]
    assert row["high"] < 0
    assert row["p"] < 0.05


def test_only_what_a_pass_leaves_open_is_ahead_of_it():
    model, batch = masked_run()
    rule = Sampler("left_to_right")
    rows = rows_of(model, batch, [1, 2], rule=rule)
    asked = sorted({(int(s), int(p), int(k)) for s, p, k in zip(rows.step, rows.place, rows.ahead, strict=True)})
    assert asked == [(0, 3, 1), (0, 3, 2), (1, 4, 1), (1, 4, 2), (2, 5, 1)]
    assert rows.masks[rows.step == 2].tolist() == [2] * 20
    every = rows_of(model, batch, [1], every=True, rule=rule)
    assert {(int(s), int(p)) for s, p in zip(every.step, every.place, strict=True)} == {
        (0, 3), (0, 4), (0, 5), (1, 4), (1, 5), (2, 5)
    }  # fmt: skip


def test_each_pass_can_be_told_apart():
    model, batch = masked_run()
    table = lookahead.read(model, batch, ahead=[1], by_step=True, sampler=Sampler("left_to_right")).table
    assert table["step"].unique().tolist() == [0, 1, 2]
    assert table[table["measure"] == COUNT]["estimate"].between(0, 1).all()


def test_one_token_has_nothing_ahead():
    planted = relay(n=16)
    with pytest.raises(ProbeError, match="writes several tokens"):
        lookahead.read(planted.model, planted.batch)
