"""Linear probes for the tokens that a run will write, with a control task, place and count, and the AR twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses.representation.probes import control_labels, kinds_of, one_hot, predicted
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample
from probe.decoding import decode
from probe.decoding.places import GIVEN
from probe.decoding.writer import Asked
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.still import written_span
from probe.tasks import Batch
from probe.tracing import record

FEWEST = 16
PROBE, CONTROL, COUNT = "probe", "control task", "place and count alone"
SELECTIVITY, GAIN = "selectivity", "gain over place and count"
SLOTS = ("next", "every")


@dataclass(frozen=True, eq=False)
class Rows:
    """The questions of a run: the state (example, step, position) from which a later position's token is read."""

    example: NDArray
    step: NDArray
    place: NDArray
    ahead: NDArray
    label: NDArray  # the token that will be written there
    masks: NDArray  # that are left
    state: NDArray  # row × layer × feature

    def where(self, chosen: NDArray) -> Rows:
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def read(
    models: Model | Pair,
    batch: Batch,
    *,
    ahead: Iterable[int] = (1, 2, 3),
    slots: str = "next",
    by_step: bool = False,
    sampler: Asked = None,
    seed: int = 0,
) -> Result:
    """How well each layer of every model predicts the token written a given number of positions later.

    ahead    distances
    slots    from the "next" position to write, or from "every" masked one
    by_step  each pass of the run separately
    sampler  for the models that are not autoregressive
    """
    distances = [int(one) for one in ahead]
    _refuse(batch, distances, slots)
    made, names = {}, {}
    for role, model in (models.models if isinstance(models, Pair) else {"model": models}).items():
        rule = None if model.paradigm.asked_by is not None else sampler
        rows = rows_of(model, batch, distances, every=slots == "every", rule=rule, seed=seed)
        made[role], names[role] = _of_rows(rows, batch, distances, by_step, seed), model.name
    table = tested(compared(made, names, batch.task), made, names, (SELECTIVITY, GAIN))
    table.insert(0, "series", table["role"] + ", " + table["ahead"].astype(str) + " ahead")
    return Result(
        "lookahead_probes",
        table,
        f"Tokens not yet written, read off each layer, {batch.task}",
        "Accuracy of a linear probe for the token that will be written so many positions later, on held-out examples. "
        "Selectivity: above a control task of random labels. Gain: above a probe on place and number of masks "
        "alone. Without both, a probe is no evidence of a plan.",
        "profile",
        {"axes": {"x": "step" if by_step else "layer", "colour": "series", "facet": "measure",
                  "x_title": "step" if by_step else "layer (−1: embedding)"}, "slots": slots, "seed": seed},
    )  # fmt: skip


def rows_of(
    model: Model, batch: Batch, ahead: list[int], *, every: bool = False, rule: Asked = None, seed: int = 0
) -> Rows:
    """The rows of a model's own run, with the states from which they are read."""
    start, length = written_span(batch, "trajectory")
    run = decode(model, batch.clean[:, :start], length, sampler=rule, seed=seed)
    if run.tau is not None:
        raise ProbeError("lookahead", expected="a run that writes tokens one after the other, or some at a time",
                         found="a flow, which writes all tokens at the end", remedy="Leave it out.")  # fmt: skip
    committed, tokens = run.committed_at.cpu(), run.tokens.cpu()
    trace = record(model, run, ("resid_pre",))
    known = torch.from_numpy(trace["resid_pre"].values)  # example × step × layer × slot × feature
    text = tokens if model.mask_id is None else tokens.masked_fill(committed != GIVEN, model.mask_id)
    found: dict[str, list[Tensor]] = {name: [] for name in Rows.__dataclass_fields__}
    for step in range(len(run)):
        is_open = committed >= step
        later = committed > step  # this pass does not write it
        for place in range(start, start + length):
            asked = is_open[:, place] & (torch.tensor(every) | ~is_open[:, start:place].any(1))
            for distance in ahead:
                if place + distance >= start + length:
                    continue
                rows = (asked & later[:, place + distance]).nonzero()[:, 0]
                slot = model.paradigm.read_at(text, torch.full((len(text), 1), place))[rows, 0]
                found["example"].append(rows)
                for name, value in (("step", step), ("place", place), ("ahead", distance)):
                    found[name].append(torch.full_like(rows, value))
                found["label"].append(tokens[rows, place + distance])
                found["masks"].append(is_open[rows].sum(1))
                found["state"].append(known[rows, step][torch.arange(len(rows)), :, slot])
    return Rows(*(torch.cat(parts).numpy() for parts in found.values()))


def _of_rows(rows: Rows, batch: Batch, ahead: list[int], by_step: bool, seed: int) -> PerExample:
    """Example × (step ×) layer × distance × measure."""
    kinds, layers = kinds_of(batch), rows.state.shape[1]
    measures = [PROBE, CONTROL, COUNT, SELECTIVITY, GAIN]
    steps = np.unique(rows.step) if by_step else np.zeros(1, dtype=int)
    values = np.full((len(batch), len(steps), layers, len(ahead), len(measures)), np.nan)
    for turn, distance in enumerate(ahead):
        some = rows.where(rows.ahead == distance)
        if len(np.unique(some.example)) < FEWEST:
            continue  # few examples have tokens that far ahead
        asked = zip(some.example, some.place, strict=True)
        right = right_of(some, np.asarray([f"{kinds[of]} {at}" for of, at in asked]), seed)
        for place, step in enumerate(steps):
            here = some.step == step if by_step else np.ones(len(some.step), dtype=bool)
            part = PerExample.from_questions(right[here], some.example[here], len(batch), layer=range(layers),
                                             measure=measures)  # fmt: skip
            values[:, place, :, turn] = part.values
    axes = {"layer": range(-1, layers - 1), "ahead": ahead, "measure": measures}
    return PerExample.of(values, step=steps.tolist(), **axes) if by_step else PerExample.of(values[:, 0], **axes)


def right_of(rows: Rows, kinds: NDArray, seed: int) -> NDArray:
    """Whether each row is predicted right: row × layer × measure."""
    control = control_labels(kinds, rows.label, seed)
    told = (
        one_hot(rows.place) if len(np.unique(rows.masks)) < 2 else np.hstack([one_hot(rows.place), one_hot(rows.masks)])
    )
    counted = predicted(told, rows.label, rows.example) == rows.label
    columns = []
    for layer in range(rows.state.shape[1]):
        state = rows.state[:, layer].astype(np.float64)
        probe = predicted(state, rows.label, rows.example) == rows.label
        memory = predicted(state, control, rows.example) == control
        parts = (probe, memory, counted, probe.astype(float) - memory, probe.astype(float) - counted)
        columns.append(np.stack([part.astype(float) for part in parts], -1))
    return np.stack(columns, 1)


def tested(
    table: pd.DataFrame, made: dict[str, PerExample], names: dict[str, str], against_0: Sequence[str]
) -> pd.DataFrame:
    """The measures `against_0`, and the differences of roles in them, are tested against 0; an accuracy is not."""
    own = pd.concat([of.table({"model": names[role]}, p=True)["p"] for role, of in made.items()], ignore_index=True)
    p = table["p"].to_numpy(copy=True) if "p" in table else np.full(len(table), np.nan)
    p[: len(own)] = own  # every role's own rows come first
    gains = table["measure"].isin(against_0).to_numpy()
    p[~gains] = np.nan
    table = table.assign(p=p, null=np.where(gains, 0.0, np.nan))
    table = table.loc[np.isfinite(table["estimate"]), :].reset_index(drop=True)
    return table.assign(q=adjusted(table["p"]))


def _refuse(batch: Batch, ahead: list[int], slots: str) -> None:
    longest = batch.positions["completion"].shape[1] - 1
    if not ahead or min(ahead) < 1 or min(ahead) > longest or slots not in SLOTS:
        raise ProbeError(
            f"lookahead on {batch.task}",
            expected=f"distances from 1 to {max(longest, 1)}, from the slots {' or '.join(map(repr, SLOTS))}",
            found=f"{ahead}, from {slots!r}; the task writes {longest + 1} tokens",
            remedy="Use a task that writes several tokens, such as countdown or paths.",
        )
    if len(batch) < FEWEST:
        raise ProbeError("lookahead", expected=f"at least {FEWEST} examples", found=str(len(batch)),
                         remedy="Take more.")  # fmt: skip
