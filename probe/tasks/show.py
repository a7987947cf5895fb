"""Examples for a person to read: the tokens of each row, and the part each of them plays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from probe.batch import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Token:
    """One token of a shown row. `masked`: the model has to write it; `asked`: it is the one asked about."""

    text: str
    changed: bool
    masked: bool
    asked: bool

    def __str__(self) -> str:
        if self.masked:
            return f"[?{self.text}]" if self.asked else f"[{self.text}]"
        return f"{{{self.text}}}" if self.changed else self.text


@dataclass(frozen=True)
class Shown:
    """One example. Printed: {changed between clean and corrupt}, [masked], [?masked and asked]."""

    clean: tuple[Token, ...]
    corrupt: tuple[Token, ...]
    target: str
    distractor: str

    def __str__(self) -> str:
        rows = (("clean", self.clean), ("corrupt", self.corrupt))
        lines = [f"{name:<11}" + " ".join(map(str, tokens)) for name, tokens in rows]
        return "\n".join([*lines, f"{'target':<11}{self.target}", f"{'distractor':<11}{self.distractor}"])


def show(batch: Batch, tokenizer: PreTrainedTokenizerBase, k: int) -> list[Shown]:
    """The first `k` examples of a batch."""

    def read(token: int) -> str:
        # A token of its own decodes to nothing where it is only a space (a digit's companion in LLaMA's vocabulary).
        return str(tokenizer.decode([token])).strip() or "␣"

    shown = []
    for i in range(min(k, len(batch))):
        completion = set(batch.positions["completion"][i].tolist())
        answer = batch.positions["answer"][i, 0].item()
        clean, corrupt = batch.clean[i].tolist(), batch.corrupt[i].tolist()
        one, other = (
            tuple(Token(read(row[j]), clean[j] != corrupt[j], j in completion, j == answer) for j in range(len(row)))
            for row in (clean, corrupt)
        )
        shown.append(Shown(one, other, read(int(batch.target[i])), read(int(batch.distractor[i]))))
    return shown
