"""A view of `probe.views` on a page: mounted as a component, which returns what was chosen in it.

What is chosen in a view (the step, the head, K, the pinned nodes) is kept in the page's address with the page's
selection, so that a link opens the same view: `?circuits_k=40&circuits_pinned=L1H2,MLP 0`. The browser writes it there
and this file reads it once, when the page is opened; the app itself never writes the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import streamlit as st
from streamlit.components import v2

from probe.views import View, component, styles

MOST_CHARACTERS = 2000  # of one part of the address
VISIT = "visit"  # in the session: which page is open, and for which time


@cache
def _mounted(kind: str) -> Callable[..., Any]:
    return v2.component(f"twinprobe_{kind}", css=styles(), js=component(kind))


def show(
    view: View, key: str, *, kept: tuple[str, ...] = (), heeded: tuple[str, ...] = (), **further: Any
) -> Mapping[str, Any]:
    """Show a view. In its return value `chosen` is the state of its controls, and `act` the action just requested.

    `kept` names the parts of that state that are kept in the address, as `key_name`. Of them the page learns when it is
    opened, and runs again when one of `heeded` changes. `further` goes to the view's data: `live=True` makes it offer
    actions that need a model.
    """
    opened = _opened(key, kept)
    data = {**view.plain(), "dark": st.context.theme.type == "dark", **further, **opened}
    about = {"key": key, "keep": list(kept), "heed": list(heeded)}
    said = _mounted(view.kind)(data={**data, **about}, key=key, on_chosen_change=_nothing, on_act_change=_nothing)
    return {"chosen": said.get("chosen") or opened, "act": said.get("act")}


def _nothing() -> None:
    """A callback that does nothing: Streamlit keeps a component's state only if it has one."""


def _opened(key: str, kept: tuple[str, ...]) -> dict[str, Any]:
    """What the address said when the page was opened; from then on the view keeps its own state."""
    visit, found = st.session_state.get(VISIT), st.session_state.get(f"address of {key}")
    if found is None or found[0] != visit:
        asked = {name: st.query_params.get(f"{key}_{name}") for name in kept}
        found = visit, {name: read(text[:MOST_CHARACTERS]) for name, text in asked.items() if text}
        st.session_state[f"address of {key}"] = found
    return found[1]


def read(text: str) -> Any:
    """A choice as `addressed` in the views' JavaScript wrote it: a number, a word, a list of words, or named lists."""
    if ":" in text and "," not in text.partition(":")[0] and not text.startswith("zoo:"):
        named = (part.partition(":") for part in text.split(";"))
        return [[name, [one for one in members.split(",") if one]] for name, _, members in named]
    if "," in text:
        return [one for one in text.split(",") if one]
    number = text.removeprefix("-")
    return int(text) if number.isascii() and number.isdigit() and len(number) < 10 else text
