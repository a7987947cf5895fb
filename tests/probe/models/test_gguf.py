"""A GGUF, written as llama.cpp's converter writes one, gives the logits of the backbone that it was made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from probe.errors import CheckpointError
from tests.probe.models.gguf_file import write_gguf
from tests.probe.tiny import backbone_of, stock_logits, tokens_of

WORDS = ["<s>", "h", "e", "l", "o", "he", "ll", *(f"unused{i}" for i in range(41))]


@pytest.fixture(scope="module")
def backbone():
    # GGUF holds float32 numbers of its settings.
    return backbone_of("llama", rms_norm_eps=float(np.float32(1e-5)), rope_parameters={"rope_theta": 5000.0})


@pytest.mark.parametrize("as_folder", [False, True])
def test_its_logits_are_those_of_its_backbone(backbone, as_folder, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", backbone, words=WORDS)
    model = probe.load(tmp_path if as_folder else path)
    tokens = tokens_of(2, 9)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens), atol=1e-5, rtol=0)
    assert model.selftests["rotary"].outcome == "pass"
    assert not model.selftests.failed
    assert model.n_kv_heads == 2


def test_its_tokenizer_comes_with_it(backbone, tmp_path):
    model = probe.load(write_gguf(tmp_path / "tiny.gguf", backbone, words=WORDS))
    assert model.encode("hello").tolist() == [[WORDS.index(word) for word in ("he", "ll", "o")]]


def test_a_gguf_without_a_tokenizer(backbone, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", backbone)
    with pytest.raises(CheckpointError) as caught:
        probe.load(path)
    assert "tiny.gguf" in caught.value.expected
    assert "tokenizer=False" in caught.value.remedy
    tokens = tokens_of(2, 9)
    logits = probe.load(path, tokenizer=False).logits(tokens)
    torch.testing.assert_close(logits, stock_logits(backbone, tokens), atol=1e-5, rtol=0)


def test_a_gguf_that_lacks_a_tensor_is_refused(backbone, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", backbone, leave_out="blk.1.ffn_up.weight")
    with pytest.raises(CheckpointError) as caught:
        probe.load(path, tokenizer=False)
    assert caught.value.found == "parameters left unset: model.layers.1.mlp.up_proj.weight"


def test_a_truncated_gguf_is_refused(backbone, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", backbone)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError) as caught:
        probe.load(path, tokenizer=False)
    assert "tiny.gguf" in caught.value.thing


def test_it_is_declared_by_arguments_or_a_row_beside_it(backbone, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", backbone)
    assert probe.load(path, tokenizer=False).paradigm.name == "autoregressive"
    assert probe.load(path, tokenizer=False, paradigm="masked", mask_id=7).paradigm.attention == "full"
    (tmp_path / "twinprobe.json").write_text('{"name": "x", "paradigm": "block", "mask_id": 7}')
    assert probe.load(path, tokenizer=False).paradigm.attention == "block:4"


def test_it_can_be_saved_again(backbone, tmp_path):
    model = probe.load(write_gguf(tmp_path / "tiny.gguf", backbone), tokenizer=False)
    model.backbone.save_pretrained(tmp_path / "again")
    tokens = tokens_of(2, 9)
    again = probe.load(tmp_path / "again", tokenizer=False)
    torch.testing.assert_close(again.logits(tokens), model.logits(tokens), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("block_count", 200_000), ("embedding_length", 10**9), ("feed_forward_length", 10**9), ("vocab_size", 10**9),
     ("attention.head_count", 10**6), ("attention.head_count", 0)],
)  # fmt: skip
def test_metadata_are_held_against_the_tensors_before_anything_is_allocated(tmp_path, key, value):
    file = write_gguf(tmp_path / "m.gguf", backbone_of("llama"))
    content, name = bytearray(file.read_bytes()), f"llama.{key}".encode()
    at = content.index(name) + len(name) + 4  # behind the key stands the type of the value, then the value
    content[at : at + 4] = value.to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=key) as caught:
        probe.load(file, tokenizer=False)
    assert "tensors say" in caught.value.expected


def test_counts_and_lengths_that_lead_past_the_end_are_refused(tmp_path):
    whole = write_gguf(tmp_path / "m.gguf", backbone_of("llama")).read_bytes()
    for at in (8, 16, 24):  # how many tensors, how many keys, how long the first key
        for value in (2**63, 2**32, 10**6):
            (tmp_path / "n.gguf").write_bytes(whole[:at] + value.to_bytes(8, "little") + whole[at + 8 :])
            with pytest.raises(CheckpointError, match="GGUF"):
                probe.load(tmp_path / "n.gguf", tokenizer=False)
