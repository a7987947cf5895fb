"""The drawings: each turns the table of a Result into a Plotly figure, and knows nothing else.

    @drawing("my_figure")
    def my_figure(table: pd.DataFrame, about: Mapping) -> Figure: ...

A drawing is found by its name in any module of this package; `draw` puts the title and the house's template on it.
A drawing that leaves rows of the table out says so on the figure (`leaving_out`).
Those that serve any measure read from `about["axes"]` which column is what:

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
