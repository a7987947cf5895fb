"""A dial: a line of estimates with its band, the initial value in grey, and the point of half the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.plots.profile import profile
from analyses.plots.registry import drawing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@drawing("dial")
def dial(table: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    figure = profile(table.loc[table["at"].notna(), :], about)
    for _, half in table.loc[table["at"].isna(), :].iterrows():
        figure.add_vrect(x0=half["low"], x1=half["high"], fillcolor="#888", opacity=0.15, line_width=0)
        figure.add_vline(x=half["estimate"], line={"color": "#444", "width": 1, "dash": "dot"},
                         annotation_text=str(half["series"]))  # fmt: skip
    return figure
