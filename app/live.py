"""Models and what is computed of them, kept between clicks: no forward pass is made twice for one view.

Few of each are kept, the least recently used go first, so memory settles. Models are shared by all sessions of the app
and are safe to share: hooks and edits belong to the thread that opened them.
"""

from __future__ import annotations

import streamlit as st

import analyses
import probe
from analyses.circuits import AttributionOptions, Circuit
from app.selection import EXAMPLES, Selection
from probe.models.model import Model
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


@st.cache_resource(max_entries=16, show_spinner="Attributing: one backward pass a prompt and step …")
def circuits(pair_name: str, task: str, reading: str) -> tuple[Circuit, Circuit]:
    """Both twins' circuits, with the score of every edge on every prompt, so that they have intervals."""
    twins, prompts = pair(pair_name), batch(pair_name, task)
    how = AttributionOptions(example_edges=True)

    def found(of: Model) -> Circuit:
        own = probe.readings.reading_for(of, reading)
        return analyses.circuits.attribute(of, prompts, reading=own, steps=STEPS, options=how)

    return found(twins.ar), found(twins.diffusion)


def of(selection: Selection) -> tuple[Pair, Batch, int]:
    """The pair, the prompts, and the number of the chosen one among them."""
    prompts = batch(selection.pair, selection.task)
    return pair(selection.pair), prompts, min(selection.example, len(prompts) - 1)
