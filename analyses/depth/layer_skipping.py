"""The skip-effect matrix: how much the outputs of later layers change if an earlier layer is skipped.

    E[s, l] = max over positions of ‖Δ_l − Δ_l^{without s}‖ / ‖Δ_l‖,     Δ_l = what layer l adds to the residual stream

A model that computes in stages has strong effects below the diagonal. One whose layers all refine the same guess has
weak ones. The position of the effect shows the direction of the information flow, so left and right are separated, in
two ways:

    left, right   the layer is skipped everywhere; the effect is measured left and right of the answer's slot
    ←, →          the layer is skipped on one side of a border only, and the effect is measured on the other. Under a
                  causal mask nothing flows left, and ← is exactly 0

The text and its variants, each without one layer, are rows of one batch, so both updates of a layer are available
together: nothing is kept from one layer to the next, and 32 layers over 2,048 tokens take no more memory than the
forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analyses.result import Result
from analyses.statistics.contrasts import compared
from analyses.statistics.finite import REMEDY
from analyses.statistics.per_example import PerExample
from probe.errors import ProbeError
from probe.models.model import Model
from probe.models.scope import Scope
from probe.pairs import Pair
from probe.paradigms.canvas import Canvas
from probe.readings import Prompts, Reading, TrajectoryReading
from probe.readings.by_role import roles
from probe.tasks import Batch

SIDES = ("all", "left", "right")
FLOWS = ("←", "→")
SLOTS_AT_ONCE = 8192


def skip_effects(
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    flows: bool = False,
    border: int | None = None,
    square: bool = False,
) -> Result:
    """E[skipped, layer] of each model, on all positions and on each side of the answer's slot.

    `flows` adds the effects across a border (a position; by default the middle of the text), at three times the cost.
    """
    made, names = {}, {}
    for role, (model, how) in roles(models, reading, square=square).items():
        made[role], names[role] = _of_model(model, how.ask(model, batch), how, len(batch), flows, border), model.name
    titles = {"x_title": "layer left out", "y_title": "layer whose update changes", "z_title": "E"}
    axes = {"x": "skipped", "y": "layer", "facet": "panel", **titles}
    return Result(
        "skip_effects",
        compared(made, names, batch.task),
        f"How skipping a layer changes the others, {batch.task}",
        "A cell is the largest relative change of a layer's output if another one is skipped. Left and right: "
        "measured on that side of the answer's slot. Arrows: skipped on one side of a border and measured "
        "on the other; nothing flows left under a causal mask.",
        "skip_effects",
        {"axes": axes, "reading": str(reading), "border": border},
    )


def _of_model(model: Model, asked: Prompts, reading: Reading, n: int, flows: bool, border: int | None) -> PerExample:
    slots = asked.canvas.slots
    found = effect(model, asked.canvas, asked.slots.cpu())
    if flows:
        cut = torch.full((len(asked.canvas), 1), slots // 2 if border is None else border)
        found = torch.cat([found, flow(model, asked.canvas, cut)], -1)
    layers, step = range(model.n_layers), asked.view.step if isinstance(reading, TrajectoryReading) else None
    axes = {"skipped": layers, "layer": layers, "side": [*SIDES, *(FLOWS if flows else ())]}
    return PerExample.from_questions(found, asked.view.example, n, step=step, **axes)


def effect(model: Model, canvas: Canvas, at: Tensor) -> Tensor:
    """E of each row (row × skipped × layer × SIDES), with a layer skipped everywhere; sides of the slots `at`."""
    slot = torch.arange(canvas.slots)
    everywhere = torch.ones(len(canvas), canvas.slots, dtype=torch.bool)
    sides = torch.stack([everywhere, slot < at, slot > at], 1)
    return _measured(model, canvas, everywhere, sides)


def flow(model: Model, canvas: Canvas, border: Tensor) -> Tensor:
    """E across a border (row × skipped × layer × FLOWS): skipped from it on and measured before it, and the reverse."""
    left = torch.arange(canvas.slots) < border
    leftwards = _measured(model, canvas, ~left, left[:, None])
    return torch.cat([leftwards, _measured(model, canvas, left, ~left[:, None])], -1)


@torch.no_grad()
def _measured(model: Model, canvas: Canvas, skipped_at: Tensor, sides: Tensor) -> Tensor:
    """row × skipped × layer × side. `skipped_at` (row × slot): where layers are skipped; `sides` (row × side × slot):
    where the effect is measured."""
    per_pass = max(1, min(model.n_layers, SLOTS_AT_ONCE // canvas.slots - 1))  # variants beside the whole one
    rows_at_once = max(1, SLOTS_AT_ONCE // (canvas.slots * (per_pass + 1)))
    found = torch.zeros(len(canvas), model.n_layers, model.n_layers, sides.shape[1])
    for start in range(0, len(canvas), rows_at_once):
        rows = slice(start, start + rows_at_once)
        for first in range(0, model.n_layers, per_pass):
            layers = range(first, min(first + per_pass, model.n_layers))
            variants = _Variants(model, layers, skipped_at[rows], sides[rows])
            with variants.attached():
                model.run_trunk(_repeated(canvas[rows], 1 + len(layers)))
            found[rows, first : layers.stop] = torch.stack(variants.found, 2).cpu()
    return found


@dataclass
class _Variants:
    """One pass over rows and their variants: first the unchanged rows, then all of them without each of `layers`."""

    model: Model
    layers: range
    skipped_at: Tensor
    sides: Tensor

    @contextmanager
    def attached(self) -> Iterator[None]:
        self.found: list[Tensor] = []  # a layer at a time: row × skipped × side
        where = self.skipped_at.to(self.model.device)[..., None]
        sides = self.sides.to(self.model.device)

        def after(layer: int):
            def hook(_, taken: tuple, given: Tensor | tuple) -> Tensor | tuple:
                before, out = taken[0], given[0] if isinstance(given, tuple) else given
                if layer in self.layers:
                    mine = slice(len(where) * (turn := 1 + layer - self.layers.start), len(where) * (turn + 1))
                    out = out.clone()
                    out[mine] = torch.where(where, before[mine], out[mine])
                self._refuse_not_finite(layer, out)
                self.found.append(_change(out - before, sides))
                return (out, *given[1:]) if isinstance(given, tuple) else out

            return hook

        with Scope() as scope, ExitStack() as hooks:
            for layer, block in enumerate(self.model.blocks):
                hooks.callback(block.register_forward_hook(scope.owned(after(layer))).remove)
            yield

    def _refuse_not_finite(self, layer: int, out: Tensor) -> None:
        if not bool(torch.isfinite(out).all()):
            raise ProbeError(
                f"the skip effects of {self.model.name!r}",
                expected="activations that are finite",
                found=f"NaN or infinity after layer {layer}",
                remedy=REMEDY,
            )


def _change(update: Tensor, sides: Tensor) -> Tensor:
    """Row × variant × side: the largest relative change of the variants' updates; NaN if a side has no slot."""
    whole, *others = update.unflatten(0, (-1, len(sides)))
    change = torch.stack([(other - whole).norm(dim=-1) for other in others], 1)
    relative = torch.where(change == 0, 0.0, change / whole.norm(dim=-1)[:, None])  # a layer may write nothing at all
    most = torch.where(sides[:, None], relative[:, :, None], -1.0).amax(-1)
    return most.masked_fill(~sides.any(-1)[:, None], torch.nan)


def _repeated(canvas: Canvas, times: int) -> Canvas:
    def repeated(part: Tensor) -> Tensor:
        return part if len(part) == 1 and len(canvas) != 1 else part.repeat(times, *[1] * (part.dim() - 1))

    parts = {name: repeated(getattr(canvas, name)) for name in ("tokens", "allowed", "places", "block")}
    return replace(canvas, **parts, soft=None if canvas.soft is None else canvas.soft.map(repeated))
