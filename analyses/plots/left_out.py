"""What a figure leaves out, written on the figure itself.

A table often holds more than one picture can show: every layer at every decoding step of three models, and their
differences beside them. A drawing that picks some rows of it must not look as though there were no others. So it says
what it left out, and the words stand below the title, in the app and in the report:

    figure = profile(shown, about)
    return leaving_out(figure, "the differences between models")
    # Not drawn, but in the table: the differences between models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def leaving_out(figure: Figure, *what: str) -> Figure:
    """Say on a figure what its table holds beside what is drawn; empty words say nothing."""
    parts = [*_parts(figure), *filter(None, what)]
    return figure.update_layout(meta={"left_out": parts}) if parts else figure


def left_out(figure: Figure) -> str:
    """One sentence about what a figure leaves out, or none if it shows all of its table."""
    parts = _parts(figure)
    return f"Not drawn, but in the table: {'; '.join(parts)}." if parts else ""


def _parts(figure: Figure) -> list[str]:
    meta = figure.layout.meta
    return list(meta["left_out"]) if isinstance(meta, dict) and "left_out" in meta else []
