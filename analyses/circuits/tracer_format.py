"""Circuits as attribution graphs: the JSON that circuit-tracer's viewer and Neuronpedia draw.

    write_graph(circuit, "graphs", k=200, prompt=["Then", "Anna", …])     # graphs/SLUG.json, and its entry in the index

The viewer was made for features of transcoders, each at one token. Here a node is a head or an MLP, summed over
positions, so all of them are put at the last token, one row per layer: heads by number, then the MLP. A link is the sum
of a target's query, key and value edges with the opposite sign, since in the viewer a positive weight helps the answer
and here a negative score does. `influence`, by which the viewer's slider prunes, is the cumulative share of importance
of a node and all more important ones.

The viewer lists the graphs in `graph-metadata.json` of the folder that it serves; an entry with the same slug is
replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyses.circuits.circuit import Circuit
from probe.errors import ProbeError
from probe.outside_files import FileKind, is_there

INDEX = "graph-metadata.json"
FILE = FileKind("index of graphs", remedy="Choose another folder, or mend it.", largest=1 << 26)
_NODE = re.compile(r"a(?P<layer>\d+)\.h(?P<head>\d+)|m(?P<mlp>\d+)")
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,100}")
ANYWHERE = "(all positions)"


def write_graph(
    circuit: Circuit, folder: str | Path, *, k: int = 200, slug: str | None = None, prompt: Sequence[str] = (ANYWHERE,)
) -> Path:
    """Write the strongest k edges of a circuit as `folder/SLUG.json`, and enter it in the folder's index.

    slug    letters, digits, - and _; the model's and the task's names unless given
    prompt  the tokens of a prompt, as words, to be shown below the graph
    """
    about = circuit.about
    chosen = slug or re.sub(r"[^A-Za-z0-9_-]+", "-", f"{about.model}-{about.task}").strip("-")
    if not _SLUG.fullmatch(chosen) or not prompt or not all(isinstance(word, str) for word in prompt):
        raise ProbeError(
            "a graph for circuit-tracer's viewer",
            expected="a slug of letters, digits, - and _, and a prompt of at least one word",
            found=f"{chosen!r}, {list(prompt)[:3]!r}",
            remedy="For example slug='masked-ioi', prompt=['Then', 'Anna'].",
        )
    joined = circuit.joined() if circuit.graph.position_roles or circuit.graph.directions else circuit
    written = as_graph(joined, k, chosen, list(prompt))
    folder = Path(folder)
    known = _index(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{chosen}.json"
    path.write_text(json.dumps(written, ensure_ascii=False), "utf-8")
    others = [one for one in known if not (isinstance(one, dict) and one.get("slug") == chosen)]
    index = {"graphs": [*others, written["metadata"]]}
    (folder / INDEX).write_text(json.dumps(index, ensure_ascii=False), "utf-8")
    return path


def as_graph(circuit: Circuit, k: int, slug: str, prompt: list[str]) -> dict[str, Any]:
    """The content of the file."""
    weights: dict[tuple[str, str], float] = {}
    for source, target, score in circuit.top(min(k, circuit.graph.n_edges))[["source", "target", "score"]].to_numpy():
        link = (str(source), str(target).partition("<")[0])
        weights[link] = weights.get(link, 0.0) - float(score)
    names = list(dict.fromkeys(["input", *(name for link in weights for name in link), "logits"]))
    influence = _influence(names, weights)
    at = len(prompt) - 1
    nodes = {name: _node(name, circuit, at, influence[name]) for name in names}
    links = [
        {"source": nodes[source]["node_id"], "target": nodes[target]["node_id"], "weight": weight}
        for (source, target), weight in weights.items()
    ]
    metadata = {"slug": slug, "scan": circuit.about.model, "transcoder_list": [], "prompt_tokens": prompt,
                "prompt": " ".join(prompt), "node_threshold": None, "schema_version": 1}  # fmt: skip
    q_params = {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""}
    return {"metadata": metadata, "qParams": q_params, "nodes": list(nodes.values()), "links": links}


def _node(name: str, circuit: Circuit, at: int, influence: float) -> dict[str, Any]:
    """A node in the viewer's form: its position, its name, and how it is drawn."""
    graph, about = circuit.graph, circuit.about
    shared = {"ctx_idx": at, "run_idx": 0, "reverse_ctx_idx": 0, "token_prob": 0.0, "is_target_logit": False,
              "influence": influence, "activation": None}  # fmt: skip
    if name == "input":
        return {**shared, "node_id": f"E_0_{at}", "jsNodeId": f"E_0-{at}", "feature": at, "layer": "E",
                "feature_type": "embedding", "clerp": "input"}  # fmt: skip
    if name == "logits":
        layer = graph.n_layers + 1
        return {**shared, "node_id": f"{layer}_0_{at}", "jsNodeId": f"L_0-{at}", "feature": 0, "layer": str(layer),
                "feature_type": "logit", "is_target_logit": True,
                "clerp": f"{about.metric} on {about.task}"}  # fmt: skip
    found = _NODE.fullmatch(name)
    assert found is not None  # the graph names its own nodes
    layer = int(found["layer"] or found["mlp"] or 0)
    turn = graph.n_heads if found["head"] is None else int(found["head"])
    return {**shared, "node_id": f"{layer}_{turn}_{at}", "jsNodeId": f"{layer}_{turn}-0",
            "feature": (layer + turn) * (layer + turn + 1) // 2 + turn, "layer": str(layer),
            "feature_type": "cross layer transcoder", "clerp": name}  # fmt: skip


def _influence(names: list[str], weights: dict[tuple[str, str], float]) -> dict[str, float]:
    """For each node, the share of all importance that it and all more important nodes have."""
    size = dict.fromkeys(names, 0.0)
    for (source, target), weight in weights.items():
        size[source] += abs(weight)
        size[target] += abs(weight)
    size["logits"] = max(size.values(), default=0.0) + 1  # never pruned
    ordered = sorted(names, key=lambda name: -size[name])
    importance = np.array([0.0 if name == "logits" else size[name] for name in ordered])
    total = max(float(importance.sum()), 1e-30)
    return dict(zip(ordered, (importance.cumsum() / total).tolist(), strict=True))


def _index(folder: Path) -> list[Any]:
    """The graphs that a folder lists already."""
    if not is_there(folder / INDEX):
        return []
    graphs = FILE.object(folder / INDEX).get("graphs")
    if not isinstance(graphs, list):
        raise FILE.refuse(folder / INDEX, "a list called graphs", type(graphs).__name__)
    return graphs
