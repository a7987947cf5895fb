"""Notes on a figure about rows of its table that it does not show.

A table often has more than one figure can show: every layer at every decoding step of three models, and their
differences. A drawing that shows only some rows must not look complete. So it states what it left out, below the title,
in the app and in the report:

    figure = profile(shown, about)
    return leaving_out(figure, "the differences between models")
    # Not drawn, but in the table: the differences between models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def leaving_out(figure: Figure, *what: str) -> Figure:
    """Note on a figure what else its table has; empty texts add nothing."""
    parts = [*_parts(figure), *filter(None, what)]
    return figure.update_layout(meta={"left_out": parts}) if parts else figure


def left_out(figure: Figure) -> str:
    """One sentence about what a figure leaves out, or an empty text if it shows its whole table."""
    parts = _parts(figure)
    return f"Not drawn, but in the table: {'; '.join(parts)}." if parts else ""


def _parts(figure: Figure) -> list[str]:
    meta = figure.layout.meta
    return list(meta["left_out"]) if isinstance(meta, dict) and "left_out" in meta else []
