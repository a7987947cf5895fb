"""Adapters kept by themselves: what is loaded is what was trained, beside the base that is declared, or not at all."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import probe
from probe.errors import ProbeError
from probe.models.adapters import ADAPTERS, MASK_ROW
from probe.models.catalog import OWN_ENTRY
from probe.paradigms import Masked
from probe.training import Recipe, adapt, as_it_is
from probe.training.batches import TrainingBatches, padded
from probe.training.card import card
from probe.training.curve import figure, read_curve
from probe.training.lora import Adapters
from probe.training.recipe import LoraSettings
from tests.probe.tiny import MASK, model_of
from tests.probe.training.small_recipe import same

SHAPE = {"model_type": "llama", "layers": 2, "heads": 2, "kv_heads": 1, "d_model": 16, "d_mlp": 32}
AT_4 = "snapshots/step-4"
LORA = {"rank": 2, "alpha": 4, "fold": False, "rest": "int8"}


def recipe(**changed) -> Recipe:
    plain = {"name": "t", "paradigm": "masked", "tasks": {"ioi": 1}, "steps": 8, "batch": 8, "save_every": 2}
    return Recipe.model_validate({**plain, "lora": LORA, "learning_rate": 1e-2, **changed})


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    plan = recipe(shape=SHAPE, paradigm="autoregressive", lora=None, steps=2)
    return adapt(plan, tmp_path_factory.mktemp("base") / "base", quiet=True)


@pytest.fixture(scope="module")
def twin(base, tmp_path_factory) -> Path:
    return adapt(recipe(start=str(base), snapshots=[4]), tmp_path_factory.mktemp("twin") / "twin", quiet=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(probe.load(folder, selftest="off").backbone.state_dict())


def test_a_folder_of_adapters_holds_no_weights_and_loads_as_a_stock_model(base, twin):
    assert {file.name for file in twin.iterdir()} == {ADAPTERS, OWN_ENTRY, "curve.csv", "recipe.yaml", "snapshots"}
    model, before = probe.load(twin), weights(base)
    assert model.paradigm.name == "masked"
    after = model.backbone.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if "layers" in name} == {n for n in before if "proj" in n}
    rows = (before["model.embed_tokens.weight"] != after["model.embed_tokens.weight"]).any(1).nonzero()[:, 0]
    assert rows.tolist() == [model.mask_id]


@pytest.mark.parametrize("rest", ["float32", "int8"])
def test_what_is_loaded_is_what_was_trained(rest, base, tmp_path, monkeypatch):
    trained = {}

    def watched(adapters):
        merge(adapters)
        trained.update({name: value.clone() for name, value in adapters.model.backbone.state_dict().items()})

    merge = Adapters.merge
    monkeypatch.setattr(Adapters, "merge", watched)
    loaded = weights(adapt(recipe(start=str(base), lora={**LORA, "rest": rest}), tmp_path / "made", quiet=True))
    assert loaded.keys() == trained.keys()
    for name, value in loaded.items():  # adapters are kept in bytes
        torch.testing.assert_close(value, trained[name], atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("rest", ["float32", "int8"])
def test_the_loss_on_held_out_text_is_measured_meanwhile_and_changes_nothing(rest, base, text, tmp_path):
    """By the model as it is loaded, on pieces of the text's end; with dropout, which evaluation leaves out."""
    plain = {"start": str(base), "lora": {**LORA, "rest": rest, "dropout": 0.3}, "tasks": {}}
    plain["text"] = {"files": [str(text)], "length": 16}
    watched = adapt(recipe(**plain, examine_every=4), tmp_path / "watched", quiet=True)
    curve = read_curve(watched)
    assert [step for step, loss in zip(curve["step"], curve["held_out"], strict=True) if loss == loss] == [4, 8]
    model = probe.load(watched, selftest="off")
    batches = TrainingBatches(recipe(**plain), model.paradigm, model.tokenizer, 2, tmp_path, split="test")
    found = [batches[step].loss(model.run(batches[step].canvas)).item() for step in range(8)]
    assert curve["held_out"][-1] == pytest.approx(sum(found) / 8, abs=0.01)  # adapters are kept in bytes
    assert "held-out text" in {trace.name for trace in figure(watched).data}
    assert same(weights(watched), weights(adapt(recipe(**plain), tmp_path / "alone", quiet=True)))


def test_adapters_that_are_not_those_that_were_trained_are_refused(base, tmp_path, monkeypatch):
    real = Adapters.by_themselves
    monkeypatch.setattr(
        Adapters, "by_themselves", lambda self: {name: value * 20 for name, value in real(self).items()}
    )
    with pytest.raises(probe.ProbeError, match="the loss that their training has on its last batches"):
        adapt(recipe(start=str(base), learning_rate=0.1), tmp_path / "twin", quiet=True)
    assert (tmp_path / "twin" / "checkpoints").is_dir()


def test_its_pair_is_the_base_and_its_snapshots_load(base, twin):
    pair = probe.load_pair(twin)
    assert torch.equal(pair.ar.embedding.weight, probe.load(base).embedding.weight)
    early, late = weights(twin / AT_4), weights(twin)
    assert not torch.equal(early["lm_head.weight"], late["lm_head.weight"])


def test_resuming_comes_to_the_same_adapters(base, twin, tmp_path, monkeypatch):
    loss, calls = Adapters.loss, count(1)

    def cut(adapters, *batch):
        return loss(adapters, *batch) * (torch.nan if next(calls) == 6 else 1)

    plan = recipe(start=str(base), snapshots=[4])
    with pytest.raises(probe.ProbeError, match="none yet"):
        as_it_is(plan, tmp_path / "cut")
    with monkeypatch.context() as patched:
        patched.setattr(Adapters, "loss", cut)
        with pytest.raises(probe.ProbeError, match="checkpoint-4"):
            adapt(plan, tmp_path / "cut", quiet=True)
    midway, kept = (load_file(folder / ADAPTERS) for folder in (as_it_is(plan, tmp_path / "cut"), twin / AT_4))
    assert all(torch.equal(midway[name], kept[name]) for name in kept)
    assert read_curve(tmp_path / "cut" / AT_4)["step"] == [1, 2, 3, 4]
    one, other = (load_file(folder / ADAPTERS) for folder in (adapt(plan, tmp_path / "cut", quiet=True), twin))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("rest", ["float32", "int8"])
@pytest.mark.parametrize("paradigm", ["fluid", "masked"])
def test_a_teacher_can_be_learnt_from(rest, paradigm, base, tmp_path):
    plan = recipe(start=str(base), paradigm=paradigm, distill=0.5, steps=2, lora={**LORA, "rest": rest})
    assert probe.load(adapt(plan, tmp_path / "made", quiet=True)).paradigm.name == paradigm


@pytest.mark.parametrize("weighting", ["1/t", "1/t clipped"])
@pytest.mark.parametrize("rest", ["float32", "int8"])
def test_blocks_are_learnt_with_adapters_and_weights(rest, weighting, base, tmp_path):
    """The adapters change, the base does not, and the twin loads as the block model that it was trained as."""
    plan = recipe(start=str(base), paradigm="block", attention="block:4", weighting=weighting, steps=3,
                  lora={**LORA, "rest": rest})  # fmt: skip
    made = adapt(plan, tmp_path / "made", quiet=True)
    twin = probe.load(made)
    assert twin.paradigm.name == "block"
    assert twin.paradigm.block_size == 4
    before, after = weights(base), weights(made)
    changed = {name for name in before if (before[name] - after[name]).abs().max() > 1e-6}
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name for name in changed)


def test_a_base_that_is_missing_is_named(twin, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(probe.ProbeError, match="twinprobe fetch smollm2"):
        probe.load(declared_anew(twin, tmp_path, base="zoo:smollm2"))
    with pytest.raises(probe.ProbeError, match="no such folder"):
        probe.load(declared_anew(twin, tmp_path, base=str(tmp_path / "gone")))


def declared_anew(twin: Path, tmp_path: Path, **changed) -> Path:
    copy = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
    shutil.copytree(twin, copy)
    own = json.loads((copy / OWN_ENTRY).read_text()) | changed
    (copy / OWN_ENTRY).write_text(json.dumps({name: said for name, said in own.items() if said is not None}))
    return copy


def test_adapters_without_a_base_or_of_another_rank_are_refused(twin, tmp_path):
    with pytest.raises(probe.ProbeError, match="'base'"):
        probe.load(declared_anew(twin, tmp_path, base=None))
    with pytest.raises(probe.ProbeError, match="of rank 3"):
        probe.load(declared_anew(twin, tmp_path, adapters={"rank": 3, "alpha": 4}))


def test_adapters_for_a_layer_that_the_base_has_not_are_refused(twin, tmp_path):
    copy = declared_anew(twin, tmp_path)
    state = load_file(copy / ADAPTERS)
    save_file({name.replace("layers.1", "layers.7"): value for name, value in state.items()}, copy / ADAPTERS)
    with pytest.raises(probe.ProbeError, match=r"one for model\.layers\.7"):
        probe.load(copy)
    (copy / ADAPTERS).write_bytes(b"cut")
    with pytest.raises(probe.ProbeError, match="truncated"):
        probe.load(copy)


def test_adapters_that_lie_beside_weights_undeclared_are_not_applied(base, twin, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    shutil.copy(twin / ADAPTERS, copy)
    before, after = weights(base), weights(copy)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_mask_may_be_a_token_that_the_recipe_names(base, tmp_path):
    model = probe.load(
        adapt(recipe(start=str(base), mask="[PAD]", steps=1), tmp_path / "made", quiet=True), selftest="off"
    )
    assert model.tokenizer.convert_ids_to_tokens(model.mask_id) == "[PAD]"
    with pytest.raises(probe.ProbeError, match="special token"):
        adapt(recipe(start=str(base), mask="museum", steps=1), tmp_path / "other", quiet=True)


def test_bytes_are_for_what_they_can_hold(tmp_path):
    other = recipe(shape={**SHAPE, "model_type": "gpt2"}, paradigm="autoregressive", lora=None, steps=1)
    start = adapt(other, tmp_path / "gpt2", quiet=True)
    with pytest.raises(probe.ProbeError, match="Conv1D"):
        adapt(recipe(start=str(start)), tmp_path / "made", quiet=True)


def test_the_mask_row_is_kept_with_them(twin):
    assert load_file(twin / ADAPTERS)[MASK_ROW].shape == (16,)
    assert "probe.training.adapt" in sys.modules


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """A little text in the words that the tiny base knows."""
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("When Luke and Keith went to the museum, Keith gave a ball to Luke.\n" * 300, "utf-8")
    return file


@pytest.mark.parametrize(("paradigm", "columns"), [("fluid", "`ar` | `prefix`"), ("masked", "`prefix` | `one_mask`")])
def test_its_card_compares_it_with_its_base_in_nats(paradigm, columns, base, text, tmp_path):
    """Of two texts, each with figures of its own."""
    texts = [{"files": [str(text)], "length": 16}, {"files": [str(text), str(text)], "length": 16}]
    plan = recipe(start=str(base), paradigm=paradigm, tasks={}, text=texts, keep_question=0.5, steps=2)
    written = card(str(adapt(plan, tmp_path / "made", quiet=True)), n=6)
    assert columns in written
    assert f"adapters alone, for {base}" in written
    assert ("Tokens a forward pass" in written) == (paradigm == "fluid")
    rows = re.findall(rf"^\| {re.escape(str(text))}(?:, \S+)? \| (\d\.\d+) \|.*?: ([+-]\d\.\d+) ±", written, re.M)
    assert len(rows) == 2


def test_padding_a_canvas_changes_nothing_but_its_length(base):
    model = probe.load(base, paradigm="fluid", selftest="off")
    batch = model.paradigm.training_batch(torch.randint(4, 60, (3, 9)), torch.Generator().manual_seed(0))
    longer = padded(replace(batch, soft=torch.rand(batch.labels.shape)), 64)
    assert longer.canvas.slots == 64
    assert longer.soft is not None
    assert longer.soft.shape == longer.labels.shape == longer.weights.shape == (3, 64)
    torch.testing.assert_close(model.paradigm.loss(model, longer), model.paradigm.loss(model, batch))
    torch.testing.assert_close(
        model.run(longer.canvas)[:, : batch.canvas.slots], model.run(batch.canvas), atol=1e-5, rtol=1e-4
    )


def test_the_beginning_of_a_text_is_left_whole_at_the_share_that_is_asked_for(base, text):
    model = probe.load(base, paradigm="masked", selftest="off")
    plan = recipe(start=str(base), tasks={}, text={"files": [str(text)], "length": 16}, keep_question=1.0, batch=64)
    batches = TrainingBatches(plan, model.paradigm, model.tokenizer, model.paradigm.given_mask())
    _, given, _, _ = batches.texts(0)
    assert given[:, 0].all()
    assert not given[:, -1].any()
    assert (given.int().diff(dim=1) <= 0).all()  # once it has begun to be hidden, it goes on
    hidden = batches[0].canvas.tokens == model.mask_id
    assert not (hidden & given).any()


def test_int8_is_refused_where_a_head_stands_before_the_unembedding():
    model = model_of("modernbert", Masked(mask_id=MASK, shift=False))
    with pytest.raises(ProbeError, match="a head before the unembedding"):
        Adapters(model, LoraSettings(rank=2, alpha=4, fold=False, rest="int8")).round(compiled=False)
