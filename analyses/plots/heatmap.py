"""A heatmap over two columns (layer × head, layer × layer), one per facet, all on one colour scale.

Point at a cell to see its interval. A dot marks a cell whose interval excludes the null (0 where the table has none)
or, where the table has q, one whose q is below 0.05.
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


_NOISE = 0.05  # of the largest share


@drawing("heatmap")
def heatmap(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    axes = Axes.of(about, x="head", y="layer")
    figure, each = panels(table, axes.facet)
    for panel in each:
        _cells(figure, panel.table, axes, row=panel.row, col=panel.column)
    figure.update_layout(coloraxis=scale(table[axes.z].to_numpy(float), axes.z_title))
    figure.update_xaxes(title_text=axes.x_title or axes.x, showgrid=False, type=_kind(table, axes.x))
    figure.update_yaxes(showgrid=False, type=_kind(table, axes.y))
    if _alike(table, axes):  # only the first column of panels has labels
        figure.update_yaxes(showticklabels=False).update_yaxes(showticklabels=True, col=1)
    return figure.update_yaxes(title_text=axes.y_title or axes.y, col=1)


def _kind(table: pd.DataFrame, column: str) -> str:
    """Names are categories; so are numbers mixed with names, which Plotly would put on a number line."""
    return "-" if pd.api.types.is_numeric_dtype(table[column]) else "category"  # "-": Plotly sees to it


def _in_order(table: pd.DataFrame, column: str) -> list[Any]:
    """Numbers sorted, names in order of appearance."""
    found = list(table[column].unique())
    return sorted(found) if pd.api.types.is_numeric_dtype(table[column]) else found


def _alike(table: pd.DataFrame, axes: Axes) -> bool:
    """Whether all panels have the same rows."""
    return axes.facet is not None and len({frozenset(part) for _, part in table.groupby(axes.facet)[axes.y]}) == 1


def scale(values: np.ndarray, title: str, **place: Any) -> dict[str, Any]:
    """Blue to vermilion around 0 if signs differ; shares from 0 to 1, whatever their range; else from minimum to
    maximum. Values below 0 within noise do not turn a share into a difference."""
    low, high = (float(of(values)) for of in (np.nanmin, np.nanmax)) if np.isfinite(values).any() else (0.0, 1.0)
    bar = {"title": {"text": title}, "lenmode": "pixels", "len": 240, "y": 1, "yanchor": "top", **place}
    if -_NOISE * high < low and 0.5 < high <= 1:
        return {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": bar}
    if low < 0 < high:
        reach = max(-low, high)
        return {"colorscale": DIVERGING, "cmin": -reach, "cmax": reach, "colorbar": bar}
    return {"colorscale": "Viridis", "cmin": low, "cmax": high, "colorbar": bar}


def _cells(figure: Figure, part: pd.DataFrame, axes: Axes, **at: Any) -> None:
    import plotly.graph_objects as go

    shown = part.assign(hover=hover(part, [axes.y, axes.x]), mark=np.where(_stands_out(part), "·", ""))
    rows, columns = _in_order(part, axes.y), _in_order(part, axes.x)
    square = {
        name: shown.pivot(index=axes.y, columns=axes.x, values=name).reindex(index=rows, columns=columns)
        for name in (axes.z, "hover", "mark")
    }
    cells = go.Heatmap(
        x=square[axes.z].columns,
        y=square[axes.z].index,
        z=square[axes.z].to_numpy(),
        text=square["mark"].fillna("").to_numpy(),  # a cell that is not in the table has no hover text
        texttemplate="%{text}",
        customdata=square["hover"].fillna("").to_numpy(),
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
