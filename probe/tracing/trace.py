"""From frames to a trace: what a recorder copied at each forward pass becomes labelled arrays.

A recording yields one frame a forward pass: the tensors of the selected sites, and the canvas that the model saw. A
trace is an `xarray.Dataset` of them. Each site is a variable, with those of these axes that it has, in this order:
example, step, layer, head (or kv_head), position (of a pattern: query, key), and last the axis of the vector itself.
That axis is called `feature` where it is as wide as the residual stream, `head_feature` inside a head, `neuron` inside
the MLP, and `token` over the vocabulary.

Coordinates say what the model saw at each position and step:

- `tokens` and `mask_state` (clean, masked, absent);
- `place` and `block`, where the slots are not simply the text in its order (a FLUID canvas has drafts behind its text);
- `confidence` and `committed_at`, of a decoding run: how sure it was of each slot, and at which step it wrote it;
- `tau` and `t`, of a flow: the time of each step; and `place_tau`, the time of each position (1 where it is given).

A value that does not exist is NaN, or -1 among integers: a position that an autoregressive run has not reached yet, an
inserted token that other examples have and this one does not.

Stacking copies every frame once and frees it then, so it needs room for the trace and one frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probe.paradigms.canvas import Canvas
from probe.tracing.recorder import Frame
from probe.tracing.selection import ABSENT, Selection, is_text
from probe.tracing.sites import SITES

if TYPE_CHECKING:
    import xarray

    from probe.decoding.trajectory import Trajectory
    from probe.models.model import Model

Labelled = tuple[tuple[str, ...], np.ndarray]
Region = dict[str, Labelled]
"""Labelled arrays by name, of some of the examples."""

CLEAN, MASKED = 0, 1
MASK_STATES = {"flag_values": [CLEAN, MASKED, ABSENT], "flag_meanings": "clean masked absent"}


def region(
    model: Model, selection: Selection, frames: list[Frame], length: int | None, trajectory: Trajectory | None
) -> Region:
    """The frames of some examples as labelled arrays. The frames are emptied meanwhile.

    `length` is the length of the text that a decoding run writes; a frame may show fewer slots than that, since an
    autoregressive run has not reached them yet. Without `length` there is one frame, and the arrays have no step axis.
    """
    found: Region = {}
    coordinates = [_coordinates(model, selection, frame) for frame in frames]
    for name in [one.name for one in selection.sites]:
        parts = [frame.arrays.pop(name) for frame in frames]
        dims = ("layer", *SITES[name].dims) if SITES[name].layered else SITES[name].dims
        found[name] = _stacked(parts, dims, _least_sizes(selection, dims, length))
    for name, (dims, _) in coordinates[0].items():
        found[name] = _stacked([each[name][1] for each in coordinates], dims, _least_sizes(selection, dims, length))
    if trajectory is not None:
        found |= _decoding_coordinates(selection, trajectory, found, [frame.step for frame in frames])
    return found


def _least_sizes(selection: Selection, dims: tuple[str, ...], length: int | None) -> list[int] | None:
    """The least size of each axis: the length of the text for axes that count its slots, and 0 for the others."""
    if length is None:
        return None
    counting = {"key"} if selection.positions is not None else {"position", "query", "key"}
    return [0, *(length if dim in counting else 0 for dim in dims)]


def _stacked(parts: list[Tensor], dims: tuple[str, ...], least: list[int] | None) -> Labelled:
    """A tensor of each step as one array; where a step's tensor is smaller than others', the rest is filled."""
    if least is None:
        return ("example", *dims), parts[0].cpu().numpy()
    sizes = [max(size, *(part.shape[axis] for part in parts)) for axis, size in enumerate(least)]
    whole = torch.empty((sizes[0], len(parts), *sizes[1:]), dtype=parts[0].dtype)
    fill = torch.nan if whole.is_floating_point() else ABSENT
    for step in range(len(parts)):
        part, parts[step] = parts[step], parts[0][:0]  # freed as soon as it is copied
        if list(part.shape) != sizes:
            whole[:, step] = fill
        whole[(slice(None), step, *(slice(0, size) for size in part.shape[1:]))] = part
    return ("example", "step", *dims), whole.numpy()


def _coordinates(model: Model, selection: Selection, frame: Frame) -> dict[str, tuple]:
    """What stood at the recorded slots of one frame."""
    ragged = selection.positions is not None and selection.positions.dim() == 2
    found = _slot_labels(model, frame.canvas, frame.slots, "position", ragged)
    if frame.slots is not None and selection.has("pattern"):
        keys = _slot_labels(model, frame.canvas, None, "key", ragged=False)
        found |= {f"key_{name}": value for name, value in keys.items()}
    return found


def _slot_labels(model: Model, canvas: Canvas, slots: Tensor | None, axis: str, ragged: bool) -> dict[str, tuple]:
    """What stands at some slots of a canvas (all, if `slots` is None): token, mask state, time, place."""
    rows = len(canvas)
    tokens = _gathered(canvas.tokens, slots)
    mask_state = torch.full_like(tokens, CLEAN, dtype=torch.int8)
    if model.mask_id is not None:
        mask_state[tokens == model.mask_id] = MASKED
    found = {"tokens": tokens, "mask_state": mask_state.masked_fill(tokens == ABSENT, ABSENT)}
    if canvas.soft is not None:
        found["place_tau"] = _gathered(canvas.soft.tau.expand(rows, -1), slots)
    if ragged or not is_text(canvas):
        found["place"] = _gathered(canvas.places.expand(rows, -1), slots)
        found["block"] = _gathered(canvas.block.expand(rows, -1), slots)
    return {name: ((axis,), values) for name, values in found.items()}


def _gathered(values: Tensor, slots: Tensor | None) -> Tensor:
    """The values at some slots, the same for all examples or each example's own."""
    if slots is None:
        return values
    if slots.dim() == 1:
        return values[:, slots]
    return values.gather(1, slots.clamp(min=0)).masked_fill(slots == ABSENT, ABSENT)


def _decoding_coordinates(selection: Selection, trajectory: Trajectory, found: Region, steps: list[int]) -> Region:
    """The run's confidence in each open position at each step, and the step at which it wrote each position."""
    sure, written = trajectory.confidence[:, steps].cpu().numpy(), trajectory.committed_at.cpu().numpy()
    if "place" not in found:  # positions are those of the text: a position is written once for all steps
        if selection.positions is not None:
            chosen = selection.positions.cpu().numpy()
            sure, written = sure[..., chosen], written[..., chosen]
        return {
            "confidence": (("example", "step", "position"), sure),
            "committed_at": (("example", "position"), written),
        }
    dims, places = found["place"]
    inside = (places >= 0) & (places < sure.shape[-1])
    at = places.clip(0, sure.shape[-1] - 1)
    written = np.broadcast_to(written[:, None], sure.shape)
    return {
        "confidence": (dims, np.where(inside, np.take_along_axis(sure, at, -1), np.nan)),
        "committed_at": (dims, np.where(inside, np.take_along_axis(written, at, -1), ABSENT)),
    }


def index_coordinates(
    selection: Selection, region: Region, examples: int, steps: tuple[int, ...] | None, times: Mapping[str, Tensor]
) -> Region:
    """The labels of the axes, and the times of a flow's steps."""
    sizes = {dim: size for dims, array in region.values() for dim, size in zip(dims, array.shape, strict=True)}
    text = "place" not in region
    shared = selection.positions.cpu().numpy() if selection.positions is not None and text else None
    labels = {
        "example": np.arange(examples),
        "step": np.array(steps),
        "layer": np.array(selection.layers),
        "head": np.arange(sizes.get("head", 0)) if selection.heads is None else np.array(selection.heads),
        "kv_head": np.arange(sizes.get("kv_head", 0)) if selection.kv_heads is None else np.array(selection.kv_heads),
    }
    # Where slots are not the text in its order, a number along the axis is no position; `place` gives it per example.
    if text:
        labels["position"] = labels["query"] = shared if shared is not None else np.arange(_most(sizes))
        labels["key"] = np.arange(sizes.get("key", 0))
    times_of: Region = {name: (("step",), values.cpu().numpy()) for name, values in times.items()}
    return {dim: ((dim,), values) for dim, values in labels.items() if dim in sizes} | times_of


def _most(sizes: dict[str, int]) -> int:
    """The number of positions, or of queries where only patterns were recorded."""
    return max(sizes.get("position", 0), sizes.get("query", 0))


def dataset(variables: Region, attributes: dict[str, Any]) -> xarray.Dataset:
    """Labelled arrays as an xarray Dataset: sites are its variables, all else its coordinates."""
    import xarray

    sites = {name: value for name, value in variables.items() if name in SITES}
    others = {name: value for name, value in variables.items() if name not in SITES}
    found = xarray.Dataset(sites, others, attributes)
    if "mask_state" in found:
        found["mask_state"].attrs.update(MASK_STATES)
    return found
