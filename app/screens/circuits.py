"""Circuits: the strongest edges of both twins in one graph, and how faithful a handful of pinned nodes is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from analyses import circuits, statistics
from analyses.circuits import Circuit
from analyses.result import Result
from app import component, live
from app.selection import Selection, chosen
from app.words import plain
from probe.readings import reading_for
from probe.views import View


def main() -> None:
    selection = chosen(example=False)
    st.title("Circuits")
    said = component.show(graph(selection), key="circuits", live=True)
    act = said.get("act")
    if act and act.get("act") == "faithfulness":
        st.session_state["pinned"] = (selection, tuple(act["pinned"]))
    asked = st.session_state.get("pinned")
    if asked and asked[0] == selection:
        show_faithfulness(selection, asked[1])
    ar, twin = live.circuits(selection.pair, selection.task, selection.reading)
    with st.expander("How much have the two in common?"):
        found = common(selection)
        st.plotly_chart(found.figure(), config={"displaylogo": False})
        st.caption(plain(found.caption))
    st.caption(
        f"EAP-IG, {live.STEPS} steps, {ar.n} prompts as they come. An edge's score is how much the answer would lose "
        f"if the edge carried what the corrupt prompt sends through it. {plain(ar.about.model)}: "
        f"{ar.graph.n_edges:,} edges; {plain(twin.about.model)}: the same."
    )


@st.cache_data(max_entries=16, show_spinner=False)
def graph(selection: Selection) -> View:
    return circuits.graph_view(*live.circuits(selection.pair, selection.task, selection.reading))


@st.cache_resource(max_entries=8, show_spinner=False)
def common(selection: Selection) -> Result:
    return circuits.compare(*live.circuits(selection.pair, selection.task, selection.reading))


def show_faithfulness(selection: Selection, names: tuple[str, ...]) -> None:
    """What the pinned nodes alone keep of each model's answer: 1 is all of it, 0 none."""
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
