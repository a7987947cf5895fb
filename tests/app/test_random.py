"""Five hundred random actions: whatever is chosen, in whatever order, the app answers, and its memory settles.

The seed is in the test, so a failure happens again; the last actions stand in its message. Twins, tasks and prompts are
a few, so that the time goes into actions rather than into loading models and attributing.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.app.without_a_screen import PAGES, opened

ACTIONS, SEED = 500, 20261130
PROMPTS = 8
SETTLED = 200  # actions, after which caches are full
AT_MOST = {
    "twins": ("zoo:masked", "zoo:fluid", "zoo:flow"),
    "on": ("ioi", "greater_than"),
    "asked": ("prefix: the left context", "one mask: all but the answer"),
}
LEFT_ALONE = ("Run it",)  # it starts a process


@pytest.mark.slow
def test_500_random_actions_leave_it_alive_and_its_memory_settled(tmp_path, monkeypatch):
    draw = random.Random(SEED)
    for place in ("app.selection", "app.live"):
        monkeypatch.setattr(f"{place}.EXAMPLES", PROMPTS)
    app = opened(tmp_path, monkeypatch)
    done: list[str] = []
    settled = 0
    for number in range(ACTIONS):
        done.append(act(app, draw))
        told = done[-8:]
        assert not app.exception, (number, told)
        assert app.title, (number, told)
        if number == SETTLED:
            settled = resident()
    assert resident() < 1.5 * settled


def act(app: Any, draw: random.Random) -> str:
    """Do one thing of those that the page offers; what was done, in words."""
    widgets = [*app.selectbox, *app.number_input, *app.multiselect, *app.slider, *app.checkbox, *app.button,
               *app.get("button_group"), *app.text_input]  # fmt: skip
    widgets = [one for one in widgets if one.label not in LEFT_ALONE and not getattr(one, "disabled", False)]
    if not widgets or draw.random() < 0.2:
        page = draw.choice([*PAGES, "start", "jobs", "runs"])
        app.switch_page(f"screens/{page}.py").run()
        return page
    widget = draw.choice(widgets)
    value = chosen(widget, draw)
    if widget.type == "button":
        widget.click().run()
    elif widget.type == "selectbox":
        widget.select_index(widget.options.index(value)).run()
    else:
        widget.set_value(value).run()
    return f"{widget.type} {widget.label!r}: {value!r}"


def chosen(widget: Any, draw: random.Random) -> Any:
    """A value that a person could give the widget; of words, also ones that no model knows."""
    if widget.type == "selectbox":
        return draw.choice([one for one in widget.options if one in AT_MOST.get(widget.key, widget.options)])
    if widget.type == "multiselect":
        offered = [one for one in widget.options if "flow" not in one]  # which takes a second to write
        return draw.sample(offered, draw.randint(0, min(2, len(offered))))
    if widget.type == "button_group":
        offered = [option.content for option in widget.proto.options]
        return draw.choice(offered) if widget.proto.click_mode == 0 else draw.sample(offered, 1)
    if widget.type == "number_input":
        low, high = widget.min, min(widget.max, widget.min + 12)
        return draw.randint(int(low), int(high)) if isinstance(widget.value, int) else round(draw.uniform(low, high), 1)
    if widget.type == "slider" and isinstance(widget.value, tuple):  # a range
        return tuple(sorted(draw.randint(int(widget.min), int(widget.max)) for _ in range(2)))
    if widget.type == "slider":
        return (
            draw.randint(int(widget.min), 9)
            if isinstance(widget.value, int)
            else round(draw.uniform(widget.min, widget.max), 2)
        )
    if widget.type == "checkbox":
        return not widget.value
    return draw.choice(["", "When Luke and Keith went to the", "Zaphod \\ <b>x</b> $y$", "a " * 300])


def resident() -> int:
    """The memory of this process, in kB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])
