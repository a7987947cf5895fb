"""The curve of a training: loss and accuracy against steps, tokens and compute.

Twins are compared at equal cost, so a training records its cost. If the recipe has `examine_every`, the model is
evaluated during training. On tasks it writes whole answers to questions of the calibration split, which is used neither
for training nor for testing. On running text its loss is measured on pieces that are held out, always the same: a
training loss that falls while this one rises is a training that should be stopped. The log is part of the Trainer's
checkpoints, so a curve is complete even if the training was interrupted.

`curve.csv` has a row for every logged step: `step, tokens, flops, loss`, then `held_out` (the loss on held-out text)
and a column for each task, empty where the model was not evaluated. Compute is counted as usual: 6 operations per token
and non-embedding parameter.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from probe.outside_files import FileKind, cut
from probe.tasks import task
from probe.tasks.score import score

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from probe.models.model import Model
    from probe.training.ema import Ema
    from probe.training.recipe import Recipe

CURVE = "curve.csv"
FILE = FileKind("curve", remedy="The training writes it at its end; see the curves of the shipped models.")
EXAMINED = 128  # questions a task
_EXAM, _HELD_OUT = "accuracy/", "held_out"


class Examiner(TrainerCallback):
    """Evaluates the model at regular steps and after the last one, with the weights that would be saved."""

    def __init__(
        self, model: Model, recipe: Recipe, ema: Ema | None = None, held_out: Callable[[], float] | None = None
    ):
        self.model, self.recipe, self.ema, self.held_out = model, recipe, ema, held_out

    def on_step_end(self, args, state, control, **_unused) -> None:
        every, step = self.recipe.examine_every, state.global_step
        if not every or (step % every and step != self.recipe.steps) or not state.is_world_process_zero:
            return
        with evaluating(self.model), self.ema.in_place() if self.ema else nullcontext():
            found = {
                _EXAM + name: score(self.model, task(name, **knobs), EXAMINED, split="calibration").share
                for name, knobs in self.recipe.examined_knobs.items()
            }
            text = {_HELD_OUT: self.held_out()} if self.held_out is not None else {}
        state.log_history.append({"step": step, **text, **found})


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """A model in training, switched to evaluation: not compiled, without dropout, without a graph."""
    backbone = model.backbone
    training, compiled = backbone.training, backbone._compiled_call_impl
    attention, override = backbone.config._attn_implementation, model.attention_override
    backbone._compiled_call_impl, model.attention_override = None, None
    backbone.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        backbone.train(training)
        backbone._compiled_call_impl, model.attention_override = compiled, override
        backbone.config._attn_implementation = attention


def write_curve(history: Iterable[Mapping[str, Any]], model: Model, folder: Path) -> Path:
    """The Trainer's log as `curve.csv`."""
    per_token = 6 * model.backbone.num_parameters(exclude_embeddings=True)
    rows: dict[int, dict[str, Any]] = {}
    for logged in history:
        row = rows.setdefault(logged["step"], {"step": logged["step"]})
        if "loss" in logged:
            tokens = int(logged["num_input_tokens_seen"])
            row.update(tokens=tokens, flops=tokens * per_token, loss=logged["loss"])
        found = {name: value for name, value in logged.items() if name.startswith(_EXAM) or name == _HELD_OUT}
        row.update({name.removeprefix(_EXAM): value for name, value in found.items()})
    evaluated = dict.fromkeys(name for row in rows.values() for name in row if name not in _COST)
    file = folder / CURVE
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [*_COST, *evaluated])
        writer.writeheader()
        writer.writerows(rows[step] for step in sorted(rows))
    return file


def read_curve(folder: str | Path) -> dict[str, list[float]]:
    """The columns of a model's `curve.csv`, NaN where empty."""
    file = Path(folder) / CURVE
    rows = FILE.csv(file)
    return {name: [_number(file, row[name]) for row in rows] for name in (rows[0] if rows else ())}


def _number(file: Path, written: str) -> float:
    try:
        return float(written or "nan")
    except ValueError:
        raise FILE.refuse(file, "numbers, or nothing", cut(repr(written), 60)) from None


def figure(folder: str | Path, against: str = "step") -> go.Figure:
    """Loss above, accuracy below, against "step", "tokens" or "flops"."""
    from plotly.subplots import make_subplots

    curve = read_curve(folder)
    tasks = [name for name in curve if name not in (*_COST, _HELD_OUT)]
    drawn = make_subplots(rows=1 + bool(tasks), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    drawn.add_scatter(x=curve[against], y=curve["loss"], name="loss", row=1, col=1, line_color="#000000")
    if _HELD_OUT in curve:
        x, y = _evaluated(curve, against, _HELD_OUT)
        drawn.add_scatter(x=x, y=y, name="held-out text", mode="lines+markers", row=1, col=1, line_color="#D55E00")
    for colour, name in zip(_COLOURS, tasks, strict=False):
        x, y = _evaluated(curve, against, name)
        drawn.add_scatter(x=x, y=y, name=name, mode="lines+markers", row=2, col=1, line_color=colour)
    drawn.update_xaxes(title_text=_AXES[against], row=1 + bool(tasks), col=1)
    drawn.update_yaxes(title_text="loss (nats, as weighted)", row=1, col=1)
    if tasks:
        drawn.update_yaxes(title_text=f"right, of {EXAMINED}", range=[0, 1.02], row=2, col=1)
    drawn.update_layout(title_text=f"How {Path(folder).name} was trained", template="plotly_white")
    return drawn


def _evaluated(curve: Mapping[str, list[float]], against: str, name: str) -> tuple[list[float], list[float]]:
    """The points at which the model was evaluated."""
    points = [(x, y) for x, y in zip(curve[against], curve[name], strict=True) if y == y]
    return [x for x, _ in points], [y for _, y in points]


_COST = ("step", "tokens", "flops", "loss")
_AXES = {"step": "optimizer steps", "tokens": "tokens shown", "flops": "operations (6 × tokens × parameters)"}
# Okabe and Ito's colour-blind-safe palette.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#999999")
