"""Applying edits: `with probe.edit(model, edits): …`.

Inside the context every forward pass of the model is edited, including those of `record`, `decode` or an attribution.
Edits are torch hooks at the modules of their sites, in the order in which a forward pass reaches them; leaving the
context in any way removes them. Contexts nest: inner edits see the result of outer ones. An edit belongs to the thread
that opened it: other threads' forward passes of the same model are not edited (see `probe.models.scope`).

Three sites are not the input or output of a module, and act through another:
    head_out    adds the head's new output, minus the old, to the output projection's output
    resid_mid   adds the difference to attn_out, which is then recorded as changed
    pattern     replaces the attention function (see `pattern_editing`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from probe.errors import TraceError
from probe.models.scope import Scope, open_scopes
from probe.paradigms.canvas import Canvas
from probe.tracing import pattern_editing
from probe.tracing.changes import Moment, fitted
from probe.tracing.edits import Edit, Skip
from probe.tracing.selection import ABSENT, as_index, checked_indices, pick, slots_at
from probe.tracing.sites import Site, head_writes, output_weight, rank, scaled_heads, site
from probe.tracing.slot_states import SlotStates

if TYPE_CHECKING:
    from probe.models.model import Model


@contextmanager
def edit(model: Model, edits: Edit | Skip | Iterable[Edit | Skip]) -> Iterator[Model]:
    """Edit every forward pass of a model inside the context.

    Steps count forward passes from the beginning of the context; in a recorded decoding run they are the run's own.

    >>> before = pair.ar.logits(batch.clean)
    >>> with probe.edit(pair.ar, [probe.zero("head_out", layer=0, head=0), probe.skip(5)]):
    ...     edited = pair.ar.logits(batch.clean)
    >>> bool((edited == before).all()), bool((pair.ar.logits(batch.clean) == before).all())
    (False, True)
    """
    given = [edits] if isinstance(edits, Edit | Skip) else list(edits)
    parts = [_checked(model, part) for one in given for part in one.parts()]
    parts.sort(key=lambda part: rank(part.site))
    editing = Editing(model)
    with ExitStack() as stack:
        for part in parts:
            for layer in part.layers or (0,):
                stack.callback(editing.install(part, layer))
        if any(part.site == "pattern" for part in parts):
            stack.callback(editing.override_attention())
        model.before_run.append(editing.sees)
        stack.callback(model.before_run.remove, editing.sees)
        stack.enter_context(editing)
        yield model


def _open(model: Model) -> list[Editing]:
    """The edit contexts that this thread has open on a model, the outermost first."""
    return [scope for scope in open_scopes() if isinstance(scope, Editing) and scope.model is model]


def announce(model: Model, rows: slice | None, step: int | None) -> None:
    """Set the examples and the step of the next forward pass for the active edits of a model; None resets them."""
    for editing in _open(model):
        editing.rows, editing.next_step = rows, step


def open_edits(model: Model) -> list[Edit]:
    """The active edits of a model."""
    return [part for editing in _open(model) for part in editing.parts]


def edited_head_writes(model: Model, layer: int, z: Tensor) -> Tensor | None:
    """All heads' outputs after the active edits of `head_out`; None if there are none."""
    at_work = [
        (editing, part)
        for editing in _open(model)
        for part in editing.parts
        if part.site == "head_out" and layer in (part.layers or ())
    ]
    if not at_work:
        return None
    writes = head_writes(model, layer, z)
    for editing, part in at_work:
        writes = editing.changed(part, site("head_out"), layer, writes)
    return writes


class Editing(Scope):
    """One open context: what its hooks need to know of the current forward pass."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        self.parts: list[Edit] = []
        self.canvas: Canvas | None = None
        self.rows: slice | None = None
        self.step = -1
        self.next_step: int | None = None
        self.slot_states = SlotStates()
        self._resid_pre: dict[int, Tensor] = {}
        self._attention_before: str | None = None

    def override_attention(self) -> Callable[[], None]:
        """Use an attention function whose patterns can be edited, until the last context that needs it ends."""
        others = [other for other in _open(self.model) if other.overrides_attention]
        self._attention_before = others[0]._attention_before if others else self.model.attention_override
        self.model.attention_override = pattern_editing.NAME

        def restore() -> None:
            if not any(other.overrides_attention for other in _open(self.model)):
                self.model.attention_override = self._attention_before

        return restore

    @property
    def overrides_attention(self) -> bool:
        return any(part.site == "pattern" for part in self.parts)

    def sees(self, canvas: Canvas) -> None:
        """Called before every forward pass of the model."""
        self.canvas = canvas
        self.step = self.step + 1 if self.next_step is None else self.next_step
        if any(part.state is not None for part in self.parts):
            self.slot_states.see(canvas.tokens, self.model.mask_id, self.rows)

    def install(self, part: Edit, layer: int) -> Callable[[], None]:
        """Apply an edit in one layer; the returned function removes it."""
        if part not in self.parts:
            self.parts.append(part)
        one = site(part.site)
        module = one.module(self.model, layer)
        if one.name == "pattern":
            return pattern_editing.add(module, lambda pattern: self.changed(part, one, layer, pattern))
        if one.name == "head_out":
            return self._install_head_out(part, one, layer)
        if one.name == "resid_mid":
            return self._install_resid_mid(part, one, layer)
        if one.side == "in":
            return module.register_forward_pre_hook(self.owned(self._taken(part, one, layer))).remove
        return module.register_forward_hook(self.owned(self._given(part, one, layer))).remove

    def changed(self, part: Edit, one: Site, layer: int, view: Tensor) -> Tensor:
        """A view after the edit."""
        if not self._concerned(part):
            return view
        heads, slots = as_index(part.heads), self._slots(part)
        old = pick(view, one, heads, slots)
        new = self._new(part, one, layer, old)
        whole = new if heads is None and slots is None else _put(view, one, heads, slots, new)
        return self._in_state(part, whole, view, one.position_axis)

    def _in_state(self, part: Edit, new: Tensor, old: Tensor, axis: int) -> Tensor:
        """`new` at the slots in the edit's state, `old` at the others."""
        if part.state is None:
            return new
        there = self.slot_states.of(part.state).to(new.device)
        shape = [1] * new.dim()
        shape[0], shape[axis] = there.shape
        return torch.where(there.view(shape), new, old)

    def _concerned(self, part: Edit) -> bool:
        """Whether this forward pass is in this thread, and at a step of the edit."""
        return self.here and part.at_step(self.step)

    def _new(self, part: Edit, one: Site, layer: int, old: Tensor) -> Tensor:
        turn = None if part.one_layer or part.layers is None else part.layers.index(layer)
        moment = Moment(one, layer, turn, part.heads, part.positions, self.rows, self.step)
        return fitted(part.change(old, moment), old, one, str(part))

    def _slots(self, part: Edit) -> slice | Tensor | None:
        if part.positions is None:
            return None
        positions = part.positions
        if positions.dim() == 2 and self.rows is not None and self.canvas is not None:
            positions = positions[self.rows] if len(positions) != len(self.canvas) else positions
        if self.canvas is None:  # the backbone was called directly
            return as_index(positions)
        end = int(self.canvas.places.max()) + 1
        return as_index(slots_at(self.canvas, torch.where(positions < 0, positions + end, positions)))

    def _taken(self, part: Edit, one: Site, layer: int):
        def hook(module: nn.Module, taken: tuple) -> tuple:
            view = one.view(self.model, taken[0])
            return (one.put_back(self.model, taken[0], self.changed(part, one, layer, view)), *taken[1:])

        return hook

    def _given(self, part: Edit, one: Site, layer: int):
        def hook(module: nn.Module, taken: tuple, given):
            return one.put_back(self.model, given, self.changed(part, one, layer, one.view(self.model, given)))

        return hook

    def _install_head_out(self, part: Edit, one: Site, layer: int) -> Callable[[], None]:
        mixed: list[Tensor] = []  # z of the pass at hand

        def before(module: nn.Module, taken: tuple) -> None:
            mixed[:] = [taken[0]]

        def after(module: nn.Module, taken: tuple, given: Tensor) -> Tensor:
            if not self._concerned(part):
                return given
            heads, slots, weight = as_index(part.heads), self._slots(part), output_weight(self.model, layer)
            z = pick(scaled_heads(self.model, layer, one.view(self.model, mixed.pop())), one, heads, slots)
            old = z @ (weight if heads is None else weight[heads])
            difference = (self._new(part, one, layer, old) - old).sum(dim=1)
            attn_out = site("attn_out")
            if slots is None:
                return self._in_state(part, given + difference, given, 1)
            put = _put(given, attn_out, None, slots, pick(given, attn_out, None, slots) + difference)
            return self._in_state(part, put, given, 1)

        return self._around(one.module(self.model, layer), before, site("attn_out").module(self.model, layer), after)

    def _install_resid_mid(self, part: Edit, one: Site, layer: int) -> Callable[[], None]:
        def before(module: nn.Module, taken: tuple) -> None:
            self._resid_pre[layer] = taken[0]

        def after(module: nn.Module, taken: tuple, given: Tensor) -> Tensor:
            middle = self._resid_pre.pop(layer) + given
            return given + (self.changed(part, one, layer, middle) - middle)

        return self._around(self.model.blocks[layer], before, site("attn_out").module(self.model, layer), after)

    def _around(self, first: nn.Module, before, last: nn.Module, after) -> Callable[[], None]:
        """A pre-hook on one module and a hook on another; the returned function removes both."""
        handles = (
            first.register_forward_pre_hook(self.owned(before)),
            last.register_forward_hook(self.owned(after)),
        )

        def remove() -> None:
            for handle in handles:
                handle.remove()

        return remove


def _checked(model: Model, part: Edit) -> Edit:
    """The edit with explicit layers; refused if the model has no such layer or head."""
    one = site(part.site)
    heads = part.heads
    one.refuse_absent(model)
    if one.name == "logits" and model.logit_cap is not None:
        raise TraceError(
            f"an edit of the logits of {model.name!r}",
            expected="logits without a cap",
            found=f"logits capped at {model.logit_cap:g}",
            remedy="Edit final_norm or resid_post instead.",
        )
    if heads is not None:
        if one.heads is None:
            raise TraceError(
                f"head {list(heads)} of {one.name!r}",
                expected="a site that has heads",
                found=f"axes {', '.join(one.dims)}",
                remedy="Leave head out, or edit head_out, z or pattern.",
            )
        heads = checked_indices("head", heads, model.n_heads if one.heads == "head" else model.n_kv_heads)
    if not one.layered:
        return replace(part, layers=None, heads=heads)
    layers = checked_indices("layer", range(model.n_layers) if part.layers is None else part.layers, model.n_layers)
    return replace(part, layers=layers, heads=heads)


def _put(view: Tensor, one: Site, heads: slice | Tensor | None, slots: slice | Tensor | None, new: Tensor) -> Tensor:
    """The view with `new` at some heads and slots, as a new tensor, since gradients may need the old one."""
    has_heads = one.heads is not None
    rows = torch.arange(len(view), device=view.device).view(-1, *(1,) * (2 if has_heads else 1))
    places = _numbers(slots, view.shape[one.position_axis], view.device)
    index = [rows, places.view(-1, 1, places.shape[-1]) if has_heads else places.view(-1, places.shape[-1])]
    if has_heads:
        index.insert(1, _numbers(heads, view.shape[1], view.device).view(1, -1, 1))
    if (places == ABSENT).any():
        spread = torch.broadcast_tensors(*index)
        here = spread[-1] != ABSENT
        return view.index_put(tuple(axis[here] for axis in spread), new[here])
    return view.index_put(tuple(index), new)


def _numbers(index: slice | Tensor | None, length: int, device: torch.device) -> Tensor:
    if isinstance(index, Tensor):
        return index.to(device)
    everything = torch.arange(length, device=device)
    return everything if index is None else everything[index]
