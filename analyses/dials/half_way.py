"""A measure at every point of a dial, and the point at which half of its change is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.result import Result
from analyses.statistics.contrasts import BASES
from probe.errors import ProbeError
from probe.pairs import Pair

TWIN, HALF = "twin", "half of the change at"
_DRAWS = 2000
Row = Mapping[Any, Any]  # of a table
_NORMAL = 2 * 1.959964  # standard errors in a 95% interval


def along(
    pairs: Mapping[float, Pair],
    ask: Callable[[Pair], Result],
    *,
    rows: Mapping[str, Any],
    of: str = "steps of adaptation",
    seed: int = 0,
) -> Result:
    """One value of a measure at every point of a dial.

    pairs  by point; the AR model is the dial's 0, so points are above it
    ask    a function that computes the measure for one pair
    rows   values of columns that select one row per model, such as {"measure": "prediction depth", "lens": "logit"}
    """
    if len(pairs) < 2 or min(pairs) <= 0:
        raise ProbeError("a dial", expected="pairs at two or more points above 0", found=f"places {sorted(pairs)}",
                         remedy="Pass {250: load_pair('zoo:masked@250'), 4000: load_pair('zoo:masked')}.")  # fmt: skip
    places = sorted(pairs)
    found = {place: ask(pairs[place]) for place in places}
    chosen = {place: _by_role(result, pairs[place], rows) for place, result in found.items()}
    start, last = chosen[places[0]]["ar"], chosen[places[-1]]
    scatter = _of_seeds(last)
    line = [start, *(chosen[place]["diffusion"] for place in places)]
    table = pd.DataFrame([_row(at, one, start, scatter) for at, one in zip([0.0, *places], line, strict=True)])
    half = _half_way(np.array([0.0, *places], dtype=float), line, scatter, seed)
    if half is not None:
        table = pd.concat([table, pd.DataFrame([half])], ignore_index=True)
    named = found[places[0]]
    said = "" if half else " The whole change is no larger than that between seeds, or its interval contains 0."
    return Result(
        f"{named.name}_along",
        table,
        f"{', '.join(map(str, rows.values()))}, by {of}",
        "0 is the AR model. Grey: its value ± the change between seeds at the end of the dial." + said,
        "dial",
        {"axes": {"x": "at", "colour": "series", "x_title": of}, "rows": dict(rows), "measure": named.name},
    )


def _by_role(result: Result, pair: Pair, rows: Mapping[str, Any]) -> dict[str, Row]:
    """The one row of each model."""
    table = result.table
    for column, value in rows.items():
        if column not in table:
            raise ProbeError(f"rows of {result.name!r}", expected="columns among " + ", ".join(map(str, table)),
                             found=repr(column), remedy="Look at the measure's table.")  # fmt: skip
        table = table.loc[table[column] == value, :]
    names = {model.name: role for role, model in pair.models.items()}
    roles = list(table["role"]) if "role" in table else [names.get(str(one)) for one in table["model"]]
    by_role = {str(role): part for role, part in table.groupby(roles, sort=False)}
    for role in ("ar", "diffusion"):
        count = len(by_role.get(role, ()))
        if count != 1:
            raise ProbeError(f"rows of {result.name!r} for {role!r}", expected="exactly one that fits",
                             found=f"{count} with {dict(rows)}", remedy="Name more columns, or others.")  # fmt: skip
    return {role: part.iloc[0].to_dict() for role, part in by_role.items() if len(part) == 1}


def _of_seeds(last: Mapping[str, Row]) -> float:
    """The largest difference of a second seed of either twin; NaN if the pair has none."""
    changes = [abs(last[role]["estimate"] - last[base]["estimate"]) for role, base in BASES.items() if role in last]
    return float(max(changes, default=np.nan))


def _row(at: float, one: Row, start: Row, scatter: float) -> dict[str, Any]:
    null = float(start["estimate"])
    return {"series": TWIN, "at": float(at), **{name: float(one[name]) for name in ("estimate", "low", "high")},
            "n": int(one["n"]), "null": null, "null_low": null - scatter, "null_high": null + scatter}  # fmt: skip


def _half_way(at: NDArray, line: list[Row], scatter: float, seed: int) -> dict[str, Any] | None:
    """The point at which half of the change was first reached; None if there is no change beyond seeds."""
    estimate, error = (np.array([float(of) for of in each]) for each in (
        [one["estimate"] for one in line], [(one["high"] - one["low"]) / _NORMAL for one in line]
    ))  # fmt: skip
    whole, doubt = estimate[-1] - estimate[0], _NORMAL / 2 * np.hypot(error[0], error[-1])
    if not np.isfinite(doubt) or abs(whole) <= max(doubt, 0.0 if np.isnan(scatter) else scatter):
        return None
    drawn = estimate + np.nan_to_num(error) * np.random.default_rng(seed).normal(size=(_DRAWS, len(estimate)))
    low, high = np.percentile([_first_half(at, one) for one in drawn], [2.5, 97.5])
    return {"series": HALF, "at": np.nan, "estimate": _first_half(at, estimate), "low": low, "high": high,
            "n": int(line[0]["n"])}  # fmt: skip


def _first_half(at: NDArray, values: NDArray) -> float:
    share = (values - values[0]) / (values[-1] - values[0])
    there = int((share >= 0.5).argmax())
    before, after = share[there - 1], share[there]
    return float(at[there - 1] + (at[there] - at[there - 1]) * (0.5 - before) / (after - before))
