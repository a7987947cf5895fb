"""Circuits in EAP-IG's own file: its JSON graph, there and back.

    write_json(circuit, "ioi.json", select(circuit, 500))      # Graph.from_json of EAP-IG opens it
    circuit, mask = read_json("ioi.json")

The file has `cfg` (the shape), `nodes` (name → in_graph) and `edges` (name → score, in_graph), an edge being named
`a0.h1->a3.h2<q>`. Both formats name nodes and edges alike, with one exception: EAP-IG gives every query head a key and
a value of its own. A shared key is therefore written once for each head that uses it, its score in equal parts. Reading
adds the parts up, which is exact for files of EAP-IG's own, too (a shared key's gradient is the sum of theirs).

Scores change their sign: ours follow the metric, so that an edge that helps the answer is negative; EAP-IG's follow the
loss, so that it is positive.

EAP-IG also writes `.pt` files. They are pickles, which nothing here opens.

Two entries are ours, and EAP-IG ignores them: `cfg.n_kv_heads`, and `twinprobe`, the circuit's provenance. The file has
no scores of single examples.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph
from probe.errors import ProbeError
from probe.models.checkpoint import PICKLES
from probe.outside_files import FileKind

FILE = FileKind("circuit file", remedy="Pass a graph that EAP-IG or we wrote.", largest=1 << 30, most_keys=5_000_000,
                most_values=20_000_000, finite=False)  # fmt: skip
_EDGE = re.compile(r"(?P<source>[^<>]+)->(?P<target>.+)")
_SHARED = re.compile(r"a(?P<layer>\d+)\.h(?P<head>\d+)<(?P<kind>[kv])>")


def write_json(circuit: Circuit, path: str | Path, mask: NDArray | None = None) -> Path:
    """Write the circuit as EAP-IG does. `mask` selects its edges; None is all."""
    graph = circuit.graph
    if graph.position_roles or graph.directions:
        raise ProbeError(
            "an EAP-IG graph",
            expected="a circuit whose edges are not split by position role or direction",
            found=f"position roles {graph.position_roles}, directions {graph.directions}",
            remedy="EAP-IG has no names for them: pass circuit.joined(), which adds up the parts of each edge.",
        )
    kept = graph.valid if mask is None else mask & graph.valid
    written = {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": circuit.about.d_model,
            "n_kv_heads": graph.n_kv_heads,
        },
        "nodes": {name: {"in_graph": inside} for name, inside in _nodes(graph, kept).items()},
        "edges": _edges(circuit, kept),
        "twinprobe": circuit.about.as_dict(),
    }
    path = Path(path)
    path.write_text(json.dumps(written), "utf-8")
    return path


def read_json(path: str | Path) -> tuple[Circuit, NDArray]:
    """A circuit of mean scores and the mask of the edges that are in it, from a file of EAP-IG's or of ours."""
    read = _opened(Path(path))
    try:
        graph = _graph(read["cfg"])
        if graph.n_sources > 2 + max(len(read["nodes"]), len(read["edges"])):
            found = f"a shape of {graph.n_sources:,} nodes, with {len(read['edges']):,} edges"
            raise _unreadable(path, "the nodes or edges of its shape", found)
        scores, mask = np.zeros(graph.shape), np.zeros(graph.shape, dtype=bool)
        for name, edge in read["edges"].items():
            cell = _cell(graph, name, path)
            scores[cell] -= float(edge["score"])
            mask[cell] |= bool(edge["in_graph"])
    except ProbeError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as fault:
        found = f"{type(fault).__name__}: {fault}"
        raise _unreadable(path, "a shape, and a score and in_graph for each edge", found) from None
    return Circuit(graph, scores, np.zeros((0, len(graph.sources) + 1)), _provenance(read)), mask


def _graph(cfg: dict[str, Any]) -> Graph:
    return Graph.from_fields({**{name: cfg[name] for name in ("n_layers", "n_heads")},
                              "n_kv_heads": cfg.get("n_kv_heads", cfg["n_heads"]),
                              "parallel": bool(cfg.get("parallel_attn_mlp"))})  # fmt: skip


def _nodes(graph: Graph, kept: NDArray) -> dict[str, bool]:
    """The nodes in the graph as EAP-IG counts them: those with an edge on both sides, and always the logits."""
    entered = kept.any(0) @ graph.feeds
    entered[0] = True
    inside = (entered & kept.any(1)).tolist()
    return {**dict(zip(graph.sources, inside, strict=True)), "logits": True}


def _edges(circuit: Circuit, kept: NDArray) -> dict[str, dict[str, Any]]:
    graph = circuit.graph
    found = {}
    for column, target in enumerate(graph.target_values):
        names = [str(target)]
        if target.kind in ("k", "v"):
            names = [f"{head}<{target.kind}>" for head in graph.nodes_of(target)]
        scores, inside = (-circuit.scores[:, column] / len(names)).tolist(), kept[:, column].tolist()
        for name in names:
            for row in range(int(graph.before[column])):
                found[f"{graph.sources[row]}->{name}"] = {"score": scores[row], "in_graph": inside[row]}
    return found


def _cell(graph: Graph, name: str, path: str | Path) -> tuple[int, int]:
    """The matrix cell of an edge of EAP-IG's: a query head's key is the one that the head shares."""
    parts = _EDGE.fullmatch(name)
    if parts is None:
        raise _unreadable(path, "edges named SOURCE->TARGET", repr(name))
    shared = _SHARED.fullmatch(parts["target"])
    target = parts["target"]
    if shared is not None:
        head = int(shared["head"]) * graph.n_kv_heads // graph.n_heads
        target = f"a{shared['layer']}.h{head}<{shared['kind']}>"
    cell = graph.source(parts["source"]), graph.target(target)
    if not graph.valid[cell]:
        raise _unreadable(path, "edges that lead forward", repr(name))
    return cell


def _opened(path: Path) -> dict[str, Any]:
    if path.suffix in PICKLES:
        raise ProbeError(
            f"circuit file {str(path)!r}",
            expected="EAP-IG's JSON graph",
            found=f"its {path.suffix} graph, a pickle, which can run code when it is opened",
            remedy="If you trust it, open it with EAP-IG (Graph.from_pt) and write it with Graph.to_json.",
        )
    read = FILE.json(path)
    missing = [part for part in ("cfg", "nodes", "edges") if not isinstance(read, dict) or part not in read]
    if missing:
        raise _unreadable(path, "the parts cfg, nodes and edges", "no " + ", ".join(missing))
    return read


def _provenance(read: dict[str, Any]) -> Provenance:
    """The provenance in the file; for a file of EAP-IG's, an empty one."""
    unknown: dict[str, Any] = {
        "model": "unknown", "paradigm": "unknown", "task": "unknown", "reading": "unknown", "method": "unknown",
        "steps": 0, "metric": "unknown", "ablation": "unknown", "n": 0, "seed": 0,
        "d_model": int(read["cfg"].get("d_model", 0)),
    }  # fmt: skip
    known = {field.name for field in fields(Provenance)}
    known_of = {name: value for name, value in read.get("twinprobe", {}).items() if name in known}
    return Provenance(**{**unknown, **known_of})


def _unreadable(path: str | Path, expected: str, found: str) -> ProbeError:
    return FILE.refuse(path, expected, found)
