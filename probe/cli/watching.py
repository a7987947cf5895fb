"""Show a model while it writes: a line for every forward pass, and for every stride that FLUID accepts.

In a terminal the passes of a stride overwrite one another and the strides remain; in a pipe every line is printed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from torch import Tensor

    from probe.decoding import StridesTaken
    from probe.models.model import Model


class Watch(AbstractContextManager):
    """Shows the first example of a run. Decoding calls `on_step` and `on_stride`."""

    def __init__(self, console: Console, model: Model, *, strides: bool):
        self._console, self._model = console, model
        self._live = Live(console=console, transient=True) if strides and console.is_terminal else None
        self._state: list[int] = []
        self._strides = 0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._live.stop()

    def on_step(self, step: int, state: Tensor, written: Tensor) -> None:
        self._state = state[0].tolist()
        line = Text(f"{step:>3}  ", style="dim")
        for token, new in zip(self._state, written[0].tolist(), strict=True):
            if token < 0 or token == self._model.mask_id:
                line.append("· ", style="dim")
            else:
                line.append(self._word(token), style="bold cyan" if new else "none")
        if self._live:
            self._live.update(line, refresh=True)
        else:
            self._console.print(line)

    def on_stride(self, taken: StridesTaken) -> None:
        self._strides += 1
        start, said, proposed, kept, passes = (
            int(part[0]) for part in (taken.start, taken.predicted, taken.proposed, taken.accepted, taken.passes)
        )
        line = Text(f"stride {self._strides:>2}  ", style="dim")
        for token in self._state[start : start + kept]:
            line.append(self._word(token), style="green")
        for token in self._state[start + kept : start + min(kept + 1, proposed)]:
            line.append(self._word(token), style="bold yellow")  # what verification put there
        foreseen = f"horizon {said}, " if said else ""
        cost = f"{passes} passes" if passes > 1 else "1 pass"
        line.append(f"  ({foreseen}{kept} of {proposed} drafts kept, {cost})", style="dim")
        self._console.print(line)

    def _word(self, token: int) -> str:
        return str(self._model.tokenizer.decode([token])).strip() + " "
