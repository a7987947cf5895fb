"""A process holds the models that a unit needs, and others only where there is room."""

from __future__ import annotations

import pytest
import torch

from probe.jobs.run import executors, runner, stage_inputs
from probe.jobs.run.cost import models_of
from probe.jobs.run.plan import plan_of
from probe.jobs.run.stage_inputs import WorkerContext
from tests.probe.jobs.asked import spec_of


def context_of(tmp_path, monkeypatch, **budget):
    """A context that notes what it loads, and a unit of each role and the pool."""
    plan = plan_of(spec_of(tmp_path / "run", budget=budget))
    context, loaded = WorkerContext(plan, tmp_path), []
    monkeypatch.setattr(context, "_load", lambda pair, role: loaded.append(role) or object())
    units = {unit.place.get("role", unit.stage): unit for unit in plan if unit.stage in ("numbers", "pool")}
    return context, units, loaded


def work(context, unit) -> tuple[str, ...]:
    context.begin(unit)
    for model in models_of(context.plan, unit):
        context.model(unit.place["pair"], model.role)
    return context.resident


def test_as_many_models_are_kept_as_the_spec_says(stand_ins, tmp_path, monkeypatch):
    context, units, loaded = context_of(tmp_path, monkeypatch, resident=1)
    assert [work(context, units[role]) for role in ("ar", "diffusion", "ar-cpt")] == [
        ("ar",), ("diffusion",), ("ar-cpt",)
    ]  # fmt: skip
    assert set(work(context, units["pool"])) == {"ar", "diffusion"}  # it needs two at a time
    assert loaded == ["ar", "diffusion", "ar-cpt", "ar", "diffusion"]


@pytest.mark.parametrize(("free", "kept"), [(10**12, {"ar", "diffusion", "ar-cpt"}), (1, {"ar-cpt"})])
def test_without_a_word_from_the_spec_memory_decides(free, kept, stand_ins, tmp_path, monkeypatch):
    monkeypatch.setattr(stage_inputs, "free_memory", lambda device: free)
    context, units, _ = context_of(tmp_path, monkeypatch)
    for role in ("ar", "diffusion", "ar-cpt"):
        work(context, units[role])
    assert set(context.resident) == kept


def test_the_model_unused_for_longest_goes_first(stand_ins, tmp_path, monkeypatch):
    context, units, loaded = context_of(tmp_path, monkeypatch, resident=2)
    for role in ("ar", "diffusion", "ar", "ar-cpt", "ar"):
        work(context, units[role])
    assert context.resident == ("ar-cpt", "ar")
    assert loaded == ["ar", "diffusion", "ar-cpt"]


def test_a_spec_says_how_models_are_spread(stand_ins, tmp_path):
    spread = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    layers = {f"model.layers.{layer}": "disk" if layer > 3 else "cpu" for layer in range(6)}
    plan = plan_of(spec_of(tmp_path / "run", device_map={**spread, **layers}))
    found = WorkerContext(plan, tmp_path).model("zoo:masked", "ar")
    away = {name.split(".")[2] for name, parameter in found.backbone.named_parameters() if parameter.is_meta}
    assert away == {"4", "5"}
    tokens = torch.arange(3, 9)[None]
    whole = WorkerContext(plan_of(spec_of(tmp_path / "run")), tmp_path).model("zoo:masked", "ar")
    torch.testing.assert_close(found.logits(tokens), whole.logits(tokens), atol=1e-5, rtol=1e-4)


def test_one_process_has_all_the_devices_of_a_spread_model(stand_ins, tmp_path):
    for spread, count in (("auto", 1), (None, None)):
        plan = plan_of(spec_of(tmp_path / "run", device_map=spread, budget={"workers": None}))
        _, workers = runner._executor(plan, tmp_path, "local", None, None, 8)
        assert workers == (count or len(executors.devices("auto", None, 8)))
