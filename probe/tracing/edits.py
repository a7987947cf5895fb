"""Edits as values: what replaces an activation at a site, or is added to it.

An edit says where (site, layer, head, position, step; None is everywhere) and what. Creating one does nothing;
`probe.edit` applies any number of them at once. Edits may be stored, compared and reused.

Arrays given to an edit have the axes of a trace: (example, layer, head, position, feature), those that the site has,
with length 1 to broadcast; without the layer axis if one layer is named. A trace (or one variable of it) is matched by
its labels instead: an edit takes the values at its own layer, head, position and step. On `k` and `v`, `head` counts
key and value heads. Gradients flow to tensors that require them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probe.errors import TraceError, nearest
from probe.tracing.changes import Add, Change, Mean, Patch, Resample, Traced, Zero
from probe.tracing.selection import Positions
from probe.tracing.sites import site

if TYPE_CHECKING:
    import xarray

Numbers = int | Iterable[int] | None
Steps = frozenset[int] | slice | None
STATES = ("masked", "just written", "written", "given")
"""The states of a slot in a forward pass: masked; written by the pass before; written by any pass; given."""


@dataclass(frozen=True, eq=False)
class Edit:
    """A change at a site."""

    site: str
    change: Change
    layers: tuple[int, ...] | None = None
    one_layer: bool = False
    heads: tuple[int, ...] | None = None
    positions: Tensor | None = None
    steps: Steps = None
    state: str | None = None  # one of STATES, which a slot must have

    def parts(self) -> tuple[Edit, ...]:
        return (self,)

    def at_step(self, step: int) -> bool:
        """Whether the forward pass with this number is edited."""
        if isinstance(self.steps, slice):
            start, stop = self.steps.start or 0, self.steps.stop
            return step >= start and (stop is None or step < stop) and (step - start) % (self.steps.step or 1) == 0
        return self.steps is None or step in self.steps

    def __str__(self) -> str:
        where = {"layer": self.layers, "head": self.heads, "step": _listed(self.steps)}
        named = [f"{axis} {list(numbers)}" for axis, numbers in where.items() if numbers is not None]
        if self.positions is not None:
            named.append(f"position {self.positions.tolist()}")
        if isinstance(self.steps, slice):
            end = "" if self.steps.stop is None else f" to {self.steps.stop - 1}"
            named.append(f"step {self.steps.start or 0}{end or ' on'}")
        if self.state is not None:
            named.append(f"slots {self.state}")
        return " ".join([str(self.change), self.site, *named])


@dataclass(frozen=True)
class Skip:
    """Skipped layers: the outputs of their attention and MLP are 0, so the residual stream passes through unchanged."""

    layers: tuple[int, ...]
    steps: Steps = None
    state: str | None = None

    def parts(self) -> tuple[Edit, ...]:
        how: dict[str, Any] = {"steps": self.steps, "state": self.state}
        return tuple(Edit(name, Zero(), self.layers, **how) for name in ("attn_out", "mlp_out"))


def patch(
    site: str,
    value: Tensor | np.ndarray | float | xarray.DataArray | xarray.Dataset,
    *,
    layer: Numbers = None,
    head: Numbers = None,
    position: Positions | None = None,
    step: Numbers = None,
) -> Edit:
    """Replace by `value`: a number, an array, or another run's trace."""
    labelled = _labelled(site, value)
    if labelled is None:
        value = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.get_default_dtype())
        return _edit(site, Patch(value), layer, head, position, step)
    change = Traced(labelled)
    return _where_it_has_values(_edit(site, change, layer, head, position, step), change)


def zero(
    site: str, *, layer: Numbers = None, head: Numbers = None, position: Positions | None = None, step: Numbers = None
) -> Edit:
    """Put 0 there."""
    return _edit(site, Zero(), layer, head, position, step)


def mean(
    site: str,
    over: xarray.DataArray | xarray.Dataset | None = None,
    *,
    layer: Numbers = None,
    head: Numbers = None,
    position: Positions | None = None,
    step: Numbers = None,
) -> Edit:
    """Replace by the mean over examples: those of the same forward pass, or of a reference trace."""
    labelled = _labelled(site, over)
    if labelled is None:
        return _edit(site, Mean(), layer, head, position, step)
    change = Traced(labelled.mean("example", keepdims=True))
    return _where_it_has_values(_edit(site, change, layer, head, position, step), change)


def resample(
    site: str,
    over: xarray.DataArray | xarray.Dataset | None = None,
    *,
    seed: int = 0,
    layer: Numbers = None,
    head: Numbers = None,
    position: Positions | None = None,
    step: Numbers = None,
) -> Edit:
    """Replace by another example's activation: from the same forward pass (never its own), or from a reference
    trace."""
    labelled = _labelled(site, over)
    if labelled is None:
        return _edit(site, Resample(seed), layer, head, position, step)
    change = Traced(labelled, seed)
    return _where_it_has_values(_edit(site, change, layer, head, position, step), change)


def add(
    site: str,
    vector: Tensor | np.ndarray | float | xarray.DataArray | xarray.Dataset,
    *,
    layer: Numbers = None,
    head: Numbers = None,
    position: Positions | None = None,
    step: Numbers = None,
    scale: float | Sequence[float] = 1.0,
) -> Edit:
    """Add `scale` times `vector`. The vector has one number per feature, or any of the axes of a trace.

    `add("resid_post", direction, layer=3, scale=4)` moves the stream after layer 3 at every position. A list of scales
    is a schedule along a decoding run: one per step, the last one for all later steps.
    """
    by_step = [float(scale)] if isinstance(scale, int | float) else [float(one) for one in scale]
    if not by_step or not all(math.isfinite(one) for one in by_step):
        raise TraceError(
            f"the scale of what is added to {site!r}",
            expected="a finite number, or one for each step",
            found=str(scale),
            remedy="For example scale=2, or scale=[0, 1, 2].",
        )
    put = patch(site, vector, layer=layer, head=head, position=position, step=step)
    for values in put.change.values():
        if not torch.isfinite(values).all():
            raise TraceError(
                f"the vector to add to {site!r}",
                expected="finite numbers",
                found="NaN or infinity among them",
                remedy="Check how it was made: one NaN makes every logit NaN.",
            )
    return replace(put, change=Add(put.change, tuple(by_step)))


def only(
    edit: Edit | Skip, *, step: int | Iterable[int] | slice | None = None, state: str | None = None
) -> Edit | Skip:
    """An edit, restricted to some steps of a decoding run and to slots in one state.

    step   a number, numbers, or a window: `slice(2, None)` is from the third forward pass on
    state  of the slot: "masked", "just written" (by the pass before), "written" (by any), or "given". Given is what the
           first pass inside `probe.edit` saw, so open a new `probe.edit` for each run

    >>> push = probe.only(probe.add("resid_post", torch.ones(128), layer=3), step=slice(0, 2), state="masked")
    >>> with probe.edit(pair.diffusion, push):
    ...     run = probe.decode(pair.diffusion, batch.clean[:, :-1], 1)
    """
    if state is not None and state not in STATES:
        raise TraceError(
            f"state {state!r}", expected="one of " + ", ".join(STATES), found=repr(state), remedy=nearest(state, STATES)
        )
    steps: Steps = step if isinstance(step, slice) else None if step is None else frozenset(_numbers(step) or ())
    if isinstance(steps, slice) and (min(steps.start or 0, steps.stop or 0) < 0 or (steps.step or 1) < 1):
        raise TraceError("step", expected="steps counted from 0", found=str(steps),
                         remedy="A run's length is not known beforehand, so count from its beginning.")  # fmt: skip
    for what, known, asked in (("steps", edit.steps, steps), ("state", edit.state, state)):
        if known is not None and asked is not None:
            raise TraceError(f"the edit '{edit}'", expected=f"{what} given once", found="twice",
                             remedy="Leave one of them out.")  # fmt: skip
    return replace(edit, steps=edit.steps if steps is None else steps, state=edit.state if state is None else state)


def _listed(steps: Steps) -> tuple[int, ...] | None:
    return tuple(sorted(steps)) if isinstance(steps, frozenset) else None


def skip(layer: int | Iterable[int]) -> Skip:
    """Skip layers: their output is their input."""
    return Skip((layer,) if isinstance(layer, int) else tuple(layer))


def freeze(
    pattern: Tensor | xarray.DataArray | xarray.Dataset,
    *,
    layer: Numbers = None,
    head: Numbers = None,
    position: Positions | None = None,
    step: Numbers = None,
) -> Edit:
    """Fix attention to a recorded pattern, whatever the current queries and keys."""
    return patch("pattern", pattern, layer=layer, head=head, position=position, step=step)


def _where_it_has_values(edit: Edit, traced: Traced) -> Edit:
    """The edit, restricted to the layers, heads and positions of a trace."""
    one = site(edit.site)
    layers = traced.labels("layer") if edit.layers is None and one.layered else edit.layers
    heads = traced.labels(one.heads) if edit.heads is None and one.heads else edit.heads
    positions = edit.positions
    axis, labels = one.dims[one.position_axis - 1], traced.array.coords
    if positions is None and axis in traced.array.dims and axis in labels and "place" not in labels:
        positions = torch.tensor(labels[axis].values)
    return replace(edit, layers=layers, heads=heads, positions=positions)


def _labelled(name: str, value: Any) -> xarray.DataArray | None:
    """The array of a trace, if one was given."""
    import xarray

    site(name)
    if isinstance(value, xarray.Dataset):
        if name not in value:
            raise TraceError(
                f"the trace given for {name!r}",
                expected=f"one that holds {name!r}",
                found=", ".join(map(str, value.data_vars)) or "nothing",
                remedy=f"Record it with sites=[{name!r}].",
            )
        return value[name]
    return value if isinstance(value, xarray.DataArray) else None


def _edit(name: str, change: Change, layer: Numbers, head: Numbers, position: Positions | None, step: Numbers) -> Edit:
    site(name)
    positions = None if position is None else torch.as_tensor([position] if isinstance(position, int) else position)
    steps = _numbers(step)
    return Edit(
        name,
        change,
        layers=_numbers(layer),
        one_layer=isinstance(layer, int),
        heads=_numbers(head),
        positions=positions,
        steps=None if steps is None else frozenset(steps),
    )


def _numbers(numbers: Numbers) -> tuple[int, ...] | None:
    return None if numbers is None else (numbers,) if isinstance(numbers, int) else tuple(numbers)
