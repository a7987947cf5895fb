"""The examples of a task as tensors: what every reading, recording and measure is handed.

A causal study compares a prompt with a twin of it that asks for something else. Both are rows here: `clean` and
`corrupt`, of one length, with the places the model must write (`positions["completion"]`) at the same indices. In
*both* rows those places hold clean's own right completion. A reading masks them or shows their left part, and so
changes nothing but the question between the two runs; what the corrupt question would make right is `distractor`.

The named positions are ragged in some tasks (three clues changed here, four there). They are then padded by repeating
the last one, so that indexing with them stays safe and a set of them stays right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from probe.notebook import table

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


_SHOWN = 3  # examples in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """`n` examples of one task for one tokenizer. Indexing gives a Batch of the chosen examples.

    clean, corrupt   n x length token ids; they differ exactly at positions["corrupted"] (within the prompt)
    target           n: the token right at positions["answer"], where it stands in `clean`
    distractor       n: the token the corrupt prompt makes right there, or the main wrong one
    positions        name -> n x k. Always: "answer" (k = 1), "completion" (all that must be written, "answer" among
                     it), "corrupted"; then those that the task names
    choices          C: the tokens that could stand at the answer slot
    right, wrong     n x C bool: which choices can be continued to a right answer, which cannot. A choice may be neither
                     (a tens digit that leaves it to the units)
    facts            per example, what a checker needs to know, in plain numbers and words
    spelling         token id -> the text it adds, for the tokens the task writes with
    selection_rate   the share of tried examples that these are; 1.0 unless a pool over models chose them
    accuracy         per model, what a pool found; empty otherwise
    reading          the reading under which a pool chose them, with its knobs; empty otherwise
    """

    task: str
    scope: str
    seed: int
    split: str
    clean: Tensor
    corrupt: Tensor
    target: Tensor
    distractor: Tensor
    positions: dict[str, Tensor]
    choices: Tensor
    right: Tensor
    wrong: Tensor
    facts: tuple[Mapping[str, Any], ...] = field(repr=False)
    spelling: Mapping[int, str] = field(repr=False)
    selection_rate: float = 1.0
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    reading: str = ""

    def __len__(self) -> int:
        return self.clean.shape[0]

    def __repr__(self) -> str:
        count, length = self.clean.shape
        where = f"{self.scope}, split {self.split}, seed {self.seed}"
        return f"Batch({self.task}: {count} examples × {length} tokens, {where}, {self._selected})"

    def _repr_html_(self) -> str:
        shown = range(min(len(self), _SHOWN))
        rows = [
            (name, *(self._text(getattr(self, name)[row]) for row in shown))
            for name in ("clean", "corrupt", "target", "distractor")
        ]
        return table(repr(self), rows, ("", *(f"example {row}" for row in shown)))

    @property
    def _selected(self) -> str:
        share = f"{self.selection_rate:.0%} of those tried"
        return f"{share}, chosen by the reading {self.reading}" if self.reading else share

    def _text(self, tokens: Tensor) -> str:
        """Tokens as the task spells them; those that it does not write with as their ids."""
        return "".join(self.spelling.get(token, f"⟨{token}⟩") for token in tokens.reshape(-1).tolist())

    def __getitem__(self, chosen: slice | int | list[int] | Tensor) -> Batch:
        import torch

        rows = torch.arange(len(self))[[chosen] if isinstance(chosen, int) else chosen]
        facts = tuple(self.facts[i] for i in rows.tolist())
        return replace(self._with_rows(lambda rows_of: rows_of[rows.to(rows_of.device)]), facts=facts)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        return replace(self._with_rows(lambda tensor: tensor.to(device)), choices=self.choices.to(device))

    def written(self) -> Tensor:
        """n x k: the right completion that stands in `clean`."""
        return self.clean.gather(1, self.positions["completion"])

    def texts(self, tokenizer: PreTrainedTokenizerBase, which: str = "clean") -> list[str]:
        """The rows of `which` ("clean" or "corrupt") as text."""
        return tokenizer.batch_decode(getattr(self, which).tolist(), skip_special_tokens=True)

    def _with_rows(self, change: Callable[[Tensor], Tensor]) -> Batch:
        per_example = ("clean", "corrupt", "target", "distractor", "right", "wrong")
        changed = {name: change(getattr(self, name)) for name in per_example}
        return replace(self, **changed, positions={name: change(at) for name, at in self.positions.items()})
