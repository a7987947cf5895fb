"""A view of `probe.views` on a page: mounted as a component, which hands back what was chosen in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import streamlit as st
from streamlit.components import v2

from probe.views import View, component, styles


@cache
def _mounted(kind: str) -> Callable[..., Any]:
    return v2.component(f"twinprobe_{kind}", css=styles(), js=component(kind))


def show(view: View, key: str, **further: Any) -> Mapping[str, Any]:
    """Show a view; `chosen` of what it returns is the state of its controls, `act` what was asked to be done just now.

    `further` goes to the view's data: `live=True` lets it offer what needs a model.
    """
    data = {**view.plain(), "dark": st.context.theme.type == "dark", **further}
    return _mounted(view.kind)(data=data, key=key, on_chosen_change=_nothing, on_act_change=_nothing)


def _nothing() -> None:
    """A component's state is kept only where somebody waits for it."""
