"""Heads as heatmaps, one row per score and one column per model; and sinks as lines over decoding steps."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.heatmap import scale
from analyses.plots.left_out import leaving_out
from analyses.plots.lens import fullest_step
from analyses.plots.profile import profile
from analyses.plots.registry import drawing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHARES = ("previous", "next", "same", "induction", "reverse_induction", "sink", "entropy", "duplicate")
"""The measures between 0 and 1, which share one colour scale."""
SQUARE = 116  # pixels: the height of a score's row


@drawing("heads")
def heads(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One row per score, one column per model, and in the last column the difference of the twins, on its own scale."""
    shown, other_steps = fullest_step(table)
    columns, without = _columns(shown)
    scores = [name for name in SHARES if name in shown]
    figure = _squares(shown, scores, columns)
    others = ", ".join(name.replace("_", " ") for name in about["measures"] if name not in scores)
    return leaving_out(figure, without, other_steps, others)


def _columns(table: pd.DataFrame) -> tuple[list[str], str]:
    """The models, then the twin minus AR if a table has it; and a note on the other differences."""
    roles = list(dict.fromkeys(table["role"].astype(str)))
    models = [role for role in roles if "−" not in role]
    differences = [role for role in roles if "−" in role]
    others = ", ".join(role for role in differences[1:])
    return [*models, *differences[:1]], others


def _squares(table: pd.DataFrame, scores: list[str], columns: list[str]) -> Figure:
    from plotly.subplots import make_subplots

    high, gap = SQUARE * len(scores), 12 / (SQUARE * len(scores))
    figure = make_subplots(
        rows=len(scores), cols=len(columns), shared_xaxes=True, shared_yaxes=True, vertical_spacing=gap,
        horizontal_spacing=0.015, column_titles=["<br>".join(map(escape, wrap(name, 12))) for name in columns],
        row_titles=[name.replace("_", "<br>") for name in scores],
    )  # fmt: skip
    figure.update_annotations(font_size=12, textangle=0)
    differing = any("−" in name for name in columns)
    for row, score in enumerate(scores, start=1):
        for column, name in enumerate(columns, start=1):
            part = table.loc[table["role"] == name, :]
            figure.add_trace(_square(part, score, name), row=row, col=column)
    models, change = ([name for name in columns if ("−" in name) == of] for of in (False, True))
    figure.update_layout(
        height=high + 110,
        coloraxis=scale(table.loc[table["role"].isin(models), scores].to_numpy(float), "score", x=1.12),
        margin={"r": 170, "t": 80},
    )
    if differing:
        of_change = scale(table.loc[table["role"].isin(change), scores].to_numpy(float), "difference", x=1.12)
        of_change["colorbar"] |= {"y": 1 - 300 / high if high > 560 else 0.4}
        figure.update_layout(coloraxis2=of_change)
    figure.update_xaxes(showgrid=False, zeroline=False, dtick=1).update_xaxes(title_text="head", row=len(scores))
    return figure.update_yaxes(showgrid=False, zeroline=False, dtick=1).update_yaxes(title_text="layer", col=1)


def _square(part: pd.DataFrame, score: str, name: str) -> Any:
    import plotly.graph_objects as go

    ends = [f"{score}_{side}" for side in ("low", "high")]
    words = part.assign(words=[
        f"{escape(name)}<br>layer {row['layer']}, head {row['head']}<br>"
        f"{score.replace('_', ' ')} {row[score]:.3g} [{row[ends[0]]:.3g}, {row[ends[1]]:.3g}]"
        for row in part.to_dict("records")
    ])  # fmt: skip
    values, said = (words.pivot(index="layer", columns="head", values=column) for column in (score, "words"))
    return go.Heatmap(
        x=values.columns, y=values.index, z=values.to_numpy(), customdata=said.fillna("").to_numpy(),
        hovertemplate="%{customdata}<extra></extra>", coloraxis="coloraxis2" if "−" in name else "coloraxis",
    )  # fmt: skip


@drawing("sinks")
def sinks(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """One line per layer; for single heads, which are too many, the mean of each layer's, without an interval."""
    shown, each_head = table, ""
    if "head" in table:
        shown = table.groupby(["step", "layer", "measure"], sort=False, as_index=False).agg({"estimate": "mean"})
        each_head = "each head by itself, with its interval (drawn is the mean of a layer's heads)"
    shown = shown.assign(line="layer " + shown["layer"].astype(str))
    axes = {"x": "step", "colour": "line", "facet": "measure", "x_title": "decoding step"}
    return leaving_out(profile(shown, {"axes": axes}), each_head)
