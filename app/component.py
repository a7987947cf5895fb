"""A view of `probe.views` on a page: mounted as a component, which returns what was chosen in it.

What is chosen in a view (the step, the head, K, the pinned nodes) is kept in the page's address with the page's
selection, so that a link opens the same view: `?circuits_k=40&circuits_pinned=L1H2,MLP 0`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import streamlit as st
from streamlit.components import v2

from probe.views import View, component, styles

MOST_CHARACTERS = 2000  # of one part of the address


@cache
def _mounted(kind: str) -> Callable[..., Any]:
    return v2.component(f"twinprobe_{kind}", css=styles(), js=component(kind))


def show(view: View, key: str, *, kept: tuple[str, ...] = (), **further: Any) -> Mapping[str, Any]:
    """Show a view. In its return value `chosen` is the state of its controls, and `act` the action just requested.

    `kept` names the parts of that state that are kept in the address. `further` goes to the view's data: `live=True`
    makes it offer actions that need a model.
    """
    opened = _opened(key, kept)
    data = {**view.plain(), "dark": st.context.theme.type == "dark", **further, **opened, "keep": list(kept)}
    said = _mounted(view.kind)(data=data, key=key, on_chosen_change=_nothing, on_act_change=_nothing)
    _to_address(key, kept, said.get("chosen"))
    return said


def _nothing() -> None:
    """A callback that does nothing: Streamlit keeps a component's state only if it has one."""


def _opened(key: str, kept: tuple[str, ...]) -> dict[str, Any]:
    """What the address said when the view was first opened; from then on the view keeps its own state."""
    first = st.session_state.setdefault(f"address of {key}", {})
    if not first:
        asked = {name: st.query_params.get(f"{key}_{name}") for name in kept}
        first.update({name: read(text[:MOST_CHARACTERS]) for name, text in asked.items() if text}, known=True)
    return {name: value for name, value in first.items() if name != "known"}


def _to_address(key: str, kept: tuple[str, ...], chosen: Mapping[str, Any] | None) -> None:
    for name in kept if chosen else ():
        parameter, text = f"{key}_{name}", written((chosen or {}).get(name))
        if text and st.query_params.get(parameter) != text:
            st.query_params[parameter] = text
        elif not text and parameter in st.query_params:
            del st.query_params[parameter]


def written(value: Any) -> str:
    """A choice as a part of the address: a number, a word, a list of words (after a comma), or named lists."""
    if value is None or value == []:
        return ""
    if isinstance(value, list) and isinstance(value[0], list):
        return ";".join(f"{_bare(name)}:{','.join(map(_bare, members))}" for name, members in value)
    if isinstance(value, list):
        return ",".join(map(_bare, value)) + ","
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def read(text: str) -> Any:
    """What `written` wrote."""
    if ":" in text and "," not in text.partition(":")[0] and not text.startswith("zoo:"):
        named = (part.partition(":") for part in text.split(";"))
        return [[name, [one for one in members.split(",") if one]] for name, _, members in named]
    if "," in text:
        return [one for one in text.split(",") if one]
    number = text.removeprefix("-")
    return int(text) if number.isascii() and number.isdigit() and len(number) < 10 else text


def _bare(word: str) -> str:
    """A word without the characters that separate words here."""
    return "".join(" " if sign in ",;:" else sign for sign in str(word))
