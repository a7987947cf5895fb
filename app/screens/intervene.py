"""Intervene: change an activation of one twin, and see what else changes.

A cell of the first grid is dragged onto a cell of the second: the first model's activation there is patched into the
other. Or a cell of the second grid is clicked and zeroed, set to its mean, scaled or steered. The third grid shows what
changed, and hatches cells that the change cannot reach. Tries are listed with their effect on all prompts.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analyses import lens
from app import component, live, tries, tries_in_a_run
from app.attempt import DEEDS, EMBEDDING, SITES, SOURCES, Try
from app.selection import Selection, chosen
from app.words import plain
from probe.models.model import Model
from probe.tasks import Batch
from probe.views import View

EVERY, SAME = "every slot", "the same"
HELP = "; ".join(f"{deed}: {what}" for deed, what in DEEDS.items())
BUTTONS = [["zero", "zero it"], ["mean", "mean over prompts"], ["patch", "patch from the first grid"],
           ["scale", "scale it"], ["steer", "steer it"]]  # fmt: skip
HINT = (
    "Drag a cell of the first grid onto a cell of the second to patch its activation in. Or click a cell of the second "
    "grid and choose an intervention."
)
STEPWISE = (
    "One state of the text is changed and read. With the reading “trajectory” the model writes by itself, and can be "
    "changed at some steps of its writing alone."
)
Tries = dict[tuple[Selection, Try], dict[str, Any]]


def main() -> None:
    selection = chosen()
    st.title("Intervene")
    twins, prompts, _ = live.of(selection)
    settle()
    wanted = asked(twins.ar, prompts, selection)
    table = tries.effect(selection, wanted)
    model = twins.models[wanted.role]
    st.markdown(f"#### {plain(f'{wanted.place()} ← {wanted.what()}: {tries.sentence(model.name, table)}')}")
    said = component.show(changed(selection, wanted), key="intervene", drag=True, deeds=BUTTONS, hint=HINT)
    if act := said.get("act"):
        follow(act, wanted)
        st.rerun()
    remember(selection, wanted, table)
    history(selection)


def settle() -> None:
    """Set the widgets to what a drag or a click requested, before they are drawn."""
    for key, value in st.session_state.pop("wanted", {}).items():
        st.session_state[key] = value


def follow(act: dict[str, Any], now: Try) -> None:
    """Turn an action in the view into values of the widgets. Row r of a grid is the residual stream after r layers."""
    to = act["to"]
    residual = now.site == "resid_post"
    layer = int(to["layer"]) - 1
    values: dict[str, Any] = {"layer": layer if residual else max(0, layer), "slot": str(int(to["slot"]))}
    if act["act"] == "patch":
        start = act["from"]
        taken = int(start["layer"]) - 1
        values |= {"instead": "patch", "from_layer": str(taken if residual else max(0, taken)),
                   "from_slot": str(int(start["slot"]))}  # fmt: skip
    elif act["deed"] in DEEDS:
        values |= {"instead": act["deed"], "from_layer": SAME, "from_slot": SAME}
    st.session_state["wanted"] = values


def asked(model: Model, prompts: Batch, selection: Selection) -> Try:
    """The intervention that the widgets describe."""
    first = st.columns([1, 1.6, 1.8, 2.2])
    bound: Any = {"bind": "query-params"}
    role = str(first[0].selectbox("In the", ["diffusion", "ar"], key="in", **bound))
    site = SITES[str(first[1].selectbox("Site", list(SITES), key="site", **bound))]
    deed = str(first[2].selectbox("Put there", list(DEEDS), key="instead", **bound, help=HELP))
    source = SOURCES[str(first[3].selectbox("Patch from (first grid)", list(SOURCES), key="source", **bound))]
    lowest = EMBEDDING if site == "resid_post" else 0
    layers = [str(layer) for layer in range(lowest, model.n_layers)]
    slots = [str(slot) for slot in range(prompts.clean.shape[1])]
    second = st.columns(6)
    layer = int(second[0].number_input("Layer", lowest, model.n_layers - 1, **at_first("layer", 0), **bound))
    head = None
    if site == "z":
        head = int(second[1].number_input("Head", 0, model.n_heads - 1, **at_first("head", 0), **bound))
    start = 1 + int(prompts.positions["corrupted"][0, 0])  # where the corrupt prompt first differs
    slot = str(second[2].selectbox("Slot", [EVERY, *slots], **at_first("slot", start, "index"), **bound))
    from_layer = from_slot = SAME
    amount = 1.0
    if deed == "patch":
        from_layer = str(second[3].selectbox("From layer", [SAME, *layers], key="from_layer", **bound))
        from_slot = str(second[4].selectbox("From slot", [SAME, *slots], key="from_slot", **bound))
    if deed in ("scale", "steer"):
        said = second[5].number_input("How much", -20.0, 20.0, step=0.5, **at_first("amount", 2.0), **bound)
        amount = amount if said is None else float(said)
    return Try(
        role, site, layer, head, None if slot == EVERY else int(slot), deed, source,
        None if from_layer == SAME else int(from_layer),
        None if from_slot == SAME or slot == EVERY else int(from_slot), amount, chosen_steps(selection, role),
    )  # fmt: skip


def chosen_steps(selection: Selection, role: str) -> tuple[int, int | None] | None:
    """The steps of the run at which it is changed; None for every one, and where the text is not the model's own."""
    if not tries.in_a_run(selection):
        if live.of(selection)[1].positions["completion"].shape[1] > 1:
            st.caption(STEPWISE)
        return None
    count = tries_in_a_run.steps(selection, role)
    if count == 1:
        return None
    before = st.session_state.get("steps")
    if before and before[1] > count:  # another model or task, which takes fewer steps
        del st.session_state["steps"]
    start, end = st.slider("Steps of its own writing at which it is changed", 1, count, **at_first("steps", (1, count)),
                           bind="query-params")  # fmt: skip
    return None if (start, end) == (1, count) else (start - 1, None if end == count else end - 1)


def at_first(key: str, value: object, name: str = "value") -> dict[str, Any]:
    """A widget's key, and its first value unless a drag or a click has set it."""
    return {"key": key} if key in st.session_state else {"key": key, name: value}


@st.cache_data(max_entries=32, show_spinner="Running it changed …")
def changed(selection: Selection, wanted: Try) -> View:
    twins, prompts, example = live.of(selection)
    one = prompts[example : example + 1]
    model = twins.models[wanted.role]
    role, which = wanted.taken_from
    return lens.before_and_after(
        model,
        prompts,
        example,
        [tries.edit_of(selection, wanted, one)],
        reading=tries.reading_of(model, selection),
        beside=lens.Beside(twins.models[role], which),
        cell=(wanted.row, wanted.slot),
    )


def remember(selection: Selection, wanted: Try, table: pd.DataFrame) -> None:
    known: Tries = st.session_state.setdefault("tries", {})
    if (selection, wanted) in known:
        return
    known[selection, wanted] = {
        "model": live.pair(selection.pair).models[wanted.role].name, "task": selection.task,
        "where": wanted.place(), "put there": wanted.what(),
        "margin": tries.told(table, "margin", "before"), "after": tries.told(table, "margin", "after"),
        "difference": tries.told(table, "margin", "after − before"),
        "right": " → ".join(f"{share:.0%}" for share in table[table["measure"] == "answered right"]["estimate"][:2]),
    }  # fmt: skip


def history(selection: Selection) -> None:
    """All tries of this session, the last first; choosing a row repeats it."""
    known: Tries = st.session_state["tries"]
    st.subheader("Tries")
    picked = st.dataframe(pd.DataFrame(list(reversed(known.values()))), hide_index=True, key="history",
                          on_select="rerun", selection_mode="single-row")  # fmt: skip
    st.caption(
        "Margin: the answer's logit minus the distractor's, at the answer's slot. In the third grid, hatched cells are "
        "those that the change cannot reach: in a causal model all slots to its left, under full attention no slot of "
        "a later layer. Choose a row to go back to that try."
    )
    rows = list(picked.get("selection", {}).get("rows", [])) if isinstance(picked, dict) else []
    again = (len(known), *rows)
    if rows and rows[0] < len(known) and st.session_state.get("again") != again:
        st.session_state["again"] = again
        go_back(selection, list(known)[len(known) - 1 - rows[0]][1])
    if st.button("Forget them"):
        known.clear()
        st.rerun()


def named(names: dict[str, str], value: str) -> str:
    """What the widgets call a value."""
    return next(name for name, one in names.items() if one == value)


def go_back(selection: Selection, to: Try) -> None:
    values: dict[str, Any] = {"in": to.role, "site": named(SITES, to.site), "layer": to.layer, "instead": to.deed,
                              "source": named(SOURCES, to.source),
                              "slot": EVERY if to.slot is None else str(to.slot)}  # fmt: skip
    if to.head is not None:
        values["head"] = to.head
    if to.deed == "patch":
        values |= {"from_layer": SAME if to.from_layer is None else str(to.from_layer),
                   "from_slot": SAME if to.from_slot is None else str(to.from_slot)}  # fmt: skip
    if to.deed in ("scale", "steer"):
        values["amount"] = to.amount
    st.session_state.pop("steps", None)
    if to.steps is not None and tries.in_a_run(selection):
        first, last = to.steps
        values["steps"] = (first + 1, tries_in_a_run.steps(selection, to.role) if last is None else last + 1)
    st.session_state["wanted"] = values
    st.rerun()


main()
