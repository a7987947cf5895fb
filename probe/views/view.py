"""A view: a kind of drawing and the JSON value that it draws."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from probe.errors import ProbeError

KINDS = {"canvas": "tpCanvas", "lens_grid": "tpLensGrid", "circuit_graph": "tpCircuitGraph", "attention": "tpAttention"}
_STATIC = Path(__file__).parent / "static"
_FRAME_HEIGHT = 640  # pixels, of a view in a notebook, until it says how high it is
_FIT = (  # the frame is as high as what is drawn, now and whenever that grows or shrinks
    "if (frameElement) new ResizeObserver(([drawn]) => "
    "{ frameElement.style.height = drawn.target.scrollHeight + 8 + 'px'; }).observe(document.getElementById('view'))"
)


@dataclass(frozen=True)
class View:
    """What is drawn (`kind`, one of KINDS) and from what: `data` holds numbers, words, lists and mappings alone."""

    kind: str
    data: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProbeError("a view", expected="one of " + ", ".join(KINDS), found=repr(self.kind), remedy="Name one.")

    def json(self) -> str:
        """The data as JSON that can stand inside a page: no `<` in it can end a script."""
        return _safe(json.dumps(_finite(self.data), ensure_ascii=False, separators=(",", ":"), allow_nan=False))

    def plain(self) -> dict[str, Any]:
        """The data as JSON knows it: what is not a number is None."""
        return _finite(self.data)

    def page(self) -> str:
        """The view alone, as a whole page."""
        draw = f'{KINDS[self.kind]}(document.getElementById("view"), {self.json()}, () => {{}});'
        return (
            '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<style>body{{margin:0}}{styles()}</style><script>{scripts(self.kind)}</script>"
            f'<div id="view"></div><script>{draw}</script>'
        )

    def _repr_html_(self) -> str:
        """In a notebook: a frame of its own, which neither takes the page's styles nor changes them."""
        page = self.page() + f"<script>{_FIT}</script>"
        return (
            f'<iframe srcdoc="{escape(page, quote=True)}" sandbox="allow-scripts allow-same-origin" '
            f'style="width:100%;height:{_FRAME_HEIGHT}px;border:0"></iframe>'
        )


def styles() -> str:
    """The style sheet of all views."""
    return _static("view.css")


def scripts(*kinds: str) -> str:
    """The JavaScript of some kinds of views, and what they share."""
    return "\n".join([_static("common.js"), *(_static(f"{kind}.js") for kind in kinds)])


def component(kind: str) -> str:
    """The view as an ES module for `st.components.v2`; `static/component.js` says what it keeps and what it tells."""
    return f"{scripts(kind)}\nconst drawView = {KINDS[kind]};\n{_static('component.js')}"


@cache
def _static(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")


def _safe(text: str) -> str:
    """JSON in which no character can end or open a tag, or a line of JavaScript."""
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
