"""Beliefs by depth, and components' predictions: the lenses' own figures.

For a decoding run, each model has panels of its own, with one line (or mark) per step, dark to light: an answer that is
written at the second step has no estimate at the fifth, so no single step represents the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.left_out import leaving_out
from analyses.plots.panels import hover, name_below, name_each_once, panels
from analyses.plots.profile import profile
from analyses.plots.registry import drawing
from analyses.plots.theme import colours, shades

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


DIFFERENCES = "the differences between models"


def models_alone(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows that are not differences between models, and a note on the others."""
    difference = table["role"].str.contains("−")
    return table.loc[~difference, :], DIFFERENCES if any(difference) else ""


def fullest_step(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """For a decoding run, the step at which most examples have an estimate, and a note on the others."""
    if "step" not in table or len(set(table["step"])) < 2:
        return table, ""
    answers = table.groupby("step", as_index=False).agg({"n": "sum"})
    step = answers["step"].iloc[int(answers["n"].argmax())]
    return table.loc[table["step"] == step, :], f"decoding steps other than {step}, at which most answers are read"


def by_depth(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One line per model; for a decoding run one line per step, and panels for each model and facet."""
    if "step" not in table:
        return profile(table, about)
    axes = about["axes"]
    beside = [axes[name] for name in ("facet", "colour") if axes.get(name)]
    panel = table[beside].astype(str).agg(" · ".join, axis=1)
    steps = table.assign(panel=panel, step=table["step"].map("step {}".format))
    figure = profile(steps, {**about, "axes": {**axes, "facet": "panel", "colour": "step", "shaded": True}})
    return _in_order_of_steps(figure)


def _in_order_of_steps(figure: Figure) -> Figure:
    """The legend from the first step to the last, whichever panels show them."""
    traces: Any = figure.data
    for trace in traces:
        if trace.name and trace.name.startswith("step "):
            trace.legendrank = 1000 + int(trace.name.removeprefix("step "))
    return figure


@drawing("beliefs")
def beliefs(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    shown, without = models_alone(table)
    return leaving_out(by_depth(shown.assign(measure=shown["measure"].map(about["measures"].get)), about), without)


@drawing("components")
def components(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One mark per component at its layer, heads as circles and MLPs as squares, each with its interval."""
    shown, without = models_alone(table)
    facet, named = "measure", "role"
    if "step" in shown:
        panel = shown["measure"] + " · " + shown["role"]
        shown = shown.assign(panel=panel, step=shown["step"].map("step {}".format))
        facet, named = "panel", "step"
    figure, each = panels(shown, facet)
    fills = shades(shown[named]) if named == "step" else colours(shown[named])
    shapes = {"head": "circle", "mlp": "square", "input": "diamond", "bias": "x"}
    for panel in each:
        for turn, (name, part) in enumerate(panel.table.groupby(named, sort=False)):
            _marks(figure, part, str(name), turn, fills[str(name)], shapes, panel)
    figure = name_each_once(name_below(figure, "layer"))
    return leaving_out(_in_order_of_steps(figure), without)


def _marks(
    figure: Figure, part: pd.DataFrame, name: str, turn: int, colour: str, shapes: dict[str, str], panel: Any
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
        name=escape(name),
        legendgroup=name,
        showlegend=panel.first,
        text=hover(part, ["role", "node", "step"]),
        hoverinfo="text",
    )
    figure.add_trace(marks, row=panel.row, col=panel.column)
