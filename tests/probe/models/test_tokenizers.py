"""Tokenizers are read from their files, whatever class a publisher's config names."""

from __future__ import annotations

import json

import pytest
from tokenizers.pre_tokenizers import ByteLevel

import probe
from tests.probe.models.published import PUBLISHED
from tests.probe.tiny import backbone_of, write_stock

CHARACTERS = sorted(ByteLevel.alphabet())
WORDS = [*CHARACTERS, "he", "ll", "hell", "hello"]
MERGES = ["h e", "l l", "he ll", "hell o"]
FIRST_ADDED = len(WORDS)


def write_words(folder):
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")


@pytest.fixture
def dream(tmp_path):
    """Dream: vocab.json, merges.txt and added_tokens.json, a class that only its remote code has, no tokenizer.json."""
    added = ["<|endoftext|>", "<|beginoftext|>", "<|mask|>"]
    published = PUBLISHED["dream"]
    backbone = backbone_of("qwen2", **{**published.stock, "vocab_size": FIRST_ADDED + len(added)})
    folder = tmp_path / published.folder
    mask = FIRST_ADDED + added.index("<|mask|>")
    published.write(folder, backbone)
    (folder / "config.json").write_text(json.dumps({**published.config, "mask_token_id": None, "pad_token_id": None}))
    write_words(folder)
    ids = {word: FIRST_ADDED + number for number, word in enumerate(added)}
    (folder / "added_tokens.json").write_text(json.dumps(ids))
    decoder = {str(number): {"content": word, "special": True} for word, number in ids.items()}
    config = {
        "tokenizer_class": "DreamTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
        "added_tokens_decoder": decoder,
        "mask_token": "<|mask|>",
        "pad_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder, mask


def test_dream_s_is_built_from_its_vocabulary_and_merges(dream):
    folder, mask = dream
    model = probe.load(folder, mask_id=mask)
    assert model.encode("hello").tolist() == [[WORDS.index("hello")]]
    assert model.tokenizer.convert_tokens_to_ids("<|mask|>") == mask
    assert model.tokenizer("hello<|mask|>")["input_ids"] == [WORDS.index("hello"), mask]
    assert model.tokenizer.decode([WORDS.index("hello")]) == "hello"
    assert model.selftests["mask token"].outcome == "pass"


def test_the_added_tokens_alone_are_enough(dream):
    folder, mask = dream
    (folder / "tokenizer_config.json").unlink()
    model = probe.load(folder, mask_id=mask, selftest="off")
    assert model.tokenizer("hello<|mask|>")["input_ids"] == [WORDS.index("hello"), mask]


def test_gpt2_s_vocabulary_with_a_class_that_ships_nowhere(tmp_path):
    """DiffuGPT-m names MaskTokenWrapper; its mask is a row behind the tokenizer's last."""
    backbone = backbone_of("gpt2", vocab_size=len(WORDS) + 1)
    folder = write_stock(tmp_path / "m", backbone)
    write_words(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MaskTokenWrapper"}))
    model = probe.load(folder, paradigm="masked", mask_id=len(WORDS))
    assert model.encode("hello").tolist() == [[WORDS.index("hello")]]
    assert model.selftests["mask token"].outcome == "pass"


def test_a_tokenizer_of_another_folder(speakers, folders, tmp_path):
    folder = write_stock(tmp_path / "bare", speakers["ar"].backbone)
    assert probe.load(folder, tokenizer=folders["ar"]).encode("oh well").shape == (1, 2)
