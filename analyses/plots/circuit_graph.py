"""The circuit as a graph: nodes laid out by layer, edges as wide as their scores, and how many of them on a slider.

One trace per edge would make a page with hundreds of edges slow. Edges that look the same and appear at the same K
share a trace, with gaps between them; invisible points along each edge react to the pointer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.plots.circuit_layout import Layout
from analyses.plots.registry import drawing
from analyses.plots.theme import PALETTE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HELPS, HURTS = PALETTE[0], PALETTE[1]
STATUS = {"undecided": "#CCCCCC", "kept": "#777777", "lost": PALETTE[1], "gained": PALETTE[2]}
KINDS = {"input": "#FFFFFF", "head": "#E8F1F8", "mlp": "#FBEFD9", "logits": "#FFFFFF"}
_WIDTHS = (0.7, 1.3, 2.2, 3.6, 5.6)
_FIRST_SHOWN = 100  # edges, before anyone moves the slider

Row = Mapping[Any, Any]  # of a table


@dataclass
class _Stage:
    """An unfinished figure, and the K from which each of its traces is visible (None: always)."""

    figure: Figure
    layout: Layout
    seen_at: list[set[int] | None] = field(default_factory=list)

    def add(self, trace: Any, column: int, seen_at: set[int] | None = None) -> None:
        self.figure.add_trace(trace, row=1, col=column)
        self.seen_at.append(seen_at)

    def slide(self, ks: Sequence[int], first: int) -> None:
        """A slider over K."""
        visible = {k: [at is None or k in at for at in self.seen_at] for k in ks}
        traces: Any = self.figure.data
        for trace, shown in zip(traces, visible[first], strict=True):
            trace.visible = shown
        steps = [{"method": "restyle", "label": str(k), "args": [{"visible": visible[k]}]} for k in ks]
        shown = {"prefix": "strongest edges: ", "xanchor": "right"}
        slider = {"active": list(ks).index(first), "steps": steps, "currentvalue": shown, "pad": {"t": 44}}
        self.figure.update_layout(sliders=[slider])


@drawing("circuit_graph")
def circuit_graph(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One graph per model, side by side, with one slider."""
    models = list(dict.fromkeys(table["model"]))
    stage = _stage(about, models)
    for meaning, colour in (("helps the answer", HELPS), ("hurts it", HURTS)):
        stage.add(_in_legend(meaning, colour), 1)
    ks = [int(k) for k in about["ks"]]
    for column, model in enumerate(models, start=1):
        part = table.loc[table["model"] == model, :].reset_index(drop=True)
        _all_nodes(stage, column)
        size = np.abs(part["score"].to_numpy())
        for k in ks:
            since = {later for later in ks if later >= k}
            for sign, colour in ((-1, HELPS), (1, HURTS)):
                here = (part["k"].to_numpy() == k) & (np.where(part["score"].to_numpy() > 0, 1, -1) == sign)
                _edges(stage, column, part.loc[here, :], size[here] / _largest(size), colour, since)
            _hover(stage, column, part.loc[part["k"] == k, :], _told, since)
        for k in ks:
            _nodes(stage, column, part.loc[part["k"] <= k, :], {k})
    stage.slide(ks, max((k for k in ks if k <= _FIRST_SHOWN), default=ks[0]))
    above = {"x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "yref": "paper"}
    return stage.figure.update_layout(showlegend=True, legend={**above, "y": 1 + 26 / stage.figure.layout.height})


@drawing("circuit_diff")
def circuit_diff(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """The edges that one model kept, lost and gained compared with another; the legend shows and hides each kind."""
    stage = _stage(about, [])
    _all_nodes(stage, 1)
    size = np.maximum(*(_relative(table[name].to_numpy()) for name in ("score", "other_score")))
    for status, colour in STATUS.items():
        here = table["status"].to_numpy() == status
        how = {"dash": "dot" if status == "undecided" else "solid", "bold": status in ("lost", "gained")}
        stage.add(_in_legend(f"{status} ({here.sum()})", colour, legendgroup=status), 1)
        _edges(stage, 1, table.loc[here, :], size[here], colour, None, legendgroup=status, **how)
        _hover(stage, 1, table.loc[here, :], _told_change, None, legendgroup=status)
    changed = table.assign(score=table["estimate"]).loc[table["status"] != "undecided", :]
    _nodes(stage, 1, changed, None, rims=(STATUS["lost"], STATUS["gained"]), sum_of="change of their share")
    return stage.figure.update_layout(showlegend=True)


def _in_legend(name: str, colour: str, **how: Any) -> Any:
    """A line that is only in the legend."""
    import plotly.graph_objects as go

    return go.Scatter(x=[0], y=[None], mode="lines", line={"color": colour, "width": 3}, name=name, **how)


def _stage(about: Mapping[str, Any], titles: Sequence[str]) -> _Stage:
    from plotly.subplots import make_subplots

    layout = Layout.of(about)
    columns = max(1, len(titles))
    figure = make_subplots(
        rows=1, cols=columns, subplot_titles=[escape(title) for title in titles] or None, horizontal_spacing=0.04
    )
    layers = list(range(layout.n_layers))
    figure.update_xaxes(
        range=[-0.8, layout.right + 0.8], showgrid=False, zeroline=False, showline=False, ticks="",
        tickvals=[*range(layout.n_heads), layout.right], ticktext=[*map(str, range(layout.n_heads)), "MLP"],
        title_text="head",
    )  # fmt: skip
    figure.update_yaxes(
        range=[-2.4, layout.top + 1.2], gridcolor="#F3F3F3", zeroline=False, showline=False, ticks="",
        tickvals=[2 * layer for layer in layers], ticktext=[str(layer) for layer in layers],
    )  # fmt: skip
    figure.update_yaxes(title_text="layer", col=1)
    figure.update_layout(height=int(np.clip(230 + 84 * layout.n_layers, 480, 1800)), showlegend=False)
    return _Stage(figure, layout)


def _all_nodes(stage: _Stage, column: int) -> None:
    """All nodes, faintly, and a bar under heads that share keys and values."""
    import plotly.graph_objects as go

    x, y = _joined(stage.layout.bars())
    line = {"color": "#CCCCCC", "width": 2}
    stage.add(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False), column)
    x, y = zip(*stage.layout.nodes.values(), strict=True)
    marker = {"size": 7, "color": "#FAFAFA", "line": {"color": "#DDDDDD", "width": 1}}
    stage.add(go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", showlegend=False), column)


def _edges(
    stage: _Stage, column: int, part: pd.DataFrame, size: NDArray, colour: str, seen_at: set[int] | None,
    *, dash: str = "solid", bold: bool = False, legendgroup: str | None = None,
) -> None:  # fmt: skip
    """The lines of some edges, one trace per width; bold ones stay visible among many."""
    import plotly.graph_objects as go

    width = np.digitize(np.sqrt(size), np.linspace(0, 1, len(_WIDTHS) + 1)[1:-1])
    for turn, pixels in enumerate(_WIDTHS):
        chosen = part.loc[width == turn, :]
        if chosen.empty:
            continue
        line = {"color": colour, "width": max(pixels, 2.0) if bold else pixels, "dash": dash}
        x, y = _joined(stage.layout.lines(chosen["source"].tolist(), chosen["target"].tolist()))
        trace = go.Scatter(
            x=x, y=y, mode="lines", line=line, opacity=0.9 if bold else 0.4 + 0.12 * turn, hoverinfo="skip",
            showlegend=False, legendgroup=legendgroup,
        )  # fmt: skip
        stage.add(trace, column, seen_at)


def _joined(lines: NDArray) -> tuple[list[float | None], list[float | None]]:
    """Lines one after the other, with a gap behind each."""
    gapped = np.concatenate([lines, np.full((len(lines), 1, 2), np.nan)], axis=1).reshape(-1, 2)
    x, y = ([None if np.isnan(value) else round(value, 3) for value in axis.tolist()] for axis in gapped.T)
    return x, y


def _hover(
    stage: _Stage,
    column: int,
    part: pd.DataFrame,
    words: Any,
    seen_at: set[int] | None,
    *,
    legendgroup: str | None = None,
) -> None:
    """Three points along each edge for the pointer."""
    import plotly.graph_objects as go

    if part.empty:
        return
    places = stage.layout.lines(part["source"].tolist(), part["target"].tolist())[:, [4, 7, 10]]
    text = np.repeat([words(row) for row in part.to_dict("records")], 3)
    trace = go.Scatter(
        x=places[..., 0].ravel().round(3), y=places[..., 1].ravel().round(3), mode="markers",
        marker={"size": 9, "opacity": 0}, text=text, hoverinfo="text", showlegend=False, legendgroup=legendgroup,
    )  # fmt: skip
    stage.add(trace, column, seen_at)


def _nodes(
    stage: _Stage, column: int, part: pd.DataFrame, seen_at: set[int] | None,
    *, rims: tuple[str, str] = (HELPS, HURTS), sum_of: str = "their score",
) -> None:  # fmt: skip
    """The nodes that have edges, sized by the sum of their scores, with the colour of its sign."""
    import plotly.graph_objects as go

    out, into = _sums(stage.layout, part)
    places = stage.layout.nodes
    names = [name for name in places if name in out or name in into]
    total = np.array([out.get(name, 0.0) + into.get(name, 0.0) for name in names])
    size = 15 + 13 * np.sqrt(np.abs(total) / _largest(np.abs(total)))
    text = [
        f"<b>{name}</b><br>{sum_of} adds up to {sums:.4g}<br>out {out.get(name, 0):.4g}, in {into.get(name, 0):.4g}"
        for name, sums in zip(names, total, strict=True)
    ]
    rim = {"color": [rims[0] if sums < 0 else rims[1] for sums in total], "width": 1.6}
    fills = [KINDS[_kind(name)] for name in names]
    trace = go.Scatter(
        x=[places[name][0] for name in names], y=[places[name][1] for name in names], mode="markers+text",
        text=[_short(name) for name in names], textfont={"size": 9}, hovertext=text, hoverinfo="text",
        marker={"size": size, "color": fills, "opacity": 1, "line": rim}, showlegend=False,
    )  # fmt: skip
    stage.add(trace, column, seen_at)


def _sums(layout: Layout, part: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """The sums of every node's edges, out and in. An edge that several heads share counts for each."""
    out: dict[str, float] = {}
    into: dict[str, float] = {}
    for source, target, score in zip(part["source"], part["target"], part["score"], strict=True):
        out[source] = out.get(source, 0.0) + score
        for reader in layout.reader(target):
            into[reader] = into.get(reader, 0.0) + score
    return out, into


def _short(name: str) -> str:
    """The label of a head or an MLP."""
    return name[1:].replace(".h", ".") if name.startswith("a") else {"input": "in", "logits": "out"}.get(name, name)


def _kind(name: str) -> str:
    return {"a": "head", "m": "mlp"}.get(name[0], name)


def _told(row: Row) -> str:
    does = "helps" if row["score"] < 0 else "hurts"
    return f"{_edge(row)}<br>score {row['score']:.4g} ({does})<br>from K = {row['k']} on"


def _told_change(row: Row) -> str:
    lines = [
        f"{_edge(row)}: <b>{escape(row['status'])}</b>",
        f"score {row['score']:.4g} in {escape(row['other'])}, {row['other_score']:.4g} in {escape(row['model'])}",
        f"share {row['estimate']:+.2%} [{row['low']:+.2%}, {row['high']:+.2%}]",
        f"confidence {row['confidence']:.2f}" + ("" if np.isnan(row["p"]) else f", p {row['p']:.3f}, q {row['q']:.3f}"),
    ]
    return "<br>".join(lines)


def _edge(row: Row) -> str:
    return f"{escape(row['source'])} → {escape(row['target'])}"


def _relative(scores: NDArray) -> NDArray:
    size = np.abs(scores)
    return size / _largest(size)


def _largest(size: NDArray) -> float:
    return float(size.max()) if len(size) and size.max() > 0 else 1.0
