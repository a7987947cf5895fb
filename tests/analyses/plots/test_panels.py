"""Panels: what stands between them lies on nothing."""

from __future__ import annotations

import pandas as pd
import pytest

from analyses.plots.panels import name_below, panels


@pytest.mark.parametrize(("count", "named"), [(1, [0]), (3, [0, 1, 2]), (4, [1, 2, 3]), (7, [4, 5, 6])])
def test_the_title_of_the_x_axes_stands_under_the_lowest_panel_of_each_column_alone(count, named):
    figure, each = panels(pd.DataFrame({"facet": [f"panel {one}" for one in range(count)]}), "facet")
    for panel in each:
        figure.add_scatter(x=[0], y=[0], row=panel.row, col=panel.column)
    name_below(figure, "layers passed")
    assert [at for at, axis in enumerate(figure.select_xaxes()) if axis.title.text] == named
