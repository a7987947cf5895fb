"""A headline: the main number of a measure, the same for every pair and task.

A measure's table has hundreds of rows; a first reader wants one number with its interval, compared with that of a
second seed, for each pair and each task. Each measure declares which rows those are:

    Headline("ΔFLI: how much earlier than in the AR model", {"part": "all", "measure": "Δ FLI"}, by="model")

The report, which knows no measure, draws every headline as a row of small panels. A measure without one gets the rows
of its table that have a null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["interval", "line", "dots", "counts", "graph"]


@dataclass(frozen=True)
class Headline:
    """Which rows of a table are shown, and how.

    of       a phrase for the quantity, with its unit
    rows     values of columns that select the rows. `{ar}` and `{diffusion}` stand for models' names
    by       the column that distinguishes the marks (or lines, or rows of dots) of a panel
    kind     interval: one mark per estimate with its interval; line: along `x`; dots: one per estimate, as for many
             heads; counts: the number of rows by value of `by`; graph: edges from `source` to `target`
    x        the column along which a line runs
    x_of     a phrase for x
    ordinal  the values of x are drawn at equal distances
    same     two columns that have to be equal
    values   the values of `by` to show, in order; by default the models, or their differences from AR
    bounds   the ends of the scale, if the quantity has any
    zero     the value that means no effect, if there is one
    terms    words of the glossary that the report links
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
