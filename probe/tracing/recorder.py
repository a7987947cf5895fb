"""The recorder: puts a tracer's activations into arrays, one frame per forward pass.

A view is copied once, from the model's tensor to its place in the result. Buffers come from `room` if the result's own
memory can be written (recording on the CPU into memory), so there is no second copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.errors import TraceError
from probe.paradigms.canvas import Canvas
from probe.tracing.editing import announce, edited_head_writes
from probe.tracing.selection import ABSENT, Selection, as_index, pick, slots_at
from probe.tracing.sites import SITES, Site, output_weight, rank, scaled_heads
from probe.tracing.tracers.tracer import Forward

if TYPE_CHECKING:
    from probe.models.model import Model

Room = Callable[[str, slice, tuple[int, ...]], Tensor | None]
"""Memory for a site's recording of some examples: the result's own, or None if that is not available."""


@dataclass
class Frame:
    """The recording of one forward pass over some examples."""

    step: int
    canvas: Canvas
    slots: Tensor | None  # (k), or (example, k) with ABSENT; None is all
    arrays: dict[str, Tensor] = field(default_factory=dict)


class Recorder:
    """Turns views into frames, for the examples in `rows`.

    `unembeds`: the model computes no logits; they are computed here from the final norm's output at the requested
    slots.
    """

    def __init__(self, model: Model, selection: Selection, room: Room, *, unembeds: bool = False):
        self.model, self.selection, self.room, self.unembeds = model, selection, room, unembeds
        self.frames: list[Frame] = []
        self.rows = slice(0, 0)
        self.forward: Forward
        self._turn = {layer: turn for turn, layer in enumerate(selection.layers)}
        self._heads = {one.name: as_index(selection.heads_at(one)) for one in selection.sites}
        self._slots: slice | Tensor | None = None
        self._open: Frame | None = None

    def see(self, canvas: Canvas, step: int, *, keep: bool = True, logits: bool = False) -> Tensor | None:
        """Record one forward pass."""
        announce(self.model, self.rows, step)
        if not keep:
            return self.forward(canvas, logits)
        frame = Frame(step, canvas, self._slots_of(canvas))
        self._slots, self._open = as_index(frame.slots), frame
        try:
            given = self.forward(canvas, logits)
        finally:
            self._open = None
        refuse_non_finite(self.selection, frame, self.rows.start)
        if frame.slots is not None and frame.slots.dim() == 2:
            _blank_absent(frame)
        self.frames.append(frame)
        return given

    def take(self, one: Site, layer: int, view: Tensor, *, projected: bool = False) -> None:
        """Copy the requested part of a view to its place."""
        frame = self._open
        if frame is None:
            return
        if one.name == "final_norm" and self.unembeds:
            picked = pick(view, one, None, self._slots)
            self._keep(frame, SITES["logits"], layer, self.model.unembed(picked))
            if not self.selection.has("final_norm"):
                return
        if one.name == "head_out" and not projected:
            chosen = self._project(one, layer, view)
        else:
            chosen = pick(view, one, self._heads[one.name], self._slots)
        self._keep(frame, one, layer, chosen)

    def _keep(self, frame: Frame, one: Site, layer: int, chosen: Tensor) -> None:
        where = self._buffer(frame, one, chosen)
        (where[:, self._turn[layer]] if one.layered else where).copy_(chosen.detach(), non_blocking=True)

    def _project(self, head_out: Site, layer: int, z: Tensor) -> Tensor:
        """The outputs of the selected heads at the selected slots; no others are computed."""
        heads = self._heads[head_out.name]
        edited = edited_head_writes(self.model, layer, z)
        if edited is not None:
            return pick(edited, head_out, heads, self._slots)
        weight = output_weight(self.model, layer)
        scaled = scaled_heads(self.model, layer, z)
        return pick(scaled, head_out, heads, self._slots) @ (weight if heads is None else weight[heads])

    def _buffer(self, frame: Frame, one: Site, chosen: Tensor) -> Tensor:
        if one.name not in frame.arrays:
            inner = (len(self.selection.layers), *chosen.shape[1:]) if one.layered else chosen.shape[1:]
            shape = (len(chosen), *inner)
            room = self.room(one.name, self.rows, shape) if chosen.device.type == "cpu" else None
            dtype = recorded_dtype(self.model)
            frame.arrays[one.name] = torch.empty(shape, dtype=dtype, device=chosen.device) if room is None else room
        return frame.arrays[one.name]

    def _slots_of(self, canvas: Canvas) -> Tensor | None:
        positions = self.selection.positions
        if positions is None:
            return None
        mine = positions if positions.dim() == 1 else positions[self.rows]
        return mine.to(canvas.tokens.device) if self.selection.positions_are_slots else slots_at(canvas, mine)


def recorded_dtype(model: Model) -> torch.dtype:
    """The model's own dtype, except for bfloat16, which numpy does not have."""
    return torch.float32 if model.dtype == torch.bfloat16 else model.dtype


def _blank_absent(frame: Frame) -> None:
    """Put NaN where an example has no slot at a position."""
    assert frame.slots is not None
    absent = frame.slots == ABSENT
    if not absent.any():
        return
    for array in frame.arrays.values():
        axis = array.dim() - 2  # positions, or queries, stand before the last axis
        gone = absent[(slice(None), *(None,) * (axis - 1), slice(None), None)]
        array.masked_fill_(gone.to(array.device), torch.nan)


def refuse_non_finite(selection: Selection, frame: Frame, first_row: int) -> None:
    """Raise, and name the first place, if anything recorded is NaN or infinite."""
    # A sum is finite only if all its parts are, and costs one read. (It may overflow itself: then check each value.)
    suspects = [name for name, array in frame.arrays.items() if not _finite(array, SITES[name].layered)]
    places = []
    for name in suspects:
        one, array = SITES[name], frame.arrays[name]
        for turn, layer in enumerate(selection.layers_at(one)):
            bad = ~torch.isfinite(array[:, turn] if one.layered else array)
            if bad.any():
                last = {"embed": -1, "final_norm": 1 << 30, "logits": 1 << 30}.get(name, layer)
                places.append(((last, rank(name)), name, layer, bad))
                break
    if not places:
        return
    _, name, layer, bad = min(places, key=lambda place: place[0])
    raise _not_finite(SITES[name], layer, bad, frame, first_row)


def _finite(array: Tensor, layered: bool) -> bool:
    parts = array.unbind(1) if layered else (array,)
    return bool(torch.stack([torch.isfinite(part.sum(dtype=torch.float32)) for part in parts]).all())


def _not_finite(one: Site, layer: int, bad: Tensor, frame: Frame, first_row: int) -> TraceError:
    place = bad.nonzero()[0].tolist()
    slot = place[one.position_axis]
    if frame.slots is not None:
        slot = int(frame.slots[slot] if frame.slots.dim() == 1 else frame.slots[place[0], slot])
    where = f"layer {layer}, " if one.layered else ""
    position = int(frame.canvas.places.expand(len(frame.canvas), -1)[place[0], slot])
    return TraceError(
        f"site {one.name!r}",
        expected="finite numbers",
        found=f"NaN or infinity, first at {where}example {first_row + place[0]}, position {position}, "
        f"step {frame.step}",
        remedy="Check the weights (twinprobe check), or compute in float32.",
    )
