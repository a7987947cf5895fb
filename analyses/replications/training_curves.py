"""Claims that training curves answer: how many steps adaptation saves, and the accuracy of differently trained models
after equally many steps.

The claim about cost is that an adapted model reaches a loss in far fewer steps than one trained from nothing. Two
curves of one paradigm, on the same training batches, are read at the same losses: how many steps did each take? A curve
is one run, so the interval only reflects the scatter of the loss around its running mean; it does not cover seeds. The
AR model that adaptation started from was not free either: given its own curve, a second ratio counts its steps too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.replications.written_answers import share_of
from analyses.result import Result
from probe.errors import ProbeError
from probe.training.curve import EXAMINED

LEVELS = 12
WINDOW = 5  # logged rows in a running mean

Curve = Mapping[str, Any]  # columns step, loss, … as probe.training.curve reads them, or a DataFrame


def adaptation(
    curves: Mapping[str, tuple[Curve, Curve]], *, start: Curve | None = None, levels: int = LEVELS
) -> Result:
    """Steps to the same losses: for each paradigm, the curve of the adapted model and of the one from random weights.

    `estimate` is how many times as many steps training from random weights took; if it never reached the loss,
    `estimate` is a lower bound (`reached` is no). `start` is the curve of the model that adaptation began with.
    """
    if not curves:
        raise ProbeError(
            "curves", expected="at least one pair of them", found="none", remedy="Train again, and keep the curves."
        )
    already = 0.0 if start is None else float(np.nanmax(_smooth(start)[0]))
    table = pd.concat([_ratios(name, *pair, already, levels) for name, pair in curves.items()], ignore_index=True)
    return Result(
        "claim_adaptation",
        table,
        "Steps to the same loss: from nothing, against adapted from the AR model",
        "Above 1, adaptation took fewer steps to that loss; where the model from nothing never reached it, the point "
        "is a lower bound. Bands say how sure the crossings are in these single runs; they do not cover seeds.",
        "profile",
        {
            "axes": {
                "x": "loss",
                "colour": "model",
                "x_title": "loss (nats)",
                "y_title": "× as many steps from nothing",
            },
            "start_steps": already,
            "window": WINDOW,
        },
    )


def _ratios(name: str, adapted: Curve, scratch: Curve, already: float, levels: int) -> pd.DataFrame:
    ours, theirs = _smooth(adapted), _smooth(scratch)
    high, low = min(ours[1][0], theirs[1][0]), float(ours[1].min())
    rows = []
    for level in np.linspace(high, low, levels + 1)[1:]:
        (own, own_low, own_high), (other, other_low, other_high) = (_crossing(c, level) for c in (ours, theirs))
        known = np.isfinite(other)
        end = theirs[0][-1]
        rows.append({
            "model": name,
            "loss": level,
            "steps_adapted": own,
            "steps_scratch": other if known else np.nan,
            "reached": "yes" if known else "no",
            "estimate": (other if known else end) / own,
            "low": (other_low if np.isfinite(other_low) else end) / own_high if np.isfinite(own_high) else np.nan,
            "high": other_high / own_low if np.isfinite(other_high) else np.nan,
            "with_start": (other if known else end) / (own + already),
            "n": 1,
            "unit": "ratio of steps",
        })  # fmt: skip
    return pd.DataFrame(rows)


def _smooth(curve: Curve) -> tuple[NDArray, NDArray, NDArray]:
    """Steps, the running mean of the loss, and its standard error."""
    table = pd.DataFrame({name: list(curve[name]) for name in ("step", "loss")}).astype(float).dropna()
    if len(table) < 2 * WINDOW:
        raise ProbeError(
            "a training curve",
            expected=f"at least {2 * WINDOW} logged losses",
            found=str(len(table)),
            remedy="Log more often.",
        )
    around = {"window": WINDOW, "center": True, "min_periods": 2}
    mean = table["loss"].rolling(**around).mean()
    scatter = (table["loss"] - mean).rolling(
        **around
    )  # around the mean, so that a steady fall does not count as scatter
    error = np.asarray(scatter.std()) / np.sqrt(np.asarray(scatter.count()) - 1)
    return np.asarray(table["step"]), np.asarray(mean), error


def _crossing(curve: tuple[NDArray, NDArray, NDArray], level: float) -> tuple[float, float, float]:
    """The step at which the running mean is first at or below a level, with the range that its error allows; inf for
    never."""
    step, loss, error = curve
    found = []
    for line in (loss, loss - 1.96 * error, loss + 1.96 * error):
        below = np.flatnonzero(line <= level + 1e-12)
        found.append(_between(step, line, below[0], level) if len(below) else np.inf)
    return found[0], found[1], found[2]


def _between(step: NDArray, line: NDArray, at: int, level: float) -> float:
    """Where a straight line between two logged steps meets the level."""
    if at == 0 or line[at - 1] == line[at]:
        return float(step[at])
    share = (line[at - 1] - level) / (line[at - 1] - line[at])
    return float(step[at - 1] + np.clip(share, 0, 1) * (step[at] - step[at - 1]))


def examined(curves: Mapping[str, Curve], *, at: int | None = None) -> Result:
    """The share of right answers at each training's last evaluation, or at the one of step `at`."""
    parts = [_exam(name, curve, at) for name, curve in curves.items()]
    return Result(
        "claim_examined",
        pd.concat(parts, ignore_index=True).assign(unit="share right"),
        "Accuracy after equally many steps",
        f"Each bar is the share of answers right at the last evaluation of a training, on {EXAMINED} questions of the "
        "calibration split, the same in all, with its 95% Wilson interval. One training each: the intervals do not "
        "cover seeds.",
        "bars",
        {"axes": {"x": "task", "colour": "model", "y_title": "answers right"}},
    )


def _exam(name: str, curve: Curve, at: int | None) -> pd.DataFrame:
    table = pd.DataFrame({column: list(values) for column, values in curve.items()})
    shares = table.drop(columns=["step", "tokens", "flops", "loss"]).assign(step=table["step"]).dropna()
    if at is not None:
        shares = shares[shares["step"] == at]
    if shares.empty or shares.shape[1] == 1:
        raise ProbeError(
            f"the curve of {name!r}",
            expected="an examination" + ("" if at is None else f" at step {at}"),
            found="none",
            remedy="Train with examine_every.",
        )
    last = shares.iloc[-1]
    spent = table.loc[table["step"] <= last["step"], "flops"].max()
    rows = [
        {"model": name, "task": task, "steps": int(last["step"]), "operations": spent, **share_of(right, EXAMINED)}
        for task, right in last.drop("step").items()
    ]
    return pd.DataFrame(rows)
