"""A heatmap over two columns (layer × head, layer × layer), one a facet, all on one scale of colour.

A cell's interval is told when it is pointed at; a dot marks the cells whose interval leaves the null (0 where there is
none in the table) out, or, where the table has q, those below 0.05.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.plots.panels import Axes, has, hover, panels
from analyses.plots.registry import drawing
from analyses.plots.theme import DIVERGING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@drawing("heatmap")
def heatmap(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    axes = Axes.of(about, x="head", y="layer")
    figure, each = panels(table, axes.facet)
    for panel in each:
        _cells(figure, panel.table, axes, row=panel.row, col=panel.column)
    figure.update_layout(coloraxis=_scale(table[axes.z].to_numpy(float), axes.z_title))
    figure.update_xaxes(title_text=axes.x_title or axes.x, showgrid=False)
    return figure.update_yaxes(title_text=axes.y_title or axes.y, showgrid=False)


def _scale(values: np.ndarray, title: str) -> dict[str, Any]:
    """Blue to vermilion about 0 where signs differ, else from the least to the most."""
    low, high = (float(of(values)) for of in (np.nanmin, np.nanmax)) if np.isfinite(values).any() else (0.0, 1.0)
    bar = {"title": {"text": title}}
    if low < 0 < high:
        reach = max(-low, high)
        return {"colorscale": DIVERGING, "cmin": -reach, "cmax": reach, "colorbar": bar}
    return {"colorscale": "Viridis", "cmin": low, "cmax": high, "colorbar": bar}


def _cells(figure: Figure, part: pd.DataFrame, axes: Axes, **at: Any) -> None:
    import plotly.graph_objects as go

    told = part.assign(told=hover(part, [axes.y, axes.x]), mark=np.where(_stands_out(part), "·", ""))
    square = {name: told.pivot(index=axes.y, columns=axes.x, values=name) for name in (axes.z, "told", "mark")}
    cells = go.Heatmap(
        x=square[axes.z].columns,
        y=square[axes.z].index,
        z=square[axes.z].to_numpy(),
        text=square["mark"].to_numpy(),
        texttemplate="%{text}",
        customdata=square["told"].to_numpy(),
        hovertemplate="%{customdata}<extra></extra>",
        coloraxis="coloraxis",
    )
    figure.add_trace(cells, **at)


def _stands_out(part: pd.DataFrame) -> np.ndarray:
    if "q" in part:
        return (part["q"] < 0.05).to_numpy()
    if not has(part, "low"):
        return np.zeros(len(part), dtype=bool)
    null = part.get("null", 0.0)
    return ((part["low"] > null) | (part["high"] < null)).to_numpy()
