"""Adapting: the same recipe makes the same weights, also when it is killed on the way, and what it makes loads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import chain, count, repeat
from pathlib import Path

import pytest
import torch
from transformers import TrainerState

import probe
from probe.paradigms import named
from probe.paradigms.paradigm import NO_LABEL, weighted_loss
from probe.tasks import vocabulary
from probe.tasks.score import score
from probe.training import Recipe, adapt, read_recipe
from probe.training.batches import TrainingBatches
from probe.training.checkpoints import last_complete
from probe.training.curve import EXAMINED, figure, read_curve
from tests.forked import begin
from tests.probe.training.small_recipe import recipe, same, weights


@pytest.mark.parametrize("paradigm", ["autoregressive", "masked", "block", "fluid"])
def test_what_is_made_loads_as_what_the_recipe_says(paradigm, tmp_path):
    folder = adapt(recipe(paradigm=paradigm, steps=2), tmp_path / "made", quiet=True)
    model = probe.load(folder)
    assert model.paradigm.name == paradigm
    assert model.mask_id == vocabulary.shipped().mask_token_id
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("horizon", [None, {"steps": 2}])
def test_a_quiet_training_prints_nothing(horizon, tmp_path, capfd):
    """A notebook that trains shows its results, and no line of losses nor a bar's debris."""
    adapt(recipe(paradigm="fluid", steps=2, horizon=horizon), tmp_path / "made", quiet=True)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")


def test_the_same_recipe_makes_the_same_weights_and_another_seed_others(tmp_path):
    made = [
        weights(adapt(recipe(seed=seed), tmp_path / name, quiet=True)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_a_twin_starts_from_the_weights_of_the_model_it_names(tmp_path):
    twin = recipe(shape=None, start="zoo:ar", learning_rate=1e-12, warmup=0, steps=1)
    made = weights(adapt(twin, tmp_path / "twin", quiet=True))
    start = probe.load("zoo:ar", selftest="off").backbone.state_dict()
    assert all(torch.allclose(made[name], start[name], atol=1e-3) for name in start)


def killed_in_a_step(plan: Recipe, folder: Path) -> None:
    """Adapt, and be gone in the middle of the sixth step, two after a checkpoint."""
    trainer = sys.modules["probe.training.trainer"]
    calls = count(1)

    def deadly(*given):
        if next(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return weighted_loss(*given)

    trainer.weighted_loss = deadly
    adapt(plan, folder, quiet=True)


def killed_while_saving(plan: Recipe, folder: Path) -> None:
    """Adapt, and be gone when half of the second checkpoint's last file is written."""
    save = TrainerState.save_to_json

    def deadly(state, path):
        if state.global_step < 8:
            return save(state, path)
        Path(path).write_text('{"half')
        os.kill(os.getpid(), signal.SIGKILL)

    TrainerState.save_to_json = deadly
    adapt(plan, folder, quiet=True)


@pytest.mark.parametrize(("optimizer", "killed"), [("adamw", killed_in_a_step), ("muon", killed_while_saving)])
def test_killed_on_the_way_it_resumes_to_the_weights_of_an_uninterrupted_run(optimizer, killed, tmp_path):
    plan = recipe(steps=12, save_every=4, optimizer=optimizer)
    whole = weights(adapt(plan, tmp_path / "whole", quiet=True))
    folder = tmp_path / "killed"
    process = begin(killed, plan, folder)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "config.json").exists()  # it really was cut short
    assert last_complete(folder / "checkpoints") == str(folder / "checkpoints" / "checkpoint-4")
    assert same(weights(adapt(plan, folder, quiet=True)), whole)


def test_snapshots_load_and_change_on_the_way(tmp_path):
    plan = recipe(steps=6, snapshots=(2, 6))
    folder = adapt(plan, tmp_path / "made", quiet=True)
    early, late = (weights(folder / "snapshots" / f"step-{step}") for step in (2, 6))
    assert not same(early, late)
    assert same(late, weights(folder))
    assert same(late, weights(adapt(recipe(steps=6), tmp_path / "without", quiet=True)))  # keeping changes nothing


def times(factors: Iterator[float]) -> Callable[..., torch.Tensor]:
    """The loss, each time by the next factor."""
    return lambda *given: weighted_loss(*given) * next(factors)


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_last_checkpoint(tmp_path, monkeypatch):
    factors = chain([1, 1, 1, torch.nan], repeat(1))
    monkeypatch.setattr(sys.modules["probe.training.trainer"], "weighted_loss", times(factors))
    with pytest.raises(probe.ProbeError, match=r"training step 3.*seed 0.*checkpoint-2"):
        adapt(recipe(steps=6, save_every=2), tmp_path / "broken", quiet=True)


def test_a_loss_that_leaves_its_lowest_mean_far_below_stops(tmp_path, monkeypatch):
    factors = chain([1] * 10, repeat(3))
    monkeypatch.setattr(sys.modules["probe.training.trainer"], "weighted_loss", times(factors))
    monkeypatch.setattr(sys.modules["probe.training.trainer"], "WINDOW", 5)
    with pytest.raises(probe.ProbeError, match=r"training step 14.*mean loss near.*seed 0, step 14.*checkpoint-10"):
        adapt(recipe(steps=30, save_every=10), tmp_path / "climbing", quiet=True)


def test_low_rank_adapters_change_the_weights_by_little_rank_and_leave_a_stock_model(tmp_path):
    start = adapt(recipe(paradigm="autoregressive", steps=2), tmp_path / "start", quiet=True)
    plan = recipe(shape=None, start=str(start), lora={"rank": 2}, steps=8, learning_rate=1e-2, snapshots=(4, 8))
    made = adapt(plan, tmp_path / "twin", quiet=True)
    before, after = weights(start), weights(made)
    ranks = {
        name: int(torch.linalg.matrix_rank(after[name] - before[name], rtol=0.05))
        for name in before
        if before[name].dim() == 2 and not torch.equal(before[name], after[name])
    }
    assert len(ranks) == 2 * 7  # every matrix of both layers, and no embedding
    assert set(ranks.values()) == {2}
    assert same(weights(made / "snapshots" / "step-8"), after)
    assert not same(weights(made / "snapshots" / "step-4"), after)


def test_low_rank_training_resumes_to_the_same_weights(tmp_path, monkeypatch):
    start = adapt(recipe(paradigm="autoregressive", steps=2), tmp_path / "start", quiet=True)
    plan = recipe(shape=None, start=str(start), lora={"rank": 2}, steps=8, learning_rate=1e-2)
    whole = weights(adapt(plan, tmp_path / "whole", quiet=True))

    factors = chain([1] * 5, [torch.nan], repeat(1))
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["probe.training.trainer"], "weighted_loss", times(factors))
        with pytest.raises(probe.ProbeError, match="checkpoint-4"):
            adapt(plan, tmp_path / "cut", quiet=True)
    assert same(weights(adapt(plan, tmp_path / "cut", quiet=True)), whole)


def test_the_curve_tells_loss_tokens_compute_and_accuracy_and_examining_changes_nothing(tmp_path):
    plan = recipe(steps=8, examine_every=4, tasks={"ioi": 1, "greater_than": 1})
    folder = adapt(plan, tmp_path / "examined", quiet=True)
    curve = read_curve(folder)
    assert curve["step"] == list(range(1, 9))
    assert [at for at, share in zip(curve["step"], curve["ioi"], strict=True) if share == share] == [4, 8]
    batches = TrainingBatches(plan, named("masked")(), vocabulary.shipped(), 2)
    shown = [batches[step].canvas.tokens.numel() for step in range(8)]
    assert curve["tokens"] == [sum(shown[: at + 1]) for at in range(8)]
    inner = sum(
        value.numel() for name, value in weights(folder).items() if "embed" not in name and "lm_head" not in name
    )
    assert curve["flops"] == [6 * tokens * inner for tokens in curve["tokens"]]
    model = probe.load(folder)
    assert curve["ioi"][-1] == pytest.approx(
        score(model, probe.task("ioi"), EXAMINED, split="calibration").share, abs=2 / EXAMINED
    )  # but for half precision
    assert same(
        weights(folder), weights(adapt(plan.model_copy(update={"examine_every": 0}), tmp_path / "b", quiet=True))
    )
    assert {trace.name for trace in figure(folder).data} == {"loss", "ioi", "greater_than"}


def test_a_question_that_is_given_stays_whole_and_something_else_is_asked():
    words = vocabulary.shipped()
    for paradigm in ("masked", "block", "fluid"):
        plan = recipe(paradigm=paradigm, keep_question=1.0, tasks={"ioi": 1})
        batch = TrainingBatches(plan, named(paradigm)(), words, words.mask_token_id)[0]
        text = batch.canvas.tokens[:, :15]  # of 16, the last one being the answer
        assert not (text == words.mask_token_id).any()
        hidden = batch.canvas.tokens == words.mask_token_id
        assert hidden.any(1).all() or paradigm == "fluid"  # which may restore what it inserts, and inserts at random
        assert (batch.labels != NO_LABEL).any(1).all()


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
    assert last_complete(tmp_path) == str(tmp_path / "checkpoint-10")
    assert last_complete(tmp_path / "nothing") is None


def test_a_training_batch_depends_on_its_step_alone_and_never_asks_with_padding():
    plan, words = recipe(anneal=0.5), vocabulary.shipped()
    batches = TrainingBatches(plan, named("masked")(), words, words.mask_token_id)
    again = TrainingBatches(plan, named("masked")(), words, words.mask_token_id)
    for step in (5, 0, 3):
        assert torch.equal(batches[step].canvas.tokens, again[step].canvas.tokens)
        assert torch.equal(batches[step].labels, again[step].labels)
        assert not (batches[step].canvas.tokens == words.pad_token_id).any()


def test_annealing_opens_attention_from_causal_to_full():
    plan, words = recipe(anneal=1.0, steps=100), vocabulary.shipped()
    batches = TrainingBatches(plan, named("masked")(), words, words.mask_token_id)

    def open_share(step: int) -> float:
        allowed = batches[step].canvas.allowed
        ahead = torch.ones(allowed.shape[-2:], dtype=torch.bool).triu(1).expand_as(allowed)
        assert allowed[~ahead].all()  # what was visible to the AR model stays so
        return allowed[ahead].float().mean().item()

    assert open_share(0) < 0.1
    assert 0.4 < open_share(49) < 0.6
    assert open_share(99) == 1.0


def test_tokens_of_the_answer_count_more():
    plan, words = recipe(tasks={"ioi": 1}, answer_weight=4.0), vocabulary.shipped()
    batch = TrainingBatches(plan, named("autoregressive")(), words, words.mask_token_id)[0]
    # In IOI the answer is the last token, which the slot before it answers for.
    asked = batch.labels[0] != NO_LABEL
    assert batch.weights[0][asked].tolist() == [1.0] * (int(asked.sum()) - 1) + [4.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "YAML"),
        ("name: t\nparadigm: maskd\nsteps: 1\ntasks: {ioi: 1}\nstart: x", "paradigm"),
        ("name: t\nparadigm: masked\nsteps: 1\ntasks: {ioi: 1}", "start"),
        ("name: t\nparadigm: masked\nsteps: -1\ntasks: {ioi: 1}\nstart: x", "steps"),
        ("name: t\nparadigm: masked\nsteps: 1\ntasks: {ioi: 1}\nstart: x\nstps: 2", "stps"),
        ("name: t\nparadigm: masked\nsteps: 1\nstart: x", "'tasks', or 'text'"),
        ("name: t\nparadigm: flow\nsteps: 1\nstart: x\ntasks: {ioi: 1}\nlora: {rank: 2}", "lora"),
        ("name: t\nparadigm: autoregressive\nweighting: 1/t\nsteps: 1\ntasks: {ioi: 1}\nstart: x", "weighting"),
    ],
)
def test_a_bad_recipe_is_refused_by_field(text, told, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(probe.ProbeError, match=told):
        read_recipe(tmp_path / "r.yaml")
