"""Layouts: one small description per architecture of where its parts are; no other code uses a module's name.

`description` defines the fields, each family's file fills them in, `known` finds the layout of a configuration. Your
own package adds an architecture by declaring a `Layout` (see docs/how_to/add_an_architecture.md):

    [project.entry-points."twinprobe.layouts"]
    starcoder2 = "my_package:LAYOUT"
"""

from __future__ import annotations

from probe.models.layout.description import Columns, Layout
from probe.models.layout.known import INSTALLED, LAYOUTS, layout_of, stock_class

__all__ = ["INSTALLED", "LAYOUTS", "Columns", "Layout", "layout_of", "stock_class"]
