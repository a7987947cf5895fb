"""The other figures of circuits: overlap over K with chance and ceiling, and s(v) of every node."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.plots.left_out import leaving_out
from analyses.plots.panels import has, hover, panels
from analyses.plots.registry import drawing
from analyses.plots.theme import DIVERGING, NULL, colours, faint

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_GREYS = ("#999999", "#444444", "#BBBBBB")
_AREAS = ("CPR", "CMD")
_OVER_K = {"jaccard": "Jaccard", "retention": "retention", "f": "faithfulness f of those K"}
_BY_KIND = {
    "spearman": "Spearman of |scores|, by kind of edge",
    "weighted_jaccard": "weighted Jaccard, by kind of edge",
}
_BESIDE = {"ceiling": ("the same model on other prompts", "dash"), "null": ("chance", "dot")}


@drawing("circuit_overlap")
def circuit_overlap(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Jaccard, retention and f over K; below, rank correlation and weighted overlap by kind of edge."""
    from plotly.subplots import make_subplots

    above = [measure for measure in _OVER_K if measure in set(table["measure"])]
    below = [measure for measure in _BY_KIND if measure in set(table["measure"])]
    wide, narrow = 12 // len(above), 12 // len(below)
    specs = [[{"colspan": span} if at % span == 0 else None for at in range(12)] for span in (wide, narrow)]
    titles = [*map(_OVER_K.__getitem__, above), *map(_BY_KIND.__getitem__, below)]
    figure = make_subplots(
        rows=2, cols=12, specs=specs, subplot_titles=titles, vertical_spacing=0.17, horizontal_spacing=0.045
    )
    shade = colours([*table["model"], *table["other"]])
    for number, measure in enumerate(above):
        at: dict[str, Any] = {"row": 1, "col": 1 + number * wide}
        part = table.loc[(table["measure"] == measure) & (table["subset"] == "all"), :]
        for name, line in part.groupby("other", sort=False):
            _over_k(figure, line, str(name), shade[str(name)], **at)
        ticks = sorted(set(part["k"].tolist()))
        figure.update_xaxes(type="log", title_text=f"strongest K of {about['edges']} edges", tickvals=ticks, **at)
    for number, measure in enumerate(below):
        part = table.loc[table["measure"] == measure, :]
        _by_kind(figure, part, shade, row=2, col=1 + number * narrow)
    _name_each_once(figure)
    drawn = table["measure"].isin(below) | (table["measure"].isin(above) & (table["subset"] == "all"))
    others = table.loc[~drawn, ["measure", "subset"]].drop_duplicates().to_numpy()
    without = ", ".join(f"{measure} of {subset} edges" for measure, subset in others)
    return leaving_out(figure.update_layout(height=820, legend={"y": -0.2}), without)


def _over_k(figure: Figure, part: pd.DataFrame, name: str, colour: str, **at: Any) -> None:
    import plotly.graph_objects as go

    part = part.sort_values("k")
    x = part["k"].tolist()
    if has(part, "low"):
        band = {"fill": "toself", "fillcolor": faint(colour), "line": {"width": 0}, "hoverinfo": "skip"}
        y = part["high"].tolist() + part["low"].tolist()[::-1]
        figure.add_trace(go.Scatter(x=x + x[::-1], y=y, mode="lines", showlegend=False, legendgroup=name, **band), **at)
    line = go.Scatter(
        x=x,
        y=part["estimate"],
        mode="lines+markers",
        line={"color": colour},
        name=escape(name),
        legendgroup=name,
        text=hover(part, ["other", "measure", "k"]),
        hoverinfo="text",
    )
    figure.add_trace(line, **at)
    for what, (called, dash) in _BESIDE.items():
        if has(part, what):
            beside = {"line": {"dash": dash, "color": colour if what == "ceiling" else NULL, "width": 1.5}}
            label = {"name": called, "legendgroup": called, "legendrank": 2000, "hoverinfo": "y+name"}
            figure.add_trace(go.Scatter(x=x, y=part[what], mode="lines", **beside, **label), **at)


def _by_kind(figure: Figure, part: pd.DataFrame, shade: Mapping[str, str], **at: Any) -> None:
    """One point per kind and circuit, side by side; ceiling and chance as short bars behind it."""
    import plotly.graph_objects as go

    kinds, others = list(dict.fromkeys(part["subset"])), list(dict.fromkeys(part["other"]))
    for turn, name in enumerate(others):
        mine = part.loc[part["other"] == name, :]
        aside = (turn - (len(others) - 1) / 2) * 0.7 / len(others)
        x = [kinds.index(kind) + aside for kind in mine["subset"]]
        for what, (called, _) in _BESIDE.items():
            bar = {"symbol": "line-ew", "size": 44 / (2 + len(others)), "line": {"color": NULL, "width": 2}}
            bar["line"] = {**bar["line"], "color": shade[name] if what == "ceiling" else NULL}
            label = {"name": called, "legendgroup": called, "showlegend": False, "hoverinfo": "y+name"}
            figure.add_trace(go.Scatter(x=x, y=mine[what], mode="markers", marker=bar, **label), **at)
        reach = {"array": mine["high"] - mine["estimate"], "arrayminus": mine["estimate"] - mine["low"]}
        points = go.Scatter(
            x=x,
            y=mine["estimate"],
            mode="markers",
            error_y={"symmetric": False, "width": 2, **reach},
            marker={"color": shade[name], "size": 6},
            name=escape(name),
            legendgroup=name,
            text=hover(mine, ["other", "measure", "subset"]),
            hoverinfo="text",
        )
        figure.add_trace(points, **at)
    figure.update_xaxes(
        tickvals=list(range(len(kinds))), ticktext=kinds, tickangle=-40, showgrid=False, zeroline=False, **at
    )


def _name_each_once(figure: Figure) -> None:
    """Each name once in the legend, whichever panel it first appears in."""
    named: set[str] = set()
    traces: Any = figure.data
    for trace in traces:
        if trace.showlegend is not False:
            trace.showlegend = trace.legendgroup not in named
            named.add(trace.legendgroup)


@drawing("circuit_heatmap")
def circuit_heatmap(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Layer × head, the MLP in a column of its own, one panel per model, on one colour scale."""
    figure, each = panels(table, "model", gap=0.16)
    heads = int(about["n_heads"])
    for panel in each:
        part = panel.table
        column = np.where(part["kind"] == "mlp", heads + 0.5, part["head"])
        _cells(figure, part.assign(column=column), row=panel.row, col=panel.column)
    metric = escape(str(about.get("metric", ""))).replace("_", "<br>")
    figure.update_layout(coloraxis=_scale(float(np.abs(table["estimate"].to_numpy()).max()) or 1.0, metric))
    ticks = {"tickvals": [*range(heads), heads + 0.5], "ticktext": [*map(str, range(heads)), "MLP"]}
    figure.update_xaxes(title={"text": "head", "standoff": 4}, showgrid=False, **ticks)
    figure.update_yaxes(showgrid=False, zeroline=False, dtick=1)
    return figure.update_yaxes(title={"text": "layer", "standoff": 4}, col=1)


def _scale(largest: float, unit: str) -> dict[str, Any]:
    """Colours by the square root of |s(v)|, since a few nodes have most of it; labelled with s(v) itself."""
    labels = np.array([-1, -0.5, -0.1, 0, 0.1, 0.5, 1]) * largest
    ticks = {"tickvals": _root(labels), "ticktext": [f"{label:.2g}" for label in labels]}
    bar = {"title": {"text": f"s(v)<br>{unit}"}, **ticks}
    return {"colorscale": DIVERGING, "cmin": -(largest**0.5), "cmax": largest**0.5, "colorbar": bar}


def _root(values: Any) -> Any:
    return np.sign(values) * np.sqrt(np.abs(values))


def _cells(figure: Figure, part: pd.DataFrame, **at: Any) -> None:
    import plotly.graph_objects as go

    sure = (part["low"] > 0) | (part["high"] < 0)
    shown = part.assign(hover=hover(part, ["node"]), mark=np.where(sure, "•", ""))
    for kind in ("head", "mlp"):  # separate, since the cells of one heatmap have equal distances
        of_kind = shown.loc[shown["kind"] == kind, :]
        square = {
            name: of_kind.pivot(index="layer", columns="column", values=name) for name in ("estimate", "hover", "mark")
        }
        cells = go.Heatmap(
            x=square["estimate"].columns.to_numpy(float),
            y=square["estimate"].index,
            z=_root(square["estimate"].to_numpy()),
            dx=1,
            text=square["mark"].to_numpy(),
            texttemplate="%{text}",
            customdata=square["hover"].to_numpy(),
            hovertemplate="%{customdata}<extra></extra>",
            coloraxis="coloraxis",
        )
        figure.add_trace(cells, **at)


@drawing("faithfulness")
def faithfulness(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """f over the share of edges, one panel per model and one line per circuit, random circuits dotted in grey."""
    f = table.loc[table["measure"] == "f", :]
    figure, each = panels(f, "model", height=380, gap=0.17)
    circuits = list(dict.fromkeys(f["circuit"]))
    lines = colours(name for name in circuits if not _is_random(name))
    lines |= dict(zip(filter(_is_random, circuits), cycle(_GREYS), strict=False))
    for panel in each:
        for name in circuits:
            part = panel.table.loc[panel.table["circuit"] == name, :].sort_values("share")
            if part.empty:
                continue
            dash = "dot" if _is_random(name) else "solid"
            at = {"row": panel.row, "col": panel.column}
            _curve(figure, part, escape(name), name, lines[name], dash, first=panel.first, **at)
        _areas(figure, table.loc[table["model"] == panel.table["model"].iloc[0], :], row=panel.row, col=panel.column)
    figure.add_hline(y=1, line={"color": "#444", "width": 1, "dash": "dot"})
    ticks = sorted(set(f["share"].tolist()))
    labelled = ticks if len(ticks) < 7 else [share for share in ticks if f"{share:.0e}"[0] == "1"]
    labels = [f"{100 * share:g}%" if share in labelled else "" for share in ticks]
    title = {"text": "share of the edges", "standoff": 4}
    figure.update_xaxes(type="log", title=title, tickvals=ticks, ticktext=labels, tickangle=0)
    shown = (table["measure"] == "f") | (table["measure"].isin(_AREAS) & ~table["circuit"].map(_is_random))
    without = ", ".join(f"{measure} of random circuits" if measure in _AREAS else str(measure)
                        for measure in dict.fromkeys(table.loc[~shown, "measure"]))  # fmt: skip
    return leaving_out(figure.update_yaxes(title_text="faithfulness f", col=1), without)


def _is_random(circuit: str) -> bool:
    return circuit.startswith("random")


def _areas(figure: Figure, of_model: pd.DataFrame, **at: Any) -> None:
    """CPR and CMD of a model's own circuit, if the table has them, in the corner of its panel."""
    rows = of_model.loc[of_model["measure"].isin(_AREAS) & ~of_model["circuit"].map(_is_random), :]
    words = "<br>".join(f"{row['measure']} {row['estimate']:.2f}" for row in rows.to_dict("records"))
    where = {"x": 0.03, "y": 0.9, "xref": "x domain", "yref": "y domain", "xanchor": "left", "yanchor": "top"}
    if words:
        figure.add_annotation(text=words, showarrow=False, align="left", **where, **at)


def _curve(
    figure: Figure, part: pd.DataFrame, label: str, group: str, colour: str, dash: str, *, first: bool, **at: Any
) -> None:
    import plotly.graph_objects as go

    x = part["share"].tolist()
    if has(part, "low"):
        band = {"fill": "toself", "fillcolor": faint(colour, 0.14), "line": {"width": 0}, "hoverinfo": "skip"}
        y = part["high"].tolist() + part["low"].tolist()[::-1]
        figure.add_trace(
            go.Scatter(x=x + x[::-1], y=y, mode="lines", showlegend=False, legendgroup=group, **band), **at
        )
    line = go.Scatter(
        x=x,
        y=part["estimate"],
        mode="lines+markers",
        line={"color": colour, "dash": dash},
        marker={"size": 5},
        name=label,
        legendgroup=group,
        showlegend=first,
        text=hover(part, ["circuit", "share", "edges"]),
        hoverinfo="text",
    )
    figure.add_trace(line, **at)
