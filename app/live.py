"""Models and what is computed of them, kept between clicks: no forward pass is made twice for one view.

Few of each are kept, the least recently used go first, so memory settles. Models are shared by all sessions of the app
and are safe to share: hooks and edits belong to the thread that opened them.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

import analyses
import probe
from analyses.circuits import AttributionOptions, Circuit
from app.own_prompt import Own, batch_of
from app.selection import EXAMPLES, Selection
from probe.models.model import Model
from probe.models.source import Source
from probe.pairs import Pair
from probe.tasks import Batch

STEPS = 3  # of eap-ig, live: five are the default elsewhere


@st.cache_resource(max_entries=3, show_spinner="Loading the twins …")
def pair(name: str) -> Pair:
    return probe.load_pair(name, controls=False)


@st.cache_resource(max_entries=6, show_spinner="Loading the model …")
def model(name: str) -> Model:
    return probe.load(name)


@st.cache_resource(max_entries=12, show_spinner="Making prompts …")
def batch(pair_name: str, task: str) -> Batch:
    """Prompts as they come, right answered or not: an app shows failures too."""
    return probe.task(task).examples(pair(pair_name), EXAMPLES, fewer=True)


def circuits(pair_name: str, task: str, reading: str) -> tuple[Circuit, Circuit]:
    """Both twins' circuits, with the score of every edge on every prompt, so that they have intervals."""
    return circuit(pair_name, task, reading, "ar"), circuit(pair_name, task, reading, "diffusion")


@st.cache_resource(max_entries=48, show_spinner="Attributing: one backward pass a prompt and step …")
def circuit(pair_name: str, task: str, reading: str, role: str, attention: str | None = None) -> Circuit:
    """The circuit of one of the twins, or of a control by its name; `attention` puts it under another mask."""
    twins = pair(pair_name)
    of = twins.models[role] if role in twins.models else control(pair_name, role)
    own = probe.readings.reading_for(of, reading)
    if attention is not None:
        own = replace(probe.readings.named(reading), attention=attention)
    how = AttributionOptions(example_edges=True)
    return analyses.circuits.attribute(of, batch(pair_name, task), reading=own, steps=STEPS, options=how)


def controls(pair_name: str) -> dict[str, str]:
    """The controls that are declared for a pair: their names, and where they are."""
    entry = Source(pair_name).entry
    return {} if entry is None else dict(entry.controls)


def control(pair_name: str, name: str) -> Model:
    """A control, which knows the twin's mask."""
    found = model(controls(pair_name)[name])
    probe.pairs.lend_mask(found, pair(pair_name).diffusion.mask_id)
    return found


def other_seed(pair_name: str) -> str | None:
    """The control that is one of the twins trained again from another seed, if there is one: the twin's own first."""
    named = [name for name in controls(pair_name) if name.endswith("seed2")]
    return next((name for name in named if not name.startswith("ar")), next(iter(named), None))


@st.cache_resource(max_entries=24, show_spinner=False)
def own_batch(pair_name: str, own: Own) -> Batch:
    return batch_of(pair(pair_name), own)


def of(selection: Selection) -> tuple[Pair, Batch, int]:
    """The pair, the prompts, and the number of the chosen one among them."""
    if selection.own is not None:
        return pair(selection.pair), own_batch(selection.pair, selection.own), 0
    prompts = batch(selection.pair, selection.task)
    return pair(selection.pair), prompts, min(selection.example, len(prompts) - 1)
