"""The drawings: each turns the table of a Result into a Plotly figure, from the table alone.

    @drawing("my_figure")
    def my_figure(table: pd.DataFrame, about: Mapping) -> Figure: ...

A drawing is found by its name in any module of this package; `draw` adds the title and the project's template. A
drawing that leaves rows of the table out says so on the figure (`leaving_out`). Generic drawings take the columns from
`about["axes"]`:

    profile   an estimate along a line, with its band     x, colour, facet, shaded; x_title, y_title
    forest    estimates with intervals, and their nulls   rows, colour, facet; x_title
    heatmap   layer × head, or any two columns            x, y, facet; x_title, y_title, z_title
    bars      a few estimates side by side                x, colour, facet; y_title
"""

from __future__ import annotations

from analyses.plots.left_out import leaving_out, left_out
from analyses.plots.registry import draw, drawing, known
from analyses.plots.theme import PALETTE, colour_of, colours, template

__all__ = ["PALETTE", "colour_of", "colours", "draw", "drawing", "known", "leaving_out", "left_out", "template"]
