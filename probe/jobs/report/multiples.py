"""Small multiples: one figure per measure, with a panel for every pair and task, all on one scale.

A reader cannot compare three hundred separate figures. So a measure's headline (`probe.jobs.stages.headline`) is drawn
for every pair and task in a panel of its own, on one shared scale. A panel shows its main number as text, and links to
the unit's own figure and table.

A measure without a headline gets the rows that have a null; if there are none, no panels. A panel can also say why it
is empty: for example, that its reading asks the same question as another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError
from probe.jobs.report import formatting
from probe.jobs.report.models import AR, DIFFERENCE, DIFFUSION, HUES, SEED, WORDS, role_of
from probe.jobs.report.significance import ABOVE, BELOW
from probe.jobs.stages.headline import Headline

if TYPE_CHECKING:
    import pandas as pd

ORDER = tuple(WORDS)
MOST_MARKS = 8  # of one panel without a headline; more of them are dots
EDGES = 40  # of a graph


@dataclass(frozen=True)
class Mark:
    """One estimate (or, along x, one line of them), with its interval, its null, and its model's hue."""

    label: str
    hue: str
    estimates: tuple[float, ...]
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    x: tuple[float, ...] = ()
    strong: tuple[bool, ...] = ()  # of dots: whether each excludes its null
    null: tuple[float, float] | None = None
    words: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair and task: its marks, its number as text, and a link to its own figure; or why it is empty."""

    anchor: str = ""
    marks: tuple[Mark, ...] = ()
    text: str = ""
    empty: str = ""


@dataclass(frozen=True)
class Line:
    """One pair (under one reading): a panel for each task."""

    name: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Multiples:
    """All panels of one measure."""

    headline: Headline
    tasks: tuple[str, ...]
    lines: tuple[Line, ...]
    low: float = 0.0
    high: float = 1.0
    x_low: float = 0.0
    x_high: float = 1.0
    legend: tuple[tuple[str, str], ...] = ()  # words, hue
    seed_null: bool = False

    @property
    def labelled(self) -> bool:
        """Whether marks are distinguished by words beside them, not by colour."""
        return self.headline.kind == "dots" or (self.headline.kind == "interval" and not self.legend)


@dataclass(frozen=True)
class Measured:
    """What is known of a unit when its panel is made."""

    anchor: str
    line: str
    task: str
    judged: pd.DataFrame
    names: Mapping[str, str] = field(default_factory=dict)
    empty: str = ""


def multiples(headline: Headline | None, units: Sequence[Measured]) -> Multiples | None:
    """The panels of a measure's units; None if its tables have nothing to draw."""
    found = _made(headline, units) if headline is not None else None
    if found is None:
        found = _made(_fallback(units), units)
    return found


def headline_of(measure: str) -> Headline | None:
    """The headline of a measure by its label (`cross_faithfulness(draws=1)`), if the measure is installed."""
    from probe.jobs.stages.registry import stages

    try:
        stage = stages().get(measure.partition("(")[0])
    except ProbeError:
        return None
    return stage.headline if stage else None


def _made(headline: Headline | None, units: Sequence[Measured]) -> Multiples | None:
    if headline is None:
        return None
    tasks = tuple(dict.fromkeys(unit.task for unit in units))
    panels: dict[str, dict[str, Panel]] = {}
    for unit in units:
        panels.setdefault(unit.line, {})[unit.task] = _panel(headline, unit)
    lines = tuple(Line(name, tuple(of.get(task, Panel()) for task in tasks)) for name, of in panels.items())
    marks = [mark for line in lines for panel in line.panels for mark in panel.marks]
    if not marks:
        return None
    low, high = _scale(headline, marks)
    x = [value for mark in marks for value in mark.x]
    legend = () if headline.kind in ("dots", "graph") else _legend(headline, marks)
    ends = {"x_low": min(x), "x_high": max(x)} if x else {}
    seeds = any(mark.null is not None for mark in marks)
    return Multiples(headline, tasks, lines, low, high, legend=legend, seed_null=seeds, **ends)


def _panel(headline: Headline, unit: Measured) -> Panel:
    if unit.empty:
        return Panel(unit.anchor, empty=unit.empty)
    rows = _chosen(headline, unit)
    marks = tuple(_KINDS[headline.kind](headline, rows, unit.names)) if len(rows) else ()
    return Panel(unit.anchor, marks, _text(headline, marks), "" if marks else "not measured")


def _chosen(headline: Headline, unit: Measured) -> pd.DataFrame:
    """The rows that a headline names; none if the table has no such column or row."""
    table = unit.judged
    needed = [*headline.rows, *filter(None, (headline.by, headline.x)), *(headline.same or ())]
    if not set(needed) <= set(map(str, table.columns)):
        return table.head(0)
    for column, wanted in headline.rows.items():
        several = [wanted] if isinstance(wanted, str) else list(wanted)
        spelt = [value.format_map(_Names(unit.names)) for value in several]
        table = table.loc[table[column].map(formatting.label).isin(spelt), :]
    if headline.same:
        table = table.loc[table[headline.same[0]] == table[headline.same[1]], :]
    return table if headline.kind in ("counts", "graph") else table.loc[table["estimate"].notna(), :]


class _Names(dict):
    def __missing__(self, role: str) -> str:
        return f"no {role}"


# Marks


def _intervals(headline: Headline, rows: pd.DataFrame, names: Mapping[str, str]) -> list[Mark]:
    """One mark per row; the difference between seeds becomes the null of all."""
    found: dict[str, Mark] = {}
    for row in rows.to_dict("records"):
        value = formatting.label(row.get(headline.by)) if headline.by else ""
        key = _key(headline, value, names)
        if key is None or key in found:
            continue
        ends = tuple(formatting.as_float(row.get(name)) for name in ("low", "high"))
        known = all(end == end for end in ends)
        null = _null(row) if not headline.values or key in headline.values else None
        estimate = formatting.as_float(row["estimate"])
        words = formatting.shown(estimate, *ends)
        found[key] = Mark(
            WORDS.get(key, value), HUES.get(key, ""), (estimate,), ends[:1] if known else (), ends[1:] if known else (),
            null=null, words=words,
        )  # fmt: skip
    ordered = _ordered(headline, found)
    if SEED in found and AR not in found and DIFFUSION in found:  # differences: the seed's is the null
        reach = abs(found[SEED].estimates[0])
        ordered = [replace(mark, null=(-reach, reach)) for key, mark in ordered if key != SEED]
        return ordered
    return [mark for _, mark in ordered]


def _null(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """The null, unless it is only the zero of a difference."""
    ends = [formatting.as_float(row.get(name)) for name in ("null_low", "null_high")]
    if all(end == end for end in ends):
        return ends[0], ends[1]
    null = formatting.as_float(row.get("null"))
    return (null, null) if null == null and null != 0 else None


def _lines(headline: Headline, rows: pd.DataFrame, names: Mapping[str, str]) -> list[Mark]:
    """A line for each value of `by`, with its band; second seeds get only the line."""
    found: dict[str, Mark] = {}
    places = {x: turn for turn, x in enumerate(sorted(set(rows[headline.x].dropna())))}
    for value, part in rows.dropna(subset=[headline.x]).groupby(headline.by, sort=False):
        key = _key(headline, formatting.label(value), names)
        if key is None or key in found:
            continue
        part = part.sort_values(headline.x)
        x = [places[one] if headline.ordinal else one for one in part[headline.x].tolist()]
        band = key in (AR, DIFFUSION) and {"low", "high"} <= set(part.columns)
        columns = [part[name] if band else [] for name in ("low", "high")]
        lows, highs = (tuple(map(float, column)) for column in columns)
        label = WORDS.get(key, _said(str(value)))
        found[key] = Mark(
            label, HUES.get(key, "other"), tuple(map(float, part["estimate"])), lows, highs, tuple(map(float, x))
        )
    return [mark for _, mark in _ordered(headline, found)]


def _dots(headline: Headline, rows: pd.DataFrame, names: Mapping[str, str]) -> list[Mark]:
    """A row of dots for each value of `by`; those that exclude their null are strong."""
    found = {}
    parts: Iterable[tuple[Any, pd.DataFrame]] = rows.groupby(headline.by, sort=False) if headline.by else [("", rows)]
    for value, part in parts:
        label = formatting.label(value)
        if headline.values and label not in headline.values:
            continue
        strong = [mark in (ABOVE, BELOW) for mark in part["significance"].tolist()]
        judged = any(isinstance(mark, str) for mark in part["significance"].tolist())
        told = f"{sum(strong)} of {len(part)} exclude the null" if judged else ""
        found[label] = Mark(
            _said(label), HUES[DIFFUSION], tuple(map(float, part["estimate"])), strong=tuple(strong),
            words=told,
        )  # fmt: skip
    return [mark for _, mark in _ordered(headline, found)]


def _counts(headline: Headline, rows: pd.DataFrame, names: Mapping[str, str]) -> list[Mark]:
    """How many rows have which value."""
    counts = rows[headline.by].astype(str).value_counts().to_dict()
    return [
        Mark(value, f"count-{turn}", (float(counts.get(value, 0)),), words=f"{counts.get(value, 0)} {value}")
        for turn, value in enumerate(headline.values or counts)
    ]


def _graph(headline: Headline, rows: pd.DataFrame, names: Mapping[str, str]) -> list[Mark]:
    """Edges as coordinates, from (x, y) to (x, y), the strongest last; hue by whether they help."""
    strength = rows["score"].abs().to_numpy(dtype=float)
    order = (-strength).argsort(kind="stable")[:EDGES]
    strongest, largest = rows.iloc[order], float(strength.max(initial=0.0)) or 1.0
    place = _places({*strongest["source"], *(_reader(target) for target in strongest["target"])})
    return [
        Mark(
            f"{row['source']} → {row['target']}", "helps" if row["score"] < 0 else "hurts",
            (place[row["source"]][1], place[_reader(row["target"])][1]),
            x=(place[row["source"]][0], place[_reader(row["target"])][0]), lows=(abs(row["score"]) / largest,),
        )
        for row in reversed(strongest.to_dict("records"))
    ]  # fmt: skip


def _reader(target: str) -> str:
    return target.partition("<")[0].partition("@")[0]


def _places(nodes: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Heads of a layer side by side, its MLP on the right, layers upward; shares of the panel, y down."""
    heads = [name for name in nodes if name.startswith("a") and ".h" in name]
    layers = {name: int(name[1:].partition(".")[0]) for name in nodes if name[0] in "am" and name[1:2].isdigit()}
    deepest = max(layers.values(), default=0)
    widest = max((int(name.partition(".h")[2]) for name in heads), default=0) + 1
    found = {}
    for name in nodes:
        across = int(name.partition(".h")[2]) + 0.5 if name in heads else widest + 0.5 if name in layers else widest / 2
        up = layers[name] + (1.5 if name not in heads else 1.0) if name in layers else 0.0
        up = deepest + 2.5 if name == "logits" else up
        found[name] = (across / (widest + 1), 1 - up / (deepest + 2.5))
    return found


_KINDS: dict[str, Callable[[Headline, Any, Mapping[str, str]], list[Mark]]] = {
    "interval": _intervals,
    "line": _lines,
    "dots": _dots,
    "counts": _counts,
    "graph": _graph,
}


def _key(headline: Headline, value: str, names: Mapping[str, str]) -> str | None:
    """A mark's key: its role, or the value itself if the headline lists values; None leaves it out."""
    if headline.values:
        return value if value in headline.values else None
    return role_of(value, names) if headline.by else value


def _ordered(headline: Headline, found: Mapping[str, Mark]) -> list[tuple[str, Mark]]:
    order = list(headline.values or ORDER)
    return sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def _said(value: str) -> str:
    return value.replace("_", " ")


# What belongs to all panels


def _text(headline: Headline, marks: Sequence[Mark]) -> str:
    """A panel's number as text: its main mark's, with the interval."""
    if headline.kind == "counts":
        return ", ".join(mark.words for mark in marks)
    if headline.kind == "interval" and marks:
        main = next((mark for mark in marks if mark.label == WORDS[DIFFUSION]), marks[-1])
        return main.words
    if headline.kind == "dots" and any(mark.words for mark in marks):
        strong = sum(sum(mark.strong) for mark in marks)
        return f"{strong} of {sum(len(mark.strong) for mark in marks)} exclude the null"
    return ""


def _scale(headline: Headline, marks: Sequence[Mark]) -> tuple[float, float]:
    """One scale for all panels: the quantity's bounds, else the range of all values drawn."""
    if headline.kind == "counts":
        return 0.0, 1.0
    if headline.bounds:
        return headline.bounds
    shown = [end for mark in marks for end in (*mark.estimates, *mark.lows, *mark.highs, *(mark.null or ()))]
    shown = [value for value in shown if value == value and abs(value) != float("inf")]
    shown += [] if headline.zero is None else [headline.zero]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    room = 0.06 * ((high - low) or 1.0)
    return low - room, high + room


def _legend(headline: Headline, marks: Sequence[Mark]) -> tuple[tuple[str, str], ...]:
    hues = dict.fromkeys((mark.label, mark.hue) for mark in marks)
    return tuple(hues) if all(hue for _, hue in hues) else ()


def _fallback(units: Sequence[Measured]) -> Headline | None:
    """The rows that have a null, labelled by the columns that distinguish them."""
    tables = [unit.judged.loc[unit.judged["significance"].notna(), :] for unit in units if not unit.empty]
    tables = [table for table in tables if len(table)]
    if not tables:
        return None
    by = next((str(name) for name in ("model", "part", "measure") if all(name in table for table in tables)), "")
    most = max(map(len, tables))
    zero = 0.0 if all((table["null"] == 0).all() for table in tables if "null" in table) else None
    if most > MOST_MARKS or not by:
        return Headline("estimates with a null", by=by, kind="dots", zero=zero)
    values = tuple(dict.fromkeys(formatting.label(value) for table in tables for value in table[by]))
    return Headline("estimates with a null", by=by, values=values, zero=zero)


def same_question(unit: Measured, other: Measured) -> bool:
    """Whether two tables have the same numbers, because two readings asked the same question."""
    import numpy as np

    one, two = (each.judged["estimate"].to_numpy(float) for each in (unit, other))
    return len(one) == len(two) > 0 and bool(np.allclose(one, two, rtol=1e-9, atol=1e-12, equal_nan=True))


__all__ = ["DIFFERENCE", "Headline", "Line", "Mark", "Measured", "Multiples", "Panel", "headline_of", "multiples"]
