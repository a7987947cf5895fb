"""The cost of a recording: its bytes are counted beforehand, and it is refused if memory or disk is too small."""

from __future__ import annotations

import logging
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probe.errors import TraceError
from probe.memory import available_memory, readable
from probe.tracing.recorder import recorded_dtype
from probe.tracing.runs import Run
from probe.tracing.selection import Selection

if TYPE_CHECKING:
    from probe.models.model import Model

log = logging.getLogger("probe.record")

IN_FLIGHT = 3  # batches in memory while streaming: one being recorded, one waiting, one being written


@dataclass(frozen=True)
class Cost:
    """The bytes that a recording takes."""

    sites: dict[str, int]  # bytes of one example
    examples: int
    batch: int

    @classmethod
    def of(cls, model: Model, run: Run, selection: Selection, batch: int) -> Cost:
        itemsize, steps = recorded_dtype(model).itemsize, 1 if run.steps is None else len(run.steps)
        each = {
            one.name: itemsize * steps * math.prod(selection.shape(model, one, run.slots)) for one in selection.sites
        }
        return cls(each, run.examples, batch)

    @property
    def total(self) -> int:
        return self.examples * sum(self.sites.values())

    @property
    def at_a_time(self) -> int:
        """The memory that streaming needs."""
        return min(IN_FLIGHT * self.batch, self.examples) * sum(self.sites.values())

    def refuse_in_memory(self) -> None:
        """Refuse what does not fit in memory."""
        free = available_memory()
        if self.total > free:
            raise TraceError(
                f"recording {self}",
                expected=f"at most {readable(free)} (the free memory)",
                found=readable(self.total),
                remedy="Record fewer sites, layers or positions, or stream it to disk with store=….",
            )

    def refuse_on_disk(self, store: Path, written: int) -> None:
        """Refuse what does not fit on the disk of `store`, which already has `written` examples."""
        free = shutil.disk_usage(_existing(store)).free
        left = self.total - written * sum(self.sites.values())
        if left > free:
            raise TraceError(
                f"recording {self} to {store}",
                expected=f"at most {readable(free)} (free on that disk)",
                found=readable(left),
                remedy="Record fewer sites, layers or positions, or choose another disk.",
            )
        if self.at_a_time > available_memory():
            raise TraceError(
                f"recording {self} to {store}",
                expected=f"at most {readable(available_memory())} in memory at a time",
                found=f"{readable(self.at_a_time)} for batches of {self.batch}",
                remedy="Give a smaller batch_size.",
            )

    def announce(self, store: Path, written: int) -> None:
        """Log the cost of streaming to `store`, which already has `written` examples."""
        left = self.total - written * sum(self.sites.values())
        free = shutil.disk_usage(_existing(store)).free
        disk, memory = f"{readable(left)} on disk ({readable(free)} free)", f"{readable(self.at_a_time)} of memory"
        line = f"recording {self}: {disk}, {memory} at a time"
        log.info(line)
        if sys.stderr.isatty():
            print(line, file=sys.stderr)

    def __str__(self) -> str:
        return f"{', '.join(self.sites)} of {self.examples} examples"


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())
