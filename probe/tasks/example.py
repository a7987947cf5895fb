"""One example, as the author of a task writes it: pieces of text, some of them named.

Text is given in pieces because a circuit study needs to know where things stand, and because gluing token ids is the
only way to be sure that clean and corrupt line up. A piece begins with its space (" Mary"), as BPE tokens do; the
pieces of an example, joined, are the natural text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from probe.tasks.splits import Key

# A piece of text, or the token ids of one where only a part of a word's tokens is meant (the "32" of "1732").
Spelling = str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Text with a name for its position, and what stands there in the corrupt prompt (the same, unless said)."""

    text: Spelling
    name: str | None = None
    corrupt: Spelling | None = None


# The same Piece, made once: for tasks that write thousands of pieces of a few kinds.
piece = cache(Piece)


@dataclass(frozen=True, slots=True)
class Example:
    """What `Task.make` yields.

    key         what the example is up to symmetry: decides its split (see `splits`). It should name what the corrupt
                prompt shares with the clean one, so that both belong to the same split
    prompt      plain text and Pieces, in order
    completion  what the model is to write, of the same number of tokens in every example of the task
    distractor  what stands in place of completion[asked] under the corrupt prompt, or the main wrong answer
    asked       index of the completion's piece that is asked about; the slot is the first of its tokens where it
                differs from the distractor's
    choices     everything that could stand there; target and distractor alone unless given
    right       the choices that can be continued to a right answer; the target alone unless given
    wrong       those that cannot; every choice that is not right unless given
    facts       what `Task.accepts` is told
    rest        text after the completion, for a blank in the middle
    """

    key: Key
    prompt: Sequence[Spelling | Piece]
    completion: Sequence[Spelling | Piece]
    distractor: Spelling
    asked: int = 0
    choices: Sequence[Spelling] | None = None
    right: Sequence[Spelling] | None = None
    wrong: Sequence[Spelling] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    rest: Sequence[Spelling | Piece] = ()
