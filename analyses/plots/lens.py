"""Beliefs by depth, and what components say: the lenses' own figures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.panels import hover, panels
from analyses.plots.profile import profile
from analyses.plots.registry import drawing
from analyses.plots.theme import colours

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def models_alone(table: pd.DataFrame) -> pd.DataFrame:
    """Without the rows that are differences between models; of a decoding run, its last step."""
    shown = table.query("~role.str.contains('−')", engine="python")
    return shown.query("step == step.max()", engine="python") if "step" in shown else shown


@drawing("beliefs")
def beliefs(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    shown = models_alone(table)
    return profile(shown.assign(measure=shown["measure"].map(about["measures"].get)), about)


@drawing("components")
def components(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """A mark a component at its layer, heads as circles and MLPs as squares, each with its interval."""
    shown = models_alone(table)
    figure, each = panels(shown, "measure")
    fills = colours(shown["role"])
    shapes = {"head": "circle", "mlp": "square", "input": "diamond", "bias": "x"}
    for panel in each:
        for turn, (role, part) in enumerate(panel.table.groupby("role", sort=False)):
            _marks(figure, part, str(role), turn, fills[str(role)], shapes, panel)
    figure.update_xaxes(title_text="layer")
    return figure


def _marks(
    figure: Figure, part: pd.DataFrame, role: str, turn: int, colour: str, shapes: dict[str, str], panel: Any
) -> None:
    import plotly.graph_objects as go

    within = part.groupby("layer").cumcount() / part.groupby("layer")["layer"].transform("size")
    reach = {"array": part["high"] - part["estimate"], "arrayminus": part["estimate"] - part["low"]}
    marks = go.Scatter(
        x=part["layer"] - 0.35 + 0.6 * within + 0.04 * turn,
        y=part["estimate"],
        error_y={"type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 0, **reach},
        mode="markers",
        marker={"color": colour, "size": 7, "symbol": part["kind"].map(shapes.__getitem__)},
        name=escape(role),
        legendgroup=role,
        showlegend=panel.first,
        text=hover(part, ["role", "node"]),
        hoverinfo="text",
    )
    figure.add_trace(marks, row=panel.row, col=panel.column)
