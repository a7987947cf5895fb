"""Where the parts of an architecture are: one small description each, and no other code that knows a module's name.

`description` says what there is to say, each family's file says it, `known` finds the one that a configuration is of. A
package of one's own adds an architecture by a `Layout` that it declares (see docs/how_to/add_an_architecture.md):

    [project.entry-points."twinprobe.layouts"]
    starcoder2 = "my_package:LAYOUT"
"""

from __future__ import annotations

from probe.models.layout.description import Columns, Layout
from probe.models.layout.known import INSTALLED, LAYOUTS, layout_of, stock_class

__all__ = ["INSTALLED", "LAYOUTS", "Columns", "Layout", "layout_of", "stock_class"]
