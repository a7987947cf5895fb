"""Stage II in a recipe: a head is added, no weight is touched, and an interruption changes nothing."""

from __future__ import annotations

import sys

import pytest
import torch

import probe
from probe.training import Recipe, adapt
from probe.training.horizon_fit import MeanLoss, OfTask, fitted, own_text

SHAPE = {"model_type": "llama", "layers": 2, "heads": 2, "kv_heads": 1, "d_model": 16, "d_mlp": 32}
PLAIN = {"name": "t", "shape": SHAPE, "paradigm": "fluid", "tasks": {"ioi": 1}, "steps": 3, "batch": 8, "save_every": 2}
STAGE_TWO = {"tau": 5.0, "steps": 5, "learning_rate": 0.01}


def made(folder, **changed) -> probe.Model:
    return probe.load(adapt(Recipe.model_validate({**PLAIN, **changed}), folder, quiet=True), selftest="off")


def head_of(model: probe.Model) -> dict[str, torch.Tensor]:
    return dict(model.attachments["horizon"].state_dict())


def test_stage_two_adds_a_head_and_changes_no_weight(tmp_path):
    one, both = made(tmp_path / "one"), made(tmp_path / "both", horizon=STAGE_TWO)
    assert not one.attachments
    assert all(torch.equal(a, b) for a, b in zip(one.backbone.parameters(), both.backbone.parameters(), strict=True))
    longer = made(tmp_path / "longer", horizon={**STAGE_TWO, "steps": 9})
    assert not torch.equal(head_of(both)["layers.0.weight"], head_of(longer)["layers.0.weight"])
    assert probe.decode(both, torch.tensor([1, 9, 8]), 4).sampler.startswith("elastic")
    assert not (tmp_path / "both" / "checkpoints").exists()


def test_interrupted_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole = head_of(made(tmp_path / "whole", horizon=STAGE_TWO))
    stage = sys.modules["probe.training.horizon_stage"]
    true_loss, calls = stage.horizon_loss, []

    def breaks_once(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return true_loss(*args)

    monkeypatch.setattr(stage, "horizon_loss", breaks_once)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "broken", horizon=STAGE_TWO)
    resumed = head_of(made(tmp_path / "broken", horizon=STAGE_TWO))
    assert len(calls) == 4 + 3  # from step 2 on, where its last checkpoint was
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_it_learns_from_the_models_own_text(tmp_path):
    own = made(tmp_path / "own", horizon={"tau": 5.0, "own_texts": 20})
    alone = made(tmp_path / "alone")
    assert all(torch.equal(a, b) for a, b in zip(own.backbone.parameters(), alone.backbone.parameters(), strict=True))
    assert not alone.attachments
    accepted = made(tmp_path / "accepted", horizon={"cost": 0.3, "own_texts": 20})
    assert not torch.equal(head_of(own)["layers.2.bias"], head_of(accepted)["layers.2.bias"])
    seen = own_text(alone, [OfTask(probe.task("ioi"))], 20)
    head, _ = fitted(alone, seen, MeanLoss(5.0))
    stayed = head_of(own)["layers.2.bias"] - head.state_dict()["layers.2.bias"]
    assert stayed.abs().max() < 0.05  # the saved weights are in half precision
    with pytest.raises(ValueError, match="own_texts"):
        Recipe.model_validate({**PLAIN, "horizon": {"cost": 0.3}})


def test_only_fluid_looks_ahead(tmp_path):
    with pytest.raises(ValueError, match="FLUID"):
        Recipe.model_validate({**PLAIN, "paradigm": "masked", "horizon": STAGE_TWO})
