"""Marks as SVG: an interval, lines with bands, rows of dots, a stacked bar, a small graph.

They are drawn when the report is written, so a page shows and prints them without a script, in the colours of its
theme. A drawing has only lines and shapes. Its words are text of the page, which keeps its size at any width: the
drawing is stretched to the width available, its strokes are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from probe.jobs.report.hypotheses import Answer, HypothesisRow
from probe.jobs.report.multiples import Mark, Multiples, Panel

ROW, LINES, GRAPH = 15, 84, 150  # pixels: the height of a mark, of a panel of lines, of a graph
WIDE = 100.0


def panel(of: Multiples, shown: Panel) -> Markup:
    """A panel's drawing; its height is that of its marks."""
    draw = {"interval": _intervals, "line": _lines, "dots": _dots, "counts": _counts, "graph": _graph}
    return draw[of.headline.kind](of, shown.marks)


def hypothesis(row: HypothesisRow, answer: Answer) -> Markup:
    """One pair's estimate on the scale of its hypothesis, with the controls' below it."""
    low, high = row.scale
    across = _Scale(low, high)
    parts = [_upright("zero", across(0), 22)] if low < 0 < high else []
    parts.append(_upright("least", across(row.threshold), 22))
    parts += [_dot(f"control {hue}", across(value), 18) for hue, value in answer.controls]
    ends = "found " + answer.answer.replace(" ", "-")
    parts += [_line(ends, across(answer.low), 7, across(answer.high), 7), _dot(ends, across(answer.estimate), 7)]
    return _svg(parts, 22)


def _intervals(of: Multiples, marks: Sequence[Mark]) -> Markup:
    across, height = _Scale(of.low, of.high), ROW * max(1, len(marks))
    parts = [_upright("zero", across(of.headline.zero), height)] if of.headline.zero is not None else []
    for turn, mark in enumerate(marks):
        y = ROW * turn + ROW / 2
        if mark.null is not None:
            left, right = across(mark.null[0]), across(mark.null[1])
            parts.insert(0, _box("null", left, ROW * turn, max(right - left, 0.8), ROW))
        hue = f"m {mark.hue or 'plain'}"
        if mark.lows:
            parts.append(_line(hue, across(mark.lows[0]), y, across(mark.highs[0]), y))
        parts.append(_dot(hue, across(mark.estimates[0]), y, f"{mark.label} {mark.words}"))
    return _svg(parts, height)


def _lines(of: Multiples, marks: Sequence[Mark]) -> Markup:
    across, up = _Scale(of.x_low, of.x_high), _Scale(of.high, of.low, LINES)
    parts = [_line("zero", 0, up(of.headline.zero), WIDE, up(of.headline.zero))] if of.headline.zero is not None else []
    for mark in reversed(marks):  # the first lie on top
        x = [across(value) for value in mark.x]
        if mark.lows:
            there = [
                *zip(x, map(up, mark.highs), strict=True),
                *reversed(list(zip(x, map(up, mark.lows), strict=True))),
            ]
            parts.append(_shape("polygon", f"band {mark.hue}", there))
        points = list(zip(x, map(up, mark.estimates), strict=True))
        parts.append(_shape("polyline", f"m {mark.hue}", points, mark.label))
    return _svg(parts, LINES)


def _dots(of: Multiples, marks: Sequence[Mark]) -> Markup:
    across, height = _Scale(of.low, of.high), ROW * max(1, len(marks))
    parts = [_upright("zero", across(of.headline.zero), height)] if of.headline.zero is not None else []
    for turn, mark in enumerate(marks):
        y = ROW * turn + ROW / 2
        parts += [_tick("faint", across(value), y) for value, strong in _pairs(mark) if not strong]
        parts += [_tick("strong", across(value), y) for value, strong in _pairs(mark) if strong]
    return _svg(parts, height)


def _pairs(mark: Mark) -> list[tuple[float, bool]]:
    return list(zip(mark.estimates, mark.strong or (False,) * len(mark.estimates), strict=True))


def _counts(of: Multiples, marks: Sequence[Mark]) -> Markup:
    total, at, parts = sum(mark.estimates[0] for mark in marks) or 1.0, 0.0, []
    for mark in marks:
        wide = WIDE * mark.estimates[0] / total
        parts.append(_box(mark.hue, at, 2, wide, ROW, mark.words))
        at += wide
    return _svg(parts, ROW + 4)


def _graph(of: Multiples, marks: Sequence[Mark]) -> Markup:
    def at(share: float) -> float:
        return 8 + share * (GRAPH - 16)

    parts = [
        _line(f"edge {mark.hue}", WIDE * mark.x[0], at(mark.estimates[0]), WIDE * mark.x[1], at(mark.estimates[1]),
              stroke=0.6 + 3.4 * mark.lows[0] ** 0.5, title=mark.label)
        for mark in marks
    ]  # fmt: skip
    nodes = dict.fromkeys(
        (WIDE * x, at(y)) for mark in marks for x, y in zip(mark.x, mark.estimates, strict=True)
    )  # fmt: skip
    parts += [_dot("node", x, y) for x, y in nodes]
    return _svg(parts, GRAPH)


# Shapes


class _Scale:
    """From a panel's scale to the drawing's; values outside are put at the edge."""

    def __init__(self, low: float, high: float, size: float = WIDE):
        self.low, self.reach, self.size = low, (high - low) or 1.0, size

    def __call__(self, value: float | None) -> float:
        value = self.low if value is None or value != value else value
        return min(max((value - self.low) / self.reach, 0.0), 1.0) * self.size


def _svg(parts: Sequence[Markup], height: float) -> Markup:
    start = f'<svg viewBox="0 0 {WIDE:g} {height:g}" height="{height:g}" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(start) + Markup("").join(parts) + Markup("</svg>")


def _line(
    kind: str, x: float, y: float, to_x: float, to_y: float, *, stroke: float | None = None, title: str = ""
) -> Markup:
    wide = Markup(f' stroke-width="{stroke:.1f}"') if stroke is not None else ""
    places = Markup(f'x1="{x:.2f}" y1="{y:.1f}" x2="{to_x:.2f}" y2="{to_y:.1f}"')
    return Markup('<line class="{}" {}{}>{}</line>').format(kind, places, wide, _title(title))


def _dot(kind: str, x: float, y: float, title: str = "") -> Markup:
    """A dot, as a line of length 0 with round ends: it stays round however the drawing is stretched."""
    return _line(f"dot {kind}", x, y, x, y, title=title)


def _tick(kind: str, x: float, y: float) -> Markup:
    return _line(f"tick {kind}", x, y - 4, x, y + 4)


def _upright(kind: str, x: float, height: float) -> Markup:
    return _line(kind, x, 0, x, height)


def _box(kind: str, x: float, y: float, wide: float, high: float, title: str = "") -> Markup:
    places = Markup(f'x="{x:.2f}" y="{y:.1f}" width="{wide:.2f}" height="{high:.1f}"')
    return Markup('<rect class="{}" {}>{}</rect>').format(kind, places, _title(title))


def _shape(of: str, kind: str, points: Sequence[tuple[float, float]], title: str = "") -> Markup:
    places = " ".join(f"{x:.2f},{y:.1f}" for x, y in points)
    return Markup('<{0} class="{1}" points="{2}">{3}</{0}>').format(Markup(of), kind, Markup(places), _title(title))


def _title(words: str) -> Markup:
    return Markup("<title>{}</title>").format(escape(words)) if words else Markup("")
