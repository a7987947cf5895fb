"""Heads are fitted for what they should say, and rules chosen on one split and told of another."""

from __future__ import annotations

import csv

import pytest
import torch

import probe
from probe.cli import main
from probe.decoding import ELASTIC, Strides
from probe.errors import ProbeError
from probe.paradigms.horizon import Ahead, accepted
from probe.training.horizon_choice import HorizonChoice, Written, cheapest, choose_horizon, no_slower, ratio
from probe.training.horizon_fit import AcceptedLength, MeanLoss, OfTask, OfText, fitted
from probe.training.recipe import Text
from tests.probe.tiny import model_of


def planted(passes: list[int], slots: int) -> Written:
    made = torch.tensor(passes * 10)
    return Written("τ", Strides(8), "calibration", torch.full_like(made, 5), made, torch.full_like(made, slots))


def test_the_fewest_slots_of_those_that_are_no_slower():
    best, slower = planted([20, 30, 40, 30, 20], 45), planted([40, 40, 50, 40, 40], 15)
    as_good = planted([30, 20, 40, 30, 21], 40)
    assert cheapest([best, slower]) is best
    assert cheapest([slower, best, as_good]) is as_good
    assert no_slower(as_good, best)
    assert not no_slower(slower, best)
    assert slower.tokens_a_pass == pytest.approx(25 / 210)
    assert slower.slots_a_token == pytest.approx(3)


def test_a_ratios_interval_is_the_bootstraps():
    generator = torch.Generator().manual_seed(0)
    under = torch.randint(2, 9, (400,), generator=generator)
    over = under * 3 + torch.randint(0, 5, (400,), generator=generator)
    found, half = ratio(over, under)
    drawn = torch.randint(400, (4000, 400), generator=generator)
    again = over[drawn].sum(1) / under[drawn].sum(1)
    assert found == pytest.approx(float(over.sum() / under.sum()))
    assert half == pytest.approx(1.96 * float(again.std()), rel=0.1)


def test_a_choice_is_made_on_one_split_and_told_of_another():
    model = probe.load("zoo:fluid", selftest="off")
    shipped = model.attachments["horizon"]
    plan = HorizonChoice((1e-6, 0.5), (0.1,), 64, 32, unverified=False)
    heard: list[object] = []
    found = choose_horizon(model, [OfTask(probe.task("countdown"))], plan, tell=heard.append)
    assert heard == [MeanLoss(1e-6), MeanLoss(0.5), AcceptedLength(0.1)]
    assert {one.split for one in found.every} == {"test"}
    assert [one.rule.length for one in found.fixed] == [1, 2, 3, 4, 6, 8, 12, 16]
    assert found.fixed[0].tokens_a_pass == 1
    free = {str(one.target): one for one in found.every if one.rule == Strides(ELASTIC)}
    timid, bold = free["τ 1e-06"], free["τ 0.5"]  # hardly a draft is sure to a millionth, and the head says so
    assert 1 <= timid.tokens_a_pass < bold.tokens_a_pass
    assert timid.slots_a_token < bold.slots_a_token
    assert found.chosen in found.every
    assert model.attachments["horizon"] is not shipped
    for rival in found.rivals:
        assert rival.other is not rival.fixed
        assert set(rival.row()) > {"beside strides of", "passes", "slots", "tokens a pass", "slots a token"}


def seen_of(lengths: torch.Tensor, hidden: torch.Tensor) -> Ahead:
    """Anchors after which so many tokens are accepted."""
    right = torch.arange(1, 17) <= lengths[:, None]
    return Ahead(torch.where(right, 0.1, 9.0), right, torch.full((len(lengths), 16), 0.5), hidden)


def test_a_head_for_accepted_lengths_weighs_what_a_draft_costs():
    """Half of one kind of anchors accept 2 tokens and half 8; the other kind always 5."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(2, (4000,), generator=generator)
    long = torch.where(torch.rand(4000, generator=generator) < 0.5, 8, 2)
    lengths = torch.where(kind == 1, 5, long)
    model = model_of("llama-gqa", probe.paradigms.Fluid(mask_id=0))
    directions = torch.randn(2, model.d_model, generator=generator)
    seen = seen_of(lengths, directions[kind])
    assert (accepted(seen.right) == lengths).all()
    said = {}
    for cost in (0.3, 0.7):
        head, told = fitted(model, seen, AcceptedLength(cost), learning_rate=0.02)
        said[cost] = head.stride(directions.to(model.dtype)).tolist()
        assert told == pytest.approx(0.75, abs=0.06)
    assert said == {0.3: [8, 5], 0.7: [2, 5]}
    assert "horizon" not in model.attachments


def test_running_text_is_split_and_its_beginnings_are_given(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz"
    drawn = torch.randint(26, (48 * 400,), generator=torch.Generator().manual_seed(0))
    file = tmp_path / "letters.txt"
    file.write_text("".join(letters[k] for k in drawn.tolist()))
    model, book = probe.load("zoo:text-ar", selftest="off"), OfText(Text(files=(str(file),), length=48))
    given = [book.prompts(model, 10_000, split, 0).given for split in ("train", "calibration", "test")]
    assert [part.shape for part in given] == [(380, 8), (10, 8), (10, 8)]
    assert len(torch.cat(given).unique(dim=0)) == 400


def test_the_command_shows_the_frontier_and_keeps_it(monkeypatch, capsys, tmp_path):
    asked = ["zoo:fluid", "--task", "countdown", "--tau", "0.5", "-n", "20", "--texts", "20", "--unverified"]
    monkeypatch.setattr("sys.argv", ["twinprobe", "horizon", *asked, "--markdown", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "| of 8 |" in shown
    assert "Without checks" in shown
    with (tmp_path / "frontier.csv").open() as kept:
        rows = list(csv.DictReader(kept))
    assert {row["family"] for row in rows} == {"fixed", "γ", "τ"}
    assert (tmp_path / "horizon.safetensors").is_file()


def test_what_has_no_horizon_is_refused():
    with pytest.raises(ProbeError, match="FLUID"):
        choose_horizon(model_of(), [OfTask(probe.task("countdown"))])
    with pytest.raises(ProbeError, match="targets"):
        HorizonChoice(taus=(), costs=())
    with pytest.raises(ProbeError, match="above 0"):
        MeanLoss(0)
    with pytest.raises(ProbeError, match="cost"):
        AcceptedLength(1)
