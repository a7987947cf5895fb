"""Flows by recipe: what is made loads as what it says, its average is its weights, and it resumes to the same."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import probe
from probe.errors import ProbeError
from probe.models.selftests import NOT_RUN, run_selftests
from probe.training import Recipe, adapt
from probe.training.ema import Ema
from tests.probe.training.small_recipe import recipe, same, weights


def flow_recipe(**changed) -> Recipe:
    return recipe(**{"paradigm": "flow", "steps": 4, **changed})


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return adapt(flow_recipe(average=0.9), tmp_path_factory.mktemp("flow") / "made", quiet=True)


def test_a_flow_loads_with_its_sense_of_time(flow):
    model = probe.load(flow, selftest="off")
    assert (model.paradigm.name, model.shift, model.paradigm.attention) == ("flow", False, "full")
    assert model.attachments["time"].write.weight.abs().sum() > 0
    assert not any(key.startswith(("attachments", "time")) for key in load_file(flow / "model.safetensors"))
    tests = run_selftests(model)
    assert tests["mask token"].outcome == NOT_RUN
    assert not {finding.test for finding in tests.failed} & {"wiring", "attention reach", "kernels", "rotary"}


def test_a_flow_without_its_sense_of_time_is_no_flow(flow, tmp_path):
    import shutil

    folder = shutil.copytree(flow, tmp_path / "copy")
    (folder / "time.safetensors").unlink()
    with pytest.raises(ProbeError, match=r"time\.safetensors"):
        probe.load(folder)


def test_a_flow_from_nothing_has_no_twin(flow):
    with pytest.raises(ProbeError, match="no AR twin"):
        probe.load_pair(flow)
    from probe.pairs import Pair

    model = probe.load(flow, selftest="off")
    pair = Pair(probe.load(flow, paradigm="autoregressive", selftest="off"), model)
    assert not pair.twins
    with pytest.raises(ProbeError, match="no twin"):
        pair.refuse_strangers("weight drift")


@pytest.mark.parametrize("taught", [True, False])
@pytest.mark.parametrize("target", ["semigroup", "lagrangian", "eulerian"])
def test_a_flow_is_distilled_into_a_map(flow, target, taught, tmp_path):
    plan = flow_recipe(
        shape=None, start=str(flow), paradigm="flow_map", target=target, teacher=str(flow) if taught else None, steps=2
    )
    folder = adapt(plan, tmp_path / "map", quiet=True)
    model = probe.load(folder, selftest="off")
    assert model.paradigm.name == "flow_map"
    assert set(model.attachments) == {"time", "until"}
    assert probe.decode(model, torch.tensor([3, 4, 5]), 2, steps=1).tokens.shape == (5,)


def test_a_flow_is_begun_from_an_ar_models_weights(tmp_path):
    twin = flow_recipe(shape=None, start="zoo:ar", learning_rate=1e-12, warmup=0, steps=1)
    folder = adapt(twin, tmp_path / "twin", quiet=True)
    start = probe.load("zoo:ar", selftest="off").backbone.state_dict()
    made = weights(folder)
    assert made.keys() == start.keys()
    assert all(torch.allclose(made[name], start[name], atol=1e-3) for name in start)
    assert probe.load(folder, selftest="off").entry.ar == "zoo:ar"


def test_the_average_is_the_average():
    module = torch.nn.Linear(2, 2)
    average = Ema(module, 0.5, None)

    class State:
        global_step, is_world_process_zero = 0, False

    class Control:
        should_save = False

    average.on_train_begin(None, State, None)
    expected = {name: value.clone() for name, value in module.named_parameters()}
    for step in range(1, 8):
        State.global_step = step
        with torch.no_grad():
            for value in module.parameters():
                value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(step)))
        average.on_step_end(None, State, Control)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = {name: decay * expected[name] + (1 - decay) * value for name, value in module.named_parameters()}
    own = [value.clone() for value in module.parameters()]
    with average.in_place():
        for name, value in module.named_parameters():
            assert torch.allclose(value, expected[name], atol=1e-6)
    assert all(torch.equal(value, kept) for value, kept in zip(module.parameters(), own, strict=True))


def test_cut_off_at_a_checkpoint_a_flow_resumes_to_the_average_of_an_uninterrupted_run(tmp_path, monkeypatch):
    plan = flow_recipe(steps=6, save_every=2, average=0.9)
    whole = weights(adapt(plan, tmp_path / "whole", quiet=True))
    step = Ema.on_step_end

    def cut_off(self, args, state, control, **how):
        if state.global_step == 5:
            raise KeyboardInterrupt
        step(self, args, state, control, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Ema, "on_step_end", cut_off)
        with pytest.raises(KeyboardInterrupt):
            adapt(plan, tmp_path / "cut", quiet=True)
    assert not (tmp_path / "cut" / "config.json").exists()
    assert same(weights(adapt(plan, tmp_path / "cut", quiet=True)), whole)
    assert not same(weights(adapt(flow_recipe(steps=6), tmp_path / "without", quiet=True)), whole)


def test_characters_are_trained_on_as_text8_has_them(tmp_path):
    (tmp_path / "text.txt").write_text("Call me Ishmael. Some years ago--never mind how long précisely!\n" * 40)
    plan = flow_recipe(tasks={}, tokenizer="characters", text={"files": [str(tmp_path / "text.txt")], "length": 16})
    model = probe.load(adapt(plan, tmp_path / "made", quiet=True), selftest="off")
    assert model.vocabulary == 28  # 27 characters, and the sign for what is open
    assert model.paradigm.clock_of(model).vocabulary == 27
    assert model.tokenizer.decode(model.encode("Précisely, 12 o'clock")[0]) == "precisely o clock"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"paradigm": "masked", "error": "squared"}, "flow's"),
        ({"target": "semigroup"}, "flow map's"),
        ({"paradigm": "masked", "teacher": "zoo:x"}, "flow map's"),
        ({"shape": None, "start": "zoo:ar", "tokenizer": "characters"}, "'shape'"),
    ],
)
def test_a_recipe_says_nothing_that_its_paradigm_does_not_know(wrong, told):
    with pytest.raises(ValueError, match=told):
        flow_recipe(**wrong)
