"""Write: models side by side on one prompt. Each canvas shows every forward pass; a token can be changed by hand."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from typing import Any

import streamlit as st
import torch

from app import component, live
from app.words import plain, tell
from probe.decoding import ELASTIC, ORDERS, PassOptions, Trajectory, decode, fill, rule_for, writer_of
from probe.decoding.candidates import Candidates
from probe.decoding.with_candidates import with_candidates
from probe.errors import ProbeError
from probe.models.model import Model
from probe.models.unknown_words import UnknownWordWarning

MODELS = ("zoo:ar", "zoo:masked", "zoo:block", "zoo:fluid", "zoo:flow", "zoo:flow-map")
PROMPT = "When Luke and Keith went to the museum ,"
LONGEST = 64

Watched = tuple[Trajectory, Candidates | None]


def main() -> None:
    st.title("Write")
    with st.sidebar:
        names = st.multiselect(
            "Models", MODELS, ["zoo:ar", "zoo:masked"], key="models", bind="query-params", persist_state="session"
        )
        length = st.slider("Tokens to write", 1, LONGEST, 6, key="length", bind="query-params", persist_state="session")
        seed = st.number_input("Seed", 0, 9999, 0, key="seed", bind="query-params", persist_state="session")
    prompt = st.text_input("Prompt", PROMPT, key="prompt", bind="query-params", persist_state="session", max_chars=2000)
    if not names:
        st.info("Choose a model on the left.")
    columns = st.columns(min(2, max(1, len(names))))
    for turn, name in enumerate(names):
        with columns[turn % len(columns)].container(border=True):
            try:
                one(name, prompt, int(length), int(seed))
            except ProbeError as problem:
                tell(problem)


def one(name: str, prompt: str, length: int, seed: int) -> None:
    """A model's run: its options, its canvas, and what was changed by hand."""
    model = live.model(name)
    asked = knobs(name, model)
    where = f"hand {name}"
    tokens = encoded(model, prompt)
    began = (prompt, length, seed, tuple(sorted(asked.items())))
    edits: dict[str, Any] = st.session_state.setdefault(where, {})
    if edits.get("began") != began:  # another run: what was changed by hand belonged to the last one
        edits.clear()
        edits.update(began=began, now=run(name, tuple(tokens.tolist()), length, seed, tuple(asked.items())), told="")
    (trajectory, candidates), told = edits["now"], edits["told"]
    shown = trajectory.view(candidates=candidates, title=name)
    said = component.show(shown, key=f"canvas_{name}", kept=("step", "slot"), live=True)
    if told:
        left, right = st.columns([4, 1])
        left.caption(plain(told))
        if right.button("Undo all", key=f"undo {name}"):
            edits.clear()
            st.rerun()
    act = said.get("act")
    if act:
        edits["now"], edits["told"] = changed(model, trajectory, act, asked, seed)
        st.rerun()


@st.cache_resource(max_entries=32, show_spinner="Writing …")
def run(name: str, tokens: tuple[int, ...], length: int, seed: int, asked: tuple[tuple[str, Any], ...]) -> Watched:
    """A run with the most likely tokens of every slot; `length` 0 fills the masks in the text itself."""
    model = live.model(name)
    own: Any = rule_for(model)
    rule = replace(own, **dict(asked))
    prompt = torch.tensor(tokens)
    if writer_of(model).in_strides:  # passes that are listened to show one text each: strides would lose their speed
        return decode(model, prompt, length, sampler=rule, seed=seed), None

    def write(passes: PassOptions) -> Trajectory:
        if length == 0:
            return fill(model, prompt, sampler=rule, seed=seed, passes=passes)
        return decode(model, prompt, length, sampler=rule, seed=seed, passes=passes)

    return with_candidates(model, write)


def changed(
    model: Model, trajectory: Trajectory, act: dict[str, Any], asked: dict[str, Any], seed: int
) -> tuple[Watched, str]:
    """The run that continues from a step after a token was written, masked again, or left as it was."""
    step, slot = int(act["step"]), int(act["slot"])
    state = trajectory.states[step] if step < len(trajectory) else trajectory.tokens
    word = ""
    if model.paradigm.name in ("masked", "block"):
        text = state.clone()
        if act["act"] == "write":
            text[slot] = int(act["token"])
            word = str(model.tokenizer.decode([int(act["token"])]))
        elif act["act"] == "mask":
            text[slot] = int(model.paradigm.given_mask())
        length = 0
    else:  # what is written from left to right, or at once, goes on behind what is kept
        text = trajectory.tokens[:slot]
        if act["act"] == "write":
            text = torch.cat([text, torch.tensor([int(act["token"])])])
            word = str(model.tokenizer.decode([int(act["token"])]))
        length = len(trajectory.tokens) - len(text)
    told = {
        "write": f"{word.strip()!r} was written at slot {slot} by hand; the run continues from pass {step + 1}",
        "mask": f"slot {slot} was masked again",
        "rewind": f"the run continues from pass {step + 1}",
    }[act["act"]]
    if length == 0 and not bool((text == model.mask_id).any()):
        return (trajectory, None), "every slot is written: nothing is left to continue"
    found = run(model.name, tuple(text.tolist()), length, seed, tuple(asked.items()))
    return found, told


def encoded(model: Model, prompt: str) -> torch.Tensor:
    """The prompt's tokens; words that the model does not know are named."""
    with warnings.catch_warnings(record=True, action="always", category=UnknownWordWarning) as unknown:
        tokens = model.encode(prompt)[0]
    for one_word in unknown:
        st.warning(plain(one_word.message))
    return tokens


def knobs(name: str, model: Model) -> dict[str, Any]:
    """The options of the model's own sampler, as the reader set them."""
    rule: Any = rule_for(model)
    known = {field.name for field in fields(rule)}
    asked: dict[str, Any] = {}
    with st.sidebar.expander(plain(f"{name}: {model.paradigm.name}")):
        if "order" in known:
            asked["order"] = st.selectbox("Order", ORDERS, key=f"order {name}")
        if "steps" in known:
            steps = st.number_input(
                "Forward passes (0: one per token)", 0, 128, 0 if "order" in known else 16, key=f"steps {name}"
            )
            asked["steps"] = int(steps) or None
        if (
            "threshold" in known
            and "order" in known
            and st.checkbox("Write all tokens above confidence", key=f"sure {name}")
        ):
            asked["threshold"] = st.slider("Threshold", 0.1, 0.99, 0.9, key=f"threshold {name}")
            asked["steps"] = None
        if "temperature" in known:
            asked["temperature"] = st.slider("Temperature", 0.0, 2.0, 0.0, key=f"temperature {name}")
        if "verify" in known:
            elastic = st.checkbox("Elastic strides", "horizon" in model.attachments, key=f"elastic {name}")
            fixed = st.slider("Drafts a stride", 1, 16, 8, key=f"stride {name}", disabled=elastic)
            asked["length"] = ELASTIC if elastic else int(fixed)
            asked["verify"] = st.checkbox("Check drafts against autoregression", True, key=f"verify {name}")
    own = {field.name: getattr(rule, field.name) for field in fields(rule)}
    return {key: value for key, value in asked.items() if value != own.get(key)}


main()
