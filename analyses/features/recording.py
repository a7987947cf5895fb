"""The states that dictionaries learn: both twins' residual stream at the slots whose tokens both of them see.

Both twins see a question before they answer it, so their states at its slots can be paired. The masks after it have no
counterpart in the AR model, so a crosscoder leaves them out (a dictionary of one model may read them: `places`). The
first slot is left out: its states are many times as long as others, and the same in every text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from analyses.features.stream import BLOCK, Stream
from probe.errors import ProbeError
from probe.models.model import Model
from probe.readings import Reading, reading_for
from probe.tasks import Batch
from probe.tracing import record

SITE = "resid_post"


def layer_of(model: Model, layer: int | None) -> int:
    """The layer whose output is read: the middle one by default."""
    chosen = (model.n_layers - 1) // 2 if layer is None else layer
    if not isinstance(chosen, int) or not 0 <= chosen < model.n_layers:
        raise ProbeError("the layer of a dictionary", expected=f"a number from 0 to {model.n_layers - 1}",
                         found=str(layer), remedy="Layers are counted from 0.")  # fmt: skip
    return chosen


def places(batch: Batch) -> list[int]:
    """The positions of a batch's texts that are visible before any answer, except the first."""
    end = int(batch.positions["answer"].min())
    if end < 2:
        raise ProbeError(f"states of {batch.task}", expected="at least one token before the answer, beside the first",
                         found="none", remedy="Take a task whose answer stands at the end.")  # fmt: skip
    return list(range(1, end))


def recorded(
    models: Mapping[str, Model],
    batches: Batch | Iterable[Batch],
    *,
    layer: int,
    reading: str | Reading,
    folder: Path,
    block: int = BLOCK,
) -> Stream:
    """The stream of some models' states over some batches, recorded into a folder; it resumes there."""
    given: Sequence[Batch] = [batches] if isinstance(batches, Batch) else list(batches)
    if not given:
        raise ProbeError("states to train on", expected="at least one batch", found="none", remedy="Give it some.")
    parts = []
    for number, batch in enumerate(given):
        part = []
        for role, model in models.items():
            how = reading_for(model, reading, runs=False)
            store = folder / f"{number}-{batch.task}-{role}.zarr"
            record(model, batch, [SITE], layers=[layer], positions=places(batch), reading=how, store=store)
            part.append(store)
        parts.append(part)
    return Stream.of_traces(parts, SITE, block)
