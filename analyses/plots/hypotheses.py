"""The verdict as a forest plot: one hypothesis per line, right of the middle if it holds as stated.

Hypotheses have different units (an overlap, an index, nats), so each line has its own scale: the middle is the
threshold, and the width fits everything drawn in the line. The numbers are at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.plots.heatmap import heatmap
from analyses.plots.registry import drawing
from analyses.plots.theme import NULL, PALETTE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Distinguished by shape as well as by colour.
_ANSWERS = {
    "supported": (PALETTE[2], "circle"),
    "contradicted": (PALETTE[1], "x"),
    "undecided": (PALETTE[0], "circle-open"),
    "not measured": (NULL, "line-ew-open"),
}
# Which controls are drawn, by how their names begin.
_CONTROLS = {
    "more training": "diamond-open",
    "AR-CPT itself": "diamond-open",
    "AR itself": "pentagon-open",
    "seed": "square-open",
    "again": "star-triangle-up-open",
}
_LEGEND = {"more training": "AR-CPT", "AR itself": "AR itself", "seed": "a second seed", "again": "a second twin"}
_WIDEST = 1.15
NOTE = 58  # characters of the line below a hypothesis's numbers


@drawing("verdict")
def verdict(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    import plotly.graph_objects as go

    table = table.assign(line=range(len(table)), label=[_label(row) for row in table.to_dict("records")])
    beside = _beside(table, about.get("beside", {}))
    scale = _scales(table, beside)
    figure = go.Figure()
    for name, symbol in _CONTROLS.items():
        if len(mine := beside.loc[beside["control"].str.startswith(name), :]):
            placed = _placed(mine, scale[mine["line"]])
            marker = {"color": NULL, "symbol": symbol, "size": 7}
            shown = {"name": _LEGEND.get(name, name), "text": mine["words"], "legendgroup": symbol}
            figure.add_trace(_points(placed, mine["line"] + 0.28, marker, **shown, showlegend=name in _LEGEND))
    for answer, (colour, symbol) in _ANSWERS.items():
        if len(mine := table.loc[table["answer"] == answer, :]):
            placed = _placed(mine, scale[mine["line"]])
            placed["x"] = placed["x"].fillna(0.0)
            words = [_words(row) for row in mine.to_dict("records")]
            figure.add_trace(
                _points(placed, mine["line"], {"color": colour, "symbol": symbol, "size": 10}, answer, words)
            )
    for row in table.to_dict("records"):
        right = {"x": 1.02, "xref": "paper", "xanchor": "left", "showarrow": False, "align": "left"}
        figure.add_annotation(y=row["line"], text=_numbers(row), **right, font={"size": 11})
    figure.add_vline(x=0, line={"color": NULL, "width": 1, "dash": "dot"})
    rivals = np.flatnonzero(table["rival"].to_numpy(bool))
    if 0 < len(rivals) < len(table):
        figure.add_hline(y=float(rivals[0]) - 0.5, line={"color": NULL, "width": 0.5})
    figure.update_yaxes(
        tickvals=table["line"],
        ticktext=table["label"],
        range=[len(table) - 0.4, -0.6],
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    figure.update_xaxes(
        range=[-_WIDEST, _WIDEST], tickvals=[-0.6, 0.6], ticktext=["← against<br>the hypothesis", "as<br>stated →"],
        tickangle=0, showgrid=False, zeroline=False,
    )  # fmt: skip
    beneath = {"y": 0.01, "yanchor": "bottom", "x": 0.01, "xanchor": "left", "yref": "container", "xref": "container"}
    return figure.update_layout(height=160 + 44 * len(table), margin={"r": 300, "b": 110}, legend=beneath)


def _beside(table: pd.DataFrame, controls: Mapping[str, Mapping[str, list[float]]]) -> pd.DataFrame:
    """The controls' values, one row each, on the lines of their hypotheses."""
    rows = [
        {"line": row["line"], "sign": row["sign"], "null": row["null"], "control": name,
         "words": f"{escape(name)}: {at[0]:.3g} [{at[1]:.3g}, {at[2]:.3g}]",
         **dict(zip(("estimate", "low", "high"), at, strict=True))}
        for row in table.to_dict("records")
        for name, at in controls.get(row["hypothesis"], {}).items()
        if name.startswith(tuple(_CONTROLS))
    ]  # fmt: skip
    columns = ["line", "sign", "null", "control", "words", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype({"control": str})


def _scales(table: pd.DataFrame, beside: pd.DataFrame) -> np.ndarray:
    """How far each line extends from its threshold, to fit everything drawn in it."""
    every = pd.concat([table, beside], ignore_index=True)
    null = every["null"].to_numpy(float)
    ends = np.stack([np.abs(every[name].to_numpy(float) - null) for name in ("estimate", "low", "high")])
    reach = np.zeros(len(table))
    np.maximum.at(reach, every["line"].to_numpy(int), np.nan_to_num(ends).max(0))
    return np.where(reach > 0, reach, 1.0)


def _placed(rows: pd.DataFrame, scale: np.ndarray) -> dict[str, Any]:
    """The position of a value and its interval relative to the threshold, positive as stated, in shares of the line."""
    x, low, high = ((rows["sign"] * (rows[name] - rows["null"])) / scale for name in ("estimate", "low", "high"))
    ends = pd.concat([low, high], axis=1)
    return {"x": x, "reach": ends.max(axis=1) - x, "back": x - ends.min(axis=1)}


def _points(placed: dict[str, Any], y: pd.Series, marker: dict[str, Any], name: str, text: Any, **how: Any):
    import plotly.graph_objects as go

    thickness = 2 if marker["size"] >= 10 else 1
    reach = {"array": placed["reach"], "arrayminus": placed["back"], "symmetric": False}
    return go.Scatter(
        x=placed["x"], y=y, mode="markers", marker=marker, name=name, text=text, hoverinfo="text",
        error_x={"type": "data", "color": marker["color"], "thickness": thickness, "width": 0, **reach}, **how,
    )  # fmt: skip


def _label(row: Mapping[Any, Any]) -> str:
    mark = "rival: " if row["rival"] else ""
    return f"{mark}{escape(row['statement'])}<br>{_small(row['written'])}"


def _numbers(row: Mapping[Any, Any]) -> str:
    if np.isnan(row["estimate"]):
        return f"not measured<br>{_small(row.get('note') or '')}"
    by = f"; explained by {row['explained_by']}" if row["explained_by"] else ""
    how = f" ({row['how']})" if row.get("how") else ""
    figures = f"{row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}]".replace("-", "\N{MINUS SIGN}")
    return f"{figures}<br>{_small(row['answer'] + how + by)}"


def _small(words: str) -> str:
    """A second line in smaller type; text that does not fit beside the figure is in the hover text."""
    return f'<span style="font-size:10px">{escape(shorten(words, NOTE, placeholder=" …"))}</span>'


def _words(row: Mapping[Any, Any]) -> str:
    by = f"<br>explained by: {escape(row['explained_by'])}" if row["explained_by"] else ""
    settings = f"<br>settings: {escape(row['settings'])}" if row["settings"] else ""
    figures = f"{row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}], n = {row['n']} × {row['tasks']} tasks"
    beside = "".join(f"<br>{escape(one)}" for one in row["controls"].split("; ")) if row["controls"] else ""
    return f"{escape(row['answer'])}: {figures}{by}{settings}{beside}<br>{escape(row['source'])}"


@drawing("robustness")
def robustness(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """A panel for each task and measure, each in units of its largest difference, so that all share one scale."""
    table = table.assign(panel=table["task"] + " · " + table["measure"])
    largest = table["estimate"].abs().groupby(table["panel"]).transform("max").to_numpy()
    scaled = table.assign(shown=table["estimate"] / np.where(largest > 0, largest, 1))
    return heatmap(scaled, {"axes": {**about.get("axes", {}), "z": "shown", "z_title": "share of the<br>largest"}})
