"""What all live pages look at: the pair, the task, the reading and the example, chosen once and kept in the address."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import streamlit as st

from probe import zoo
from probe.models.source import Source

EXAMPLES = 24  # prompts at hand, of each task
TASKS = ("ioi", "greater_than", "induction", "countdown", "sudoku", "paths", "infilling")
READINGS = {
    "prefix": "prefix: the left context",
    "one_mask": "one mask: all but the answer",
    "trajectory": "trajectory: its own decoding",
}


@dataclass(frozen=True)
class Selection:
    """The pair by name, the task, the reading, and the number of the example."""

    pair: str
    task: str
    reading: str
    example: int


@cache
def pairs() -> tuple[str, ...]:
    """The shipped twins: diffusion models that were made from an AR model. Masked first, as the plainest."""
    entries = {name: Source(name).entry for name in (f"zoo:{shipped}" for shipped in zoo.shipped())}
    twins = {name: entry for name, entry in entries.items() if entry is not None and entry.ar}
    controls = {where for entry in twins.values() for where in entry.controls.values()}
    return tuple(sorted(twins.keys() - controls, key=lambda name: (name != "zoo:masked", name)))


def chosen(*, reading: bool = True, example: bool = True) -> Selection:
    """The selection, with its widgets on the left. A page shows those that it uses; the others keep their values."""
    with st.sidebar:
        pair = st.selectbox("Twins", pairs(), key="twins", bind="query-params", persist_state="session")
        task = st.selectbox("Task", TASKS, key="on", bind="query-params", persist_state="session")
        asked, number = "prefix", 0
        if reading:
            asked = st.selectbox("Reading", list(READINGS), key="asked", format_func=READINGS.__getitem__,
                                 bind="query-params", persist_state="session")  # fmt: skip
        if example:
            number = st.number_input(
                "Example", 0, EXAMPLES - 1, key="example", bind="query-params", persist_state="session"
            )
    return Selection(str(pair), str(task), str(asked), int(number or 0))
