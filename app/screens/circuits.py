"""Circuits: the strongest edges of both twins in one graph, and how faithful a handful of pinned nodes is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analyses import circuits, statistics
from analyses.circuits import Circuit
from analyses.result import Result
from app import component, live, tries
from app.attempt import Try
from app.drawn import Drawn
from app.selection import Selection, chosen
from app.words import plain
from probe.readings import reading_for
from probe.views import View

HEAD = r"L\d+H\d+"
SURE = 0.05  # of q: a change is told of where it is below
KEPT = ("k", "show", "node", "pinned", "groups")


def main() -> None:
    selection = chosen(example=False)
    st.title("Circuits")
    told = took_over(selection)
    st.markdown(f"#### {plain(told.sentence)}")
    st.write(plain(without(selection, told.heads[0])))
    st.caption(plain(told.detail))
    ways = st.container(horizontal=True)
    said = component.show(graph(selection), key="circuits", kept=KEPT, heeded=("node",), live=True)
    node = str(said["chosen"].get("node"))
    heads: list[str] = [*told.heads, *([node] if re.fullmatch(HEAD, node) else [])]
    for head in dict.fromkeys(heads):
        ways.page_link("screens/intervene.py", label=f"Take {head} out of the twin", icon=":material/build:",
                       query_params=without_head(selection, head))  # fmt: skip
    act = said.get("act")
    if act and act.get("act") == "faithfulness":
        st.session_state["pinned"] = (selection, tuple(act["pinned"]))
    asked = st.session_state.get("pinned")
    if asked and asked[0] == selection:
        show_faithfulness(selection, asked[1])
    ar, twin = live.circuits(selection.pair, selection.task, selection.reading)
    with st.expander("How much have the two in common?"):
        found = common(selection)
        st.plotly_chart(found.figure, config={"displaylogo": False})
        st.caption(plain(found.result.caption))
    with st.expander("Every head and MLP, with its interval"):
        st.dataframe(changes(selection).table, hide_index=True)
        st.caption(plain(changes(selection).caption))
    st.caption(
        f"EAP-IG, {live.STEPS} steps, {ar.n} prompts as they come. An edge's score is how much the answer would change "
        f"if the edge carried what the corrupt prompt sends through it: below 0, the answer needs it. "
        f"{plain(ar.about.model)}: {ar.graph.n_edges:,} edges; {plain(twin.about.model)}: the same. The seed null is "
        "the same number in a model that differs in its seed alone."
    )


@dataclass(frozen=True)
class Told:
    """What changed between the twins, in a sentence, and the heads that it names (as the view spells them)."""

    sentence: str
    detail: str
    heads: tuple[str, ...]


def without_head(selection: Selection, node: str) -> dict[str, str]:
    """The query of Intervene's address that sets a head's output to zero in the twin."""
    layer, head = re.findall(r"\d+", node)
    where = {"twins": selection.pair, "on": selection.task, "in": "diffusion", "site": "head output"}
    return {**where, "layer": layer, "head": head, "slot": "every slot", "instead": "zero"}


@st.cache_resource(max_entries=16, show_spinner=False)
def took_over(selection: Selection) -> Told:
    """Which heads contribute more in the twin than in its AR model, and which less."""
    names = [circuit.about.model for circuit in live.circuits(selection.pair, selection.task, selection.reading)]
    table = changes(selection).table
    shown = table.loc[(table["kind"] == "head") & (table["q"] < SURE), :]
    more = shown.loc[(shown["estimate"] < 0) & (shown["diffusion"] < 0), :]
    less = shown.loc[(shown["estimate"] > 0) & (shown["ar"] < 0), :]
    first = [row for part in (more, less) for row in part.head(1).to_dict("records")]
    heads = tuple(f"L{row['layer']}H{row['head']}" for row in first)
    if not heads:
        strongest = table.loc[table["kind"] == "head", :].sort_values("diffusion").iloc[0]
        heads = (f"L{strongest['layer']}H{strongest['head']}",)
        sentence = (
            f"No head of {names[1]} is shown to have taken over from one of {names[0]}; it leans most on {heads[0]}"
        )
    elif len(more) and len(less):
        took, gave = -float(more["estimate"].iloc[0]), float(less["estimate"].iloc[0])
        share = "" if took > gave / 2 else ", but little of it"
        sentence = (
            f"In {names[1]}, {heads[0]} took over from {heads[1]} of {names[0]}{share}: "
            f"it gained {took:.2f} and {heads[1]} lost {gave:.2f}"
        )
    elif len(more):
        sentence = f"{names[1]} leans more on {heads[0]} than {names[0]} does, and on no head less"
    else:
        sentence = f"{names[1]} leans less on {heads[0]} than {names[0]} does, and on no head more"
    return Told(sentence, _ranked(shown if len(shown) else table, names), heads)


def without(selection: Selection, node: str) -> str:
    """What is left of the twin's answer when a head's output is 0."""
    layer, head = (int(number) for number in re.findall(r"\d+", node))
    taken = Try("diffusion", "z", layer, head, None, "zero")
    model = live.pair(selection.pair).diffusion.name
    return f"Without {node}, {tries.sentence(model, tries.effect(selection, taken))}."


def _ranked(table: pd.DataFrame, names: list[str]) -> str:
    """The heads with the largest changes, each with both scores and the change's interval."""
    heads = table[table["kind"] == "head"].head(4)
    each = [
        f"L{row['layer']}H{row['head']} {row['ar']:+.2f} → {row['diffusion']:+.2f} (change {row['estimate']:+.2f} "
        f"[{row['low']:+.2f}, {row['high']:+.2f}])"
        for _, row in heads.iterrows()
    ]
    told = f"Heads by how much their score changed, {names[0]} → {names[1]} (below 0, the answer needs the head): "
    return (told + "; ".join(each)).replace("-", "−")


@st.cache_resource(max_entries=16, show_spinner=False)
def changes(selection: Selection) -> Result:
    return circuits.node_changes(*live.circuits(selection.pair, selection.task, selection.reading))


@st.cache_data(max_entries=16, show_spinner=False)
def graph(selection: Selection) -> View:
    where = (selection.pair, selection.task, selection.reading)
    other = live.other_seed(selection.pair)
    seed = live.circuit(*where, other) if other else None
    return circuits.graph_view(*live.circuits(*where), seed=seed, seed_of=int(not (other or "ar").startswith("ar")))


@st.cache_resource(max_entries=16, show_spinner=False)
def common(selection: Selection) -> Drawn:
    found = circuits.compare(*live.circuits(selection.pair, selection.task, selection.reading))
    return Drawn(found, titled=True)


def show_faithfulness(selection: Selection, names: tuple[str, ...]) -> None:
    """How much of each model's answer the pinned nodes alone keep: 1 is all of it, 0 none."""
    st.subheader("The pinned nodes alone")
    st.dataframe(faithful(selection, names), hide_index=True)
    st.caption(
        f"All edges between {plain(', '.join(names))}, the input and the logits run as they are; every other edge "
        "carries what the corrupt prompt would send. 1: as on the clean prompt; 0: as on the corrupt one. "
        "Intervals are 95%, over prompts."
    )


@st.cache_data(max_entries=32, show_spinner="Running the pinned nodes alone …")
def faithful(selection: Selection, names: tuple[str, ...]) -> pd.DataFrame:
    twins, prompts, _ = live.of(selection)
    both = live.circuits(selection.pair, selection.task, selection.reading)
    rows = []
    for model, circuit in zip((twins.ar, twins.diffusion), both, strict=True):
        kept = between(circuit, names)
        alone = circuits.Isolated(circuit.graph, kept[None])
        run = circuits.isolated_run(model, prompts, alone, reading=reading_for(model, selection.reading))
        found = statistics.bootstrap(run.faithfulness, len(run.whole), kind="percentile", seed=0)
        figures = {name: float(np.ravel(getattr(found, name))[0]) for name in ("estimate", "low", "high")}
        rows.append({"model": model.name, "edges": int(kept.sum()), "prompts": len(run.whole), **figures})
    return pd.DataFrame(rows)


def between(circuit: Circuit, names: Sequence[str]) -> np.ndarray:
    """The mask of all edges between the named nodes, the input and the logits."""
    graph_of, kept = circuit.graph, {"input", *map(_source, names)}
    sources = np.array([name in kept for name in graph_of.sources])
    targets = np.array([not (of := graph_of.nodes_of(read)) or bool(kept & set(of)) for read in graph_of.target_values])
    return graph_of.valid & sources[:, None] & targets[None]


def _source(label: str) -> str:
    """A node's name in the graph from its label in the view."""
    if head := re.fullmatch(r"L(\d+)H(\d+)", label):
        return f"a{head[1]}.h{head[2]}"
    if mlp := re.fullmatch(r"MLP (\d+)", label):
        return f"m{mlp[1]}"
    return label


main()
