"""The examples of a task as tensors: the input of every reading, recording and measure.

A causal study compares a clean prompt with a corrupt version that has another answer. Both are rows here: `clean` and
`corrupt`, of equal length, with the positions that the model must write (`positions["completion"]`) at the same
indices. In *both* rows those positions hold clean's right completion. A reading masks them or shows their left part, so
that only the question differs between the two runs; the right answer of the corrupt prompt is `distractor`.

The named positions are ragged in some tasks (three clues changed in one example, four in another). They are then padded
by repeating the last one, so that indexing with them is safe and their set stays right.
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
    target           n: the right token at positions["answer"], as in `clean`
    distractor       n: the right token there for the corrupt prompt, or the main wrong one
    positions        name -> n x k. Always: "answer" (k = 1), "completion" (all that must be written, "answer" among
                     it), "corrupted"; then those that the task names
    choices          C: the candidate tokens at the answer's position
    right, wrong     n x C bool: which choices can be continued to a right answer, which cannot. A choice may be neither
                     (a tens digit equal to the start's)
    facts            per example, what a checker needs to know, as plain data
    spelling         token id -> its text, for the tokens that the task uses
    selection_rate   the share of the tried examples that were selected; 1.0 without selection
    accuracy         per model, before selection; empty without selection
    reading          the reading under which they were selected, with its options; empty without selection
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
        return f"{share}, selected under the reading {self.reading}" if self.reading else share

    def _text(self, tokens: Tensor) -> str:
        """Tokens as the task spells them; those that it does not use as their ids."""
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
