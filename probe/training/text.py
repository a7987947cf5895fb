"""Plain text for training: concatenated files, cut into pieces of equal length.

Text is tokenized one megabyte at a time and written to disk; training reads the pieces from a memory map, so a file may
be larger than memory, and a resumed training does not tokenize again. Each piece begins with the tokens that the
tokenizer puts before any text (BOS, or nothing). The last twentieth of the pieces is held out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from probe.cache import cached
from probe.errors import ProbeError
from probe.outside_files import is_file
from probe.training.recipe import Text
from probe.zoo import text_file

CHUNK = 1 << 20  # characters tokenized at a time
HELD_OUT = 0.05


class Pieces:
    """The pieces of a text as token ids; `split` is "train" or "test"."""

    def __init__(self, plan: Text, tokenizer: PreTrainedTokenizerBase, cache: Path, split: str = "train"):
        self.prefix = torch.tensor(tokenizer("")["input_ids"], dtype=torch.long)
        inner = plan.length - len(self.prefix)
        file = _tokenized(plan, tokenizer, cache)
        tokens = file.stat().st_size // np.dtype(np.int32).itemsize
        n = tokens // inner
        border = n - max(1, round(HELD_OUT * n))
        if border < 1:
            raise ProbeError(
                "the text " + ", ".join(plan.files),
                expected=f"at least two pieces of {inner} tokens",
                found=f"{tokens} tokens",
                remedy="Give more text, or shorten 'length'.",
            )
        rows = np.memmap(file, np.int32, mode="r", shape=(n, inner))
        self._rows = rows[:border] if split == "train" else rows[border:]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The pieces at some indices (k) as token ids (k × length)."""
        inner = torch.from_numpy(self._rows[rows.numpy()].astype(np.int64))
        return torch.cat([self.prefix.expand(len(inner), -1), inner], dim=1)


def held_out(plan: Text, tokenizer: PreTrainedTokenizerBase, n: int) -> Tensor:
    """The first n of the held-out pieces (or all if there are fewer), without writing to disk."""
    with TemporaryDirectory() as cache:
        pieces = Pieces(plan, tokenizer, Path(cache), "test")
        return pieces[torch.arange(min(n, len(pieces)))]


def _tokenized(plan: Text, tokenizer: PreTrainedTokenizerBase, cache: Path) -> Path:
    """The file of the text's token ids, made if missing; its name is a hash of everything that it depends on."""
    sources = [_source(name) for name in plan.files]
    facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in sources]
    made_from = json.dumps([facts, sorted(tokenizer.get_vocab().items())]).encode()
    file = cache / f"text-{hashlib.sha256(made_from).hexdigest()[:16]}.int32"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        written = file.with_suffix(".part")
        with written.open("wb") as out:
            for chunk in _read(sources):
                np.array(tokenizer(chunk, add_special_tokens=False)["input_ids"], np.int32).tofile(out)
        written.replace(file)
    return file


def _source(name: str) -> Path:
    if name.startswith("zoo:"):
        return text_file(name.removeprefix("zoo:"))
    if name.startswith("cache:"):
        return cached(name.removeprefix("cache:"))
    file = Path(name).expanduser()
    if is_file(file):
        return file
    raise ProbeError(f"text file {name}", expected="a text file", found="no such file", remedy="Check the path.")


def _read(sources: list[Path]) -> Iterator[str]:
    """The text in chunks that end where a line does, so that no word is cut."""
    for source in sources:
        with source.open(encoding="utf-8") as text:
            try:
                while lines := text.readlines(CHUNK):
                    yield "".join(lines)
            except UnicodeDecodeError as problem:
                raise ProbeError(
                    f"text file {source}", expected="UTF-8", found=str(problem), remedy="Convert it to UTF-8."
                ) from None
