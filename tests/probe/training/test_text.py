"""Plain text as batches: cut into pieces of one length, the end held out, tokenized once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from probe.paradigms import named
from probe.paradigms.paradigm import NO_LABEL
from probe.tasks import vocabulary
from probe.training import Recipe, adapt
from probe.training.batches import TrainingBatches
from probe.training.card import card
from probe.training.recipe import Text
from probe.training.text import Pieces, held_out


@pytest.fixture
def book(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text(
        "\n".join(f"When Luke and Keith went to the museum , Keith gave {n % 100} to Luke ." for n in range(400))
    )
    return file


def test_pieces_joined_are_the_text_and_the_last_twentieth_is_held_out(book, tmp_path):
    words, plan = vocabulary.shipped(), Text(files=(str(book),), length=12)
    train, test = (Pieces(plan, words, tmp_path, split) for split in ("train", "test"))
    rows = torch.cat([part[torch.arange(len(part))] for part in (train, test)])
    whole = words(book.read_text(), add_special_tokens=False)["input_ids"]
    assert (rows[:, 0] == words.bos_token_id).all()
    assert rows[:, 1:].flatten().tolist() == whole[: rows[:, 1:].numel()]
    assert len(whole) - rows[:, 1:].numel() < 11
    assert len(test) == round(0.05 * len(rows))


def test_a_text_is_tokenized_once_and_again_when_it_changed(book, tmp_path):
    words, plan, cache = vocabulary.shipped(), Text(files=(str(book),), length=12), tmp_path / "cache"
    Pieces(plan, words, cache)
    (made,) = cache.iterdir()
    stamp = made.stat().st_mtime_ns
    Pieces(plan, words, cache)
    assert made.stat().st_mtime_ns == stamp
    assert len(np.fromfile(made, np.int32)) == len(words(book.read_text(), add_special_tokens=False)["input_ids"])
    book.write_text(book.read_text() + "\nto the museum")
    Pieces(plan, words, cache)
    assert len(list(cache.iterdir())) == 2


def test_a_training_batch_of_text_alone_hides_some_of_it_and_weighs_all_alike(book, tmp_path):
    words = vocabulary.shipped()
    plain = {"name": "t", "start": "x", "paradigm": "masked", "steps": 3, "batch": 8, "keep_question": 1.0}
    plan = Recipe.model_validate({**plain, "text": {"files": [str(book)], "length": 16}})
    batch = TrainingBatches(plan, named("masked")(), words, words.mask_token_id, tmp_path)[0]
    asked = batch.labels != NO_LABEL
    assert batch.canvas.tokens.shape == (8, 16)
    assert asked.any()
    assert not asked.all()
    assert set(batch.weights[asked].tolist()) == {1.0}


@pytest.mark.parametrize(("content", "told"), [(None, "no such file"), (b"\xff\xfe", "UTF-8"), (b"to the", "2 tokens")])
def test_text_that_cannot_be_used_is_refused(content, told, tmp_path):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(probe.ProbeError, match=told):
        Pieces(Text(files=(str(file),), length=12), vocabulary.shipped(), tmp_path)


def test_a_shipped_text_is_named_like_a_shipped_model(tmp_path):
    plan = {"name": "t", "shape": {"layers": 1, "heads": 1, "kv_heads": 1, "d_model": 8, "d_mlp": 8, "places": 20}}
    text = {"files": ["zoo:moby-dick"], "length": 20}
    recipe = Recipe.model_validate({**plan, "tokenizer": "characters", "paradigm": "flow", "text": text, "steps": 1})
    model = probe.load(adapt(recipe, tmp_path / "made", quiet=True), selftest="off")
    pieces = Pieces(recipe.text, model.tokenizer, tmp_path, "test")[torch.arange(30)]
    assert model.entry.sample[3] == model.tokenizer.decode(pieces[3])
    assert torch.equal(held_out(recipe.text, model.tokenizer, 30), pieces)
    solved = (probe.decode(model, pieces[:, :10], 1).tokens[:, 10] == pieces[:, 10]).sum()
    assert f"{solved / 30:.3f} [" in card(str(tmp_path / "made"), 30)
    with pytest.raises(probe.ProbeError, match="zoo:moby-dick"):
        Pieces(Text(files=("zoo:moby-dik",), length=20), model.tokenizer, tmp_path)
