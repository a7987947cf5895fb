"""A view as a value and as a page: its JSON is data alone, and no word of it can become markup."""

from __future__ import annotations

import html
import json
import math

import pytest

from probe.errors import ProbeError
from probe.views import KINDS, View, component

NASTY = "</script><img src=x onerror=alert(1)>&\u2028"


def test_no_word_ends_the_script_that_it_stands_in():
    view = View("canvas", {"words": [NASTY], "title": NASTY})
    assert json.loads(view.json()) == {"words": [NASTY], "title": NASTY}
    assert not set("<>&\u2028") & set(view.json())
    assert NASTY not in view.page()
    assert NASTY not in html.unescape(view._repr_html_().replace("\\u003c", ""))


def test_numbers_that_json_does_not_know_are_missing():
    view = View("canvas", {"confidence": [0.5, math.nan, math.inf]})
    assert json.loads(view.json()) == {"confidence": [0.5, None, None]}


def test_a_kind_that_nobody_draws_is_named():
    with pytest.raises(ProbeError, match="one of canvas, lens_grid"):
        View("canvass", {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_brings_its_own_code_and_asks_nothing_of_the_network(kind):
    code = component(kind)
    assert f"function {KINDS[kind]}(" in code
    assert code.count("export default function") == 1
    for way in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "http", "import "):
        assert way not in code.replace("http://www.w3.org/2000/svg", "")
