"""From pieces of text to tensors: gluing the token ids of each example, and finding where its named places came to lie.

What makes clean and corrupt comparable is checked here for every task, because a batch that fails it would be compared
without complaint and mean nothing: they differ, a piece and its corrupt form have the same number of tokens, all
examples have the same length and name the same places, and the target counts as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from probe.batch import Batch
from probe.errors import TaskError
from probe.tasks.example import Example, Piece, Spelling
from probe.tasks.words import Words

if TYPE_CHECKING:
    from torch import Tensor


class Slot(NamedTuple):
    """Where the asked token is: its place in the row, and in the spelling of the piece that is asked about."""

    position: int
    offset: int
    target: int
    distractor: int


@dataclass(frozen=True, slots=True)
class Row:
    """One example as token ids."""

    clean: tuple[int, ...]
    corrupt: tuple[int, ...]
    positions: dict[str, list[int]]
    slot: Slot
    example: Example


def lay_out(example: Example, words: Words) -> Row:
    """Glue an example's pieces together."""
    clean, corrupt = list(words.prefix), list(words.prefix)
    positions: dict[str, list[int]] = {}
    starts: list[int] = []
    for piece in (*example.prompt, *example.completion, *example.rest):
        start = len(clean)
        starts.append(start)
        text, name, other = (piece.text, piece.name, piece.corrupt) if isinstance(piece, Piece) else (piece, None, None)
        clean += words.spell(text, first=start == len(words.prefix))
        corrupt += words.spell(text if other is None else other, first=start == len(words.prefix))
        if len(clean) != len(corrupt):
            raise words.refusal("as many tokens for a piece as for its corrupt form", f"{text!r} and {other!r}")
        if name is not None:
            positions.setdefault(name, []).extend(range(start, len(clean)))
    if clean == corrupt:
        raise words.refusal("a corrupt prompt that differs from the clean one", "none that does")
    first, asked = len(example.prompt), len(example.prompt) + example.asked
    end = starts[first + len(example.completion)] if example.rest else len(clean)
    slot = _slot(example, words, starts[asked])
    positions["completion"] = list(range(starts[first], end))
    positions["answer"] = [slot.position]
    positions["corrupted"] = [i for i, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
    return Row(tuple(clean), tuple(corrupt), positions, slot, example)


def assemble(rows: Sequence[Row], words: Words, *, task: str, scope: str, seed: int, split: str) -> Batch:
    """Stack rows to a Batch."""
    for row in rows:
        if len(row.clean) != len(rows[0].clean) or len(row.positions["completion"]) != len(
            rows[0].positions["completion"]
        ):
            raise words.refusal(
                "examples, and completions, of one length in tokens",
                f"{len(rows[0].positions['completion'])} of {len(rows[0].clean)} tokens to complete in one, "
                f"{len(row.positions['completion'])} of {len(row.clean)} in another",
            )
    choices, right, wrong = _choices(rows, words)
    target = _tensor([row.slot.target for row in rows])
    if not (right & (choices == target[:, None])).any(1).all():
        raise words.refusal("each example's target among what is right", "an example whose target is not")
    return Batch(
        task=task,
        scope=scope,
        seed=seed,
        split=split,
        clean=_tensor([row.clean for row in rows]),
        corrupt=_tensor([row.corrupt for row in rows]),
        target=target,
        distractor=_tensor([row.slot.distractor for row in rows]),
        positions=_positions(rows, words),
        choices=choices,
        right=right,
        wrong=wrong,
        facts=tuple(row.example.facts for row in rows),
        spelling=words.spelling(),
    )


def _slot(example: Example, words: Words, start: int) -> Slot:
    """The first token at which the asked piece differs from the distractor."""
    piece = example.completion[example.asked]
    right, wrong = words.spell(piece.text if isinstance(piece, Piece) else piece), words.spell(example.distractor)
    for offset, (a, b) in enumerate(zip(right, wrong, strict=False)):
        if a != b:
            return Slot(start + offset, offset, a, b)
    raise TaskError(
        f"an example of the task {words.task!r}",
        expected="a distractor whose tokens differ from the target's",
        found=f"target {piece!r} and distractor {example.distractor!r}",
        remedy="Choose target and distractor so that neither begins with the other.",
    )


def _choices(rows: Sequence[Row], words: Words) -> tuple[Tensor, Tensor, Tensor]:
    """The candidate tokens of the asked slot over all rows, and which are right and which are wrong in each."""
    import torch

    read = _AtSlot(words)
    columns: dict[int, int] = {}
    marks: list[tuple[frozenset[int], frozenset[int] | None]] = []
    for row in rows:
        example = row.example
        right = frozenset([row.slot.target]) if example.right is None else read(example.right, row)
        wrong = None if example.wrong is None else read(example.wrong, row)
        offered = frozenset([row.slot.distractor]) if example.choices is None else read(example.choices, row)
        for token in sorted(offered.union(right, wrong or ()) - columns.keys()):
            columns[token] = len(columns)
        marks.append((right, wrong))
    is_right = torch.zeros(len(rows), len(columns), dtype=torch.bool)
    is_wrong = torch.zeros_like(is_right)
    for i, (right, wrong) in enumerate(marks):
        is_right[i, [columns[token] for token in right]] = True
        is_wrong[i] = ~is_right[i]
        if wrong is not None:
            is_wrong[i] = False
            is_wrong[i, [columns[token] for token in wrong]] = True
    return _tensor(list(columns)), is_right, is_wrong


class _AtSlot:
    """The tokens that a list of spellings has at a row's asked slot; remembered, since lists come again and again."""

    def __init__(self, words: Words):
        self._words = words
        self._known: dict[tuple[int, tuple[int, ...]], frozenset[int]] = {}

    def __call__(self, spellings: Sequence[Spelling], row: Row) -> frozenset[int]:
        offset = row.slot.offset
        beginning = row.clean[row.slot.position - offset : row.slot.position]
        # The list's identity will do as a name, since the rows keep it alive.
        seen = (id(spellings), beginning)
        if seen not in self._known:
            spelt = [self._words.spell(spelling) for spelling in spellings]
            fits = [ids[offset] for ids in spelt if len(ids) > offset and ids[:offset] == beginning]
            self._known[seen] = frozenset(fits)
        return self._known[seen]


def _positions(rows: Sequence[Row], words: Words) -> dict[str, Tensor]:
    names = dict.fromkeys(name for row in rows for name in row.positions)
    for row in rows:
        if missing := sorted(names.keys() - row.positions.keys()):
            raise words.refusal("the same named places in every example", f"one without {', '.join(missing)}")
    table: dict[str, Tensor] = {}
    for name in names:
        table[name] = padded([row.positions[name] for row in rows])
    return table


def padded(places: Sequence[list[int]]) -> Tensor:
    """Places of each example as a tensor, the last repeated where one has fewer."""
    width = max(map(len, places))
    return _tensor([at + at[-1:] * (width - len(at)) for at in places])


def _tensor(values: Sequence) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.long)
