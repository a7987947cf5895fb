"""What all live pages show: the pair, the task, the reading and the example, chosen once and kept in the address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import streamlit as st

from app.folders import twins
from app.own_prompt import LONGEST, Own
from probe import zoo
from probe.errors import ProbeError
from probe.models.catalog import entries
from probe.models.source import Source
from probe.tasks import ENGLISH, TASKS

EXAMPLES = 24  # prompts of each task
READINGS = {
    "prefix": "prefix: the left context",
    "one_mask": "one mask: all but the answer",
    "trajectory": "trajectory: its own decoding",
}


@dataclass(frozen=True)
class Selection:
    """The pair by name, the task, the reading, the number of the example, and the reader's own prompt instead of it."""

    pair: str
    task: str
    reading: str
    example: int
    own: Own | None = None

    def on_all(self) -> Selection:
        """The same for what is computed over all prompts, whichever of them is looked at."""
        return replace(self, example=0)


def pairs() -> tuple[str, ...]:
    """The twins to choose from: shipped, in the folders that the app was started with, in the catalog."""
    return (*shipped(), *twins(), *cataloged())


@cache
def shipped() -> tuple[str, ...]:
    """The shipped twins: diffusion models that were made from an AR model. Masked first, as the simplest; the real
    ones if their base was fetched."""
    names = [f"zoo:{name}" for name in (*zoo.shipped(), *(zoo.adapted() if _fetched() else ()))]
    entries = {name: Source(name).entry for name in names}
    found = {name: entry for name, entry in entries.items() if entry is not None and entry.ar}
    controls = {where for entry in found.values() for where in entry.controls.values()}
    return tuple(sorted(found.keys() - controls, key=lambda name: (name != "zoo:masked", "smollm2" in name, name)))


def tasks_of(pair: str) -> list[str]:
    """The tasks that a pair's tokenizer can write; the shipped toy twins do not know the words of the English ones."""
    toys = {f"zoo:{name}" for name in zoo.shipped()}
    return [*TASKS] if pair in toys else [*TASKS, *ENGLISH]


def _fetched() -> bool:
    """Whether the real twins' base was fetched."""
    try:
        return all((zoo.zoo_folder(name) / "config.json").is_file() for name in zoo.FETCHED)
    except ProbeError:
        return False


@cache
def cataloged() -> tuple[str, ...]:
    """The twins of the catalog of which both models are in the local cache of the Hub; nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    def here(name: str) -> bool:
        return name.count("/") == 1 and isinstance(try_to_load_from_cache(name, "config.json"), str)

    return tuple(row.name for row in entries() if row.ar and here(row.name) and here(row.ar))


def chosen(*, reading: bool = True, example: bool = True) -> Selection:
    """The selection, with its widgets on the left. A page shows the widgets that it uses; the others keep their
    values."""
    with st.sidebar:
        pair = st.selectbox("Twins", pairs(), key="twins", bind="query-params", persist_state="session")
        task = st.selectbox("Task", tasks_of(str(pair)), key="on", bind="query-params", persist_state="session")
        asked, number = "prefix", 0
        if reading:
            asked = st.selectbox("Reading", list(READINGS), key="asked", format_func=READINGS.__getitem__,
                                 bind="query-params", persist_state="session")  # fmt: skip
        own = None
        if example:
            number = st.number_input(
                "Example", 0, EXAMPLES - 1, key="example", bind="query-params", persist_state="session"
            )
            own = own_prompt()
    return Selection(str(pair), str(task), str(asked), int(number or 0), own)


def own_prompt() -> Own | None:
    """The reader's own prompt, where it is switched on."""
    if not st.toggle("My own prompt", key="own", bind="query-params", persist_state="session"):
        return None
    first, typed = Own(), []
    for name, about in (("prompt", "Prompt"), ("corrupt", "Corrupt prompt, equally many tokens"), ("answer", "Answer"),
                        ("other", "Answer of the corrupt prompt")):  # fmt: skip
        typed.append(str(st.text_input(about, getattr(first, name), key=f"own_{name}", max_chars=LONGEST,
                                       bind="query-params", persist_state="session")))  # fmt: skip
    return Own(*typed)
