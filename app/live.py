"""Models and what is computed from them, cached between clicks: no forward pass is made twice for one view.

The caches are small and drop the least recently used, so memory is bounded. All sessions of the app share the models,
which is safe: hooks and edits belong to the thread that opened them.

Twins of one AR model share it and everything computed from it: its circuit is attributed once, for all of its twins and
every reading, since an AR model always has its own reading. So the caches are keyed by model, not by pair.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

import analyses
import probe
from analyses.circuits import AttributionOptions, Circuit
from app.own_prompt import Own, batch_of
from app.selection import EXAMPLES, Selection
from probe.models.model import Model
from probe.models.source import Source
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

STEPS = 3  # of eap-ig, live: five are the default elsewhere
_numbers: WeakKeyDictionary[Model, int] = WeakKeyDictionary()
_next = count()


def number(model: Model) -> int:
    """What a cache knows a model by: a number that no other model in this process has or will have."""
    return _numbers.setdefault(model, next(_next))


BY_MODEL: dict[str | type, Any] = {Model: number}  # hash_funcs of what is computed of a model


@st.cache_resource(max_entries=3, show_spinner="Loading the twins …")
def pair(name: str) -> Pair:
    return probe.load_pair(name, controls=False)


@st.cache_resource(max_entries=6, show_spinner="Loading the model …")
def model(name: str) -> Model:
    return probe.load(name)


def batch(pair_name: str, task: str) -> Batch:
    """Prompts as they come, whether answered right or not: the app shows failures too."""
    return prompts(pair(pair_name).ar, task)


@st.cache_resource(max_entries=12, hash_funcs=BY_MODEL, show_spinner="Making prompts …")
def prompts(ar: Model, task: str, n: int | None = None, split: str = "test") -> Batch:
    """A pair's prompts are made with its AR model's tokenizer, so all of its twins have the same."""
    return probe.task(task).examples(ar, n or EXAMPLES, split=split, fewer=True)


def circuits(pair_name: str, task: str, reading: str) -> tuple[Circuit, Circuit]:
    """Both twins' circuits, with the score of every edge on every prompt, so that they have intervals."""
    return circuit(pair_name, task, reading, "ar"), circuit(pair_name, task, reading, "diffusion")


def circuit(pair_name: str, task: str, reading: str, role: str, attention: str | None = None) -> Circuit:
    """The circuit of one of the twins, or of a control by its name; `attention` computes it under another mask."""
    twins = pair(pair_name)
    of = twins.models[role] if role in twins.models else control(pair_name, role)
    own = probe.readings.reading_for(of, reading)
    if attention is not None:
        own = replace(probe.readings.named(reading), attention=attention)
    return attributed(of, twins.ar, task, own)


@st.cache_resource(max_entries=48, hash_funcs=BY_MODEL, show_spinner="Attributing: a backward pass a prompt and step …")
def attributed(of: Model, ar: Model, task: str, reading: Reading) -> Circuit:
    """The circuit of a model on the prompts of an AR model's twins."""
    how = AttributionOptions(example_edges=True)
    return analyses.circuits.attribute(of, prompts(ar, task), reading=reading, steps=STEPS, options=how)


def controls(pair_name: str) -> dict[str, str]:
    """The controls that are declared for a pair: their names, and where they are."""
    entry = Source(pair_name).entry
    return {} if entry is None else dict(entry.controls)


def control(pair_name: str, name: str) -> Model:
    """A control model, given the twin's mask token."""
    found = model(controls(pair_name)[name])
    probe.pairs.lend_mask(found, pair(pair_name).diffusion.mask_id)
    return found


def other_seed(pair_name: str) -> str | None:
    """The control that is one of the twins trained with another seed, if there is one; the diffusion twin's first."""
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
