"""A headline: what a measure shows at one glance, the same for every pair and task.

A measure's table has hundreds of rows; a reader who meets it for the first time wants one figure with its interval,
beside what a second seed would show, for each pair and each task. Which rows those are is known where the measure is
declared, so it is said there, once:

    Headline("ΔFLI: how much earlier than in the AR model", {"part": "all", "measure": "Δ FLI"}, by="model")

The report, which knows no measure, draws every headline as a row of small panels. A measure without one gets the rows
that its own table holds against a null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["interval", "line", "dots", "counts", "graph"]


@dataclass(frozen=True)
class Headline:
    """Which rows of a table are shown, and as what.

    of       what the numbers are, with their unit, as a phrase
    rows     values of columns that choose the rows; several may do. `{ar}` and `{diffusion}` stand for models' names
    by       the column that tells one mark (or line, or row of dots) of a panel from another
    kind     interval: an estimate with its interval a mark; line: along `x`; dots: one an estimate, as those of many
             heads; counts: how many rows have which value of `by`; graph: edges from `source` to `target`
    x        along which a line runs
    x_of     what x is, in words
    ordinal  the values of x stand at equal distances
    same     two columns that have to be equal
    values   the values of `by` that are shown, in order; by default the models', or what they differ by from AR
    bounds   the ends of the scale, where the figure has some
    zero     where nothing is, if that is a place on the scale
    terms    words of the glossary that are explained beside it
    """

    of: str
    rows: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    by: str = ""
    kind: Kind = "interval"
    x: str = ""
    x_of: str = ""
    ordinal: bool = False
    same: tuple[str, str] | None = None
    values: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    zero: float | None = None
    terms: tuple[str, ...] = ()
