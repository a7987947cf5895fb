"""Adapting: the same recipe makes the same weights, also when it is killed on the way, and what it makes loads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import probe
from probe.paradigms import named
from probe.paradigms.paradigm import NO_LABEL, weighted_loss
from probe.tasks import vocabulary
from probe.training import Recipe, adapt, read_recipe
from probe.training.checkpoints import last_whole
from probe.training.lessons import Lessons

SHAPE = {"model_type": "llama", "layers": 2, "heads": 2, "kv_heads": 1, "d_model": 16, "d_mlp": 32}


def recipe(**changed) -> Recipe:
    plain = {"name": "t", "shape": SHAPE, "paradigm": "masked", "tasks": {"ioi": 1, "greater_than": 2}, "steps": 6}
    return Recipe.model_validate({**plain, "batch": 8, "save_every": 2, **changed})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(probe.load(folder, selftest="off").backbone.state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("paradigm", ["autoregressive", "masked", "block", "fluid"])
def test_what_is_made_loads_as_what_the_recipe_says(paradigm, tmp_path):
    folder = adapt(recipe(paradigm=paradigm, steps=2), tmp_path / "made", quiet=True)
    model = probe.load(folder)
    assert model.paradigm.name == paradigm
    assert model.mask_id == vocabulary.shipped().mask_token_id
    assert not (folder / "checkpoints").exists()


def test_the_same_recipe_makes_the_same_weights_and_another_seed_others(tmp_path):
    made = [
        weights(adapt(recipe(seed=seed), tmp_path / name, quiet=True)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_a_twin_starts_from_the_weights_of_the_model_it_names(tmp_path):
    twin = recipe(shape=None, start="zoo:tiny-ar", learning_rate=1e-12, warmup=0, steps=1)
    made = weights(adapt(twin, tmp_path / "twin", quiet=True))
    start = probe.load("zoo:tiny-ar", selftest="off").backbone.state_dict()
    assert all(torch.allclose(made[name], start[name], atol=1e-3) for name in start)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_killed_on_the_way_it_resumes_to_the_weights_of_an_uninterrupted_run(optimizer, tmp_path):
    plan = recipe(steps=200, save_every=20, optimizer=optimizer)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(plan.model_dump(exclude_none=True), sort_keys=False))
    whole = weights(adapt(plan, tmp_path / "whole", quiet=True))
    folder = tmp_path / "killed"
    command = [Path(sys.executable).with_name("twinprobe"), "adapt", str(file), "--out", str(folder)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert run.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint in two minutes"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (folder / "config.json").exists()  # it really was cut short
    assert same(weights(adapt(plan, folder, quiet=True)), whole)


def test_snapshots_load_and_change_on_the_way(tmp_path):
    plan = recipe(steps=6, snapshots=(2, 6))
    folder = adapt(plan, tmp_path / "made", quiet=True)
    early, late = (weights(folder / "snapshots" / f"step-{step}") for step in (2, 6))
    assert not same(early, late)
    assert same(late, weights(folder))
    assert same(late, weights(adapt(recipe(steps=6), tmp_path / "without", quiet=True)))  # keeping changes nothing


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_last_checkpoint(tmp_path, monkeypatch):
    def broken(logits, labels, counts):
        broken.calls += 1
        return weighted_loss(logits, labels, counts) * (torch.nan if broken.calls == 4 else 1)

    broken.calls = 0
    monkeypatch.setattr(sys.modules["probe.training.teacher"], "weighted_loss", broken)
    with pytest.raises(probe.ProbeError, match=r"training step 3.*seed 0.*checkpoint-2"):
        adapt(recipe(steps=6, save_every=2), tmp_path / "broken", quiet=True)


def test_a_folder_is_made_once_and_belongs_to_one_recipe(tmp_path):
    folder = adapt(recipe(steps=2), tmp_path / "made", quiet=True)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    adapt(recipe(steps=2), folder, quiet=True)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(probe.ProbeError, match="steps"):
        adapt(recipe(steps=3), folder, quiet=True)


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    for step, state in (("10", "{}"), ("20", '{"half'), ("30", None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_whole(tmp_path) == str(tmp_path / "checkpoint-10")
    assert last_whole(tmp_path / "nothing") is None


def test_a_lesson_depends_on_its_step_alone_and_never_asks_with_padding():
    plan, words = recipe(anneal=0.5), vocabulary.shipped()
    lessons = Lessons(plan, named("masked")(), words, words.mask_token_id)
    again = Lessons(plan, named("masked")(), words, words.mask_token_id)
    for step in (5, 0, 3):
        assert torch.equal(lessons[step].canvas.tokens, again[step].canvas.tokens)
        assert torch.equal(lessons[step].labels, again[step].labels)
        assert not (lessons[step].canvas.tokens == words.pad_token_id).any()


def test_annealing_opens_attention_from_causal_to_full():
    plan, words = recipe(anneal=1.0, steps=100), vocabulary.shipped()
    lessons = Lessons(plan, named("masked")(), words, words.mask_token_id)

    def open_share(step: int) -> float:
        allowed = lessons[step].canvas.allowed
        ahead = torch.ones(allowed.shape[-2:], dtype=torch.bool).triu(1).expand_as(allowed)
        assert allowed[~ahead].all()  # what was visible to the AR model stays so
        return allowed[ahead].float().mean().item()

    assert open_share(0) < 0.1
    assert 0.4 < open_share(49) < 0.6
    assert open_share(99) == 1.0


def test_tokens_of_the_answer_count_more():
    plan, words = recipe(tasks={"ioi": 1}, answer_weight=4.0), vocabulary.shipped()
    lesson = Lessons(plan, named("autoregressive")(), words, words.mask_token_id)[0]
    # In IOI the answer is the last token, which the slot before it answers for.
    asked = lesson.labels[0] != NO_LABEL
    assert lesson.weights[0][asked].tolist() == [1.0] * (int(asked.sum()) - 1) + [4.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "YAML"),
        ("name: t\nparadigm: maskd\nsteps: 1\ntasks: {ioi: 1}\nstart: x", "paradigm"),
        ("name: t\nparadigm: masked\nsteps: 1\ntasks: {ioi: 1}", "start"),
        ("name: t\nparadigm: masked\nsteps: -1\ntasks: {ioi: 1}\nstart: x", "steps"),
        ("name: t\nparadigm: masked\nsteps: 1\ntasks: {ioi: 1}\nstart: x\nstps: 2", "stps"),
        ("name: t\nparadigm: block\nweighting: 1/t\nsteps: 1\ntasks: {ioi: 1}\nstart: x", "weighting"),
    ],
)
def test_a_bad_recipe_is_refused_by_field(text, told, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(probe.ProbeError, match=told):
        read_recipe(tmp_path / "r.yaml")
