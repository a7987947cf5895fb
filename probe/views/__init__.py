"""Views: what a trajectory, a lens, a circuit or a head's attention looks like, drawn in the browser.

    view = pair_run.view()          # a `View`: a kind and one JSON value
    view                            # in a notebook it shows itself
    view.page()                     # a file that opens anywhere, without a network

Each kind is one file of JavaScript in `static/`: the app mounts it as a component and gets back what was chosen, a
notebook shows it in a frame of its own. Stepping, hovering and pinning
happen in the browser. Words of models and files are set as text there and are never markup.
"""

from __future__ import annotations

from probe.views.view import KINDS, View, component, styles

__all__ = ["KINDS", "View", "component", "styles"]
