"""A circuit: how much each edge and node of a model matters to its answer, with the task and reading.

    circuit.edges          source, target, score, and the layers and kinds at both ends; strongest first
    circuit.nodes          node, layer, head, kind, score
    circuit.top(1000)      the strongest edges; `circuit.mask(1000)` says the same as a matrix
    circuit.importance(k)  each node's sum over the edges that it has among the strongest k
    circuit.per_example    (examples, nodes): the nodes' scores prompt by prompt, to resample without another pass
    circuit.weighted(w)    the edge scores under other weights of the examples; needs per-example edges
    circuit.joined()       the same circuit with the parts of edges split by position role or direction added up

A score is how much the answer's metric changes if the edge carries its activation from the corrupt run: to first order,
(z_corrupt - z_clean) · ∂M/∂input, or exactly, by patching. *Negative scores help the answer, positive ones hurt it.*
Scores are means over examples. The matrix behind the table is `scores` (sources × targets, 0 where there is no
edge), laid out by `graph`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.circuits.graph import Graph
from analyses.statistics.finite import refuse_not_finite
from probe.errors import ProbeError
from probe.outside_files import FileKind, cut

FILE = FileKind("circuit file", remedy="Attribute again, and save the circuit anew.", finite=False)
By = Literal["abs", "signed"]

ARRAYS = ("scores", "per_example", "by_example", "neurons", "experts")
_DENSE = "example_edges"  # the name of edge scores by example in files made before 0.2, as matrices
_SHOWN = 10  # edges in a notebook
_UNSHOWN = ("other", "d_model", "from_nothing")  # of a circuit's provenance


@dataclass(frozen=True)
class Provenance:
    """Where a circuit comes from: the model, the task and reading, and how the scores were made."""

    model: str
    paradigm: str
    task: str
    reading: str
    method: str
    steps: int
    metric: str
    ablation: str
    n: int
    seed: int  # of the batch
    scope: str = ""
    clean: float = float("nan")  # the metric on clean prompts, mean over examples
    corrupt: float = float("nan")
    d_model: int = 0  # the width of the stream; 0 if not known
    points: str = "1..m"  # of the path of integration (AttributionOptions.points)
    from_nothing: bool = False  # the diffusion model was trained without an AR model's weights
    other: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_REQUIRED = {one.name for one in fields(Provenance) if one.default is MISSING and one.default_factory is MISSING}


@dataclass(frozen=True, eq=False)
class Circuit:
    """Scores of a graph's edges and nodes.

    `by_example` (with `example_edges=True`) has each edge's score in each example, (examples × edges), the edges in the
    order of `scores[graph.valid]`: half a gigabyte for 256 prompts of a model of 28 × 28 heads. It may be a
    memory-mapped array.
    """

    graph: Graph
    scores: NDArray
    per_example: NDArray
    about: Provenance
    by_example: NDArray | None = None
    neurons: NDArray | None = None  # (examples, layers, neurons), if requested
    experts: NDArray | None = None  # (examples, layers, experts), if requested

    def __post_init__(self) -> None:
        what, graph, examples = f"the circuit of {self.about.model!r}", self.graph, range(len(self.per_example))
        edges = {"source": graph.sources, "target": graph.targets}
        refuse_not_finite(f"{what}: edge scores", self.scores, edges)
        refuse_not_finite(
            f"{what}: node scores", self.per_example, {"example": examples, "node": (*graph.sources, "logits")}
        )
        if self.by_example is not None:
            _refuse_not_finite_edges(what, self.by_example, graph)

    def __repr__(self) -> str:
        about = self.about
        return f"Circuit({about.model} on {about.task} [{about.reading}]: {self.graph.n_edges} edges by {about.method})"

    def _repr_html_(self) -> str:
        """For a notebook: where the circuit comes from, and its strongest edges. Every text is escaped."""
        about = {name: value for name, value in self.about.as_dict().items() if name not in _UNSHOWN}
        facts = "".join(f"<tr><th>{escape(name)}</th><td>{_shown(value)}</td></tr>" for name, value in about.items())
        top = self.top(min(_SHOWN, self.graph.n_edges)).loc[:, ["source", "target", "score"]]
        rows = "".join(
            "<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row) + "</tr>"
            for row in top.itertuples(index=False)
        )
        return (
            f"<b>{escape(repr(self))}</b><table><tbody>{facts}</tbody></table>"
            f"<table><thead><tr><th>source</th><th>target</th><th>score</th></tr></thead><tbody>{rows}</tbody></table>"
        )

    @cached_property
    def edges(self) -> pd.DataFrame:
        """Every edge, strongest first."""
        frame = self.graph.frame()
        frame.insert(2, "score", self.scores[self.graph.valid])
        return frame.iloc[np.argsort(-np.abs(frame["score"].to_numpy()), kind="stable")].reset_index(drop=True)

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """Every node with its own score: how much the metric changes if its output is that of the corrupt run."""
        frame = self.graph.nodes()
        within = [_rows_within(kind, found) for kind, found in self._within()]
        frame = pd.concat([frame, *within], ignore_index=True) if within else frame
        return frame.assign(score=self.per_node.mean(axis=0))

    @property
    def per_node(self) -> NDArray:
        """(examples, rows of `nodes`): `per_example`, followed by neurons or experts if there are any."""
        within = [found.reshape(len(found), -1) for _, found in self._within()]
        return np.concatenate([self.per_example, *within], axis=1) if within else self.per_example

    def _within(self) -> list[tuple[str, NDArray]]:
        """Neurons or experts, if they were scored."""
        known = (("neuron", self.neurons), ("expert", self.experts))
        return [(kind, found) for kind, found in known if found is not None]

    @property
    def n(self) -> int:
        return len(self.per_example)

    @property
    def example_edges(self) -> NDArray | None:
        """`by_example` as matrices, (examples, sources, targets), computed at each call: twice as large, half of it
        0."""
        if self.by_example is None:
            return None
        found = np.zeros((len(self.by_example), *self.graph.shape), self.by_example.dtype)
        found[:, self.graph.valid] = self.by_example
        return found

    def order(self, by: By = "abs") -> NDArray:
        """The edges' cells (as indices into the flattened matrix), strongest first.

        "signed" begins with the edges that help the answer most, with the most negative scores.
        """
        cells = np.flatnonzero(self.graph.valid)
        scores = self.scores.ravel()[cells]
        return cells[np.argsort(-np.abs(scores) if by == "abs" else scores, kind="stable")]

    def mask(self, k: int, by: By = "abs") -> NDArray:
        """The strongest k edges as a mask of the matrix."""
        _refuse_more(k, self.graph.n_edges)
        mask = np.zeros(self.graph.valid.size, dtype=bool)
        mask[self.order(by)[:k]] = True
        return mask.reshape(self.graph.shape)

    def top(self, k: int, by: By = "abs") -> pd.DataFrame:
        """The strongest k edges."""
        frame = self.graph.frame(self.mask(k, by))
        frame.insert(2, "score", self.scores[self.mask(k, by)])
        strength = -np.abs(frame["score"].to_numpy()) if by == "abs" else frame["score"].to_numpy()
        return frame.iloc[np.argsort(strength, kind="stable")].reset_index(drop=True)

    def importance(self, k: int | None = None) -> pd.DataFrame:
        """Each node's s(v): the sum of the scores of its incoming and outgoing edges among the strongest k."""
        kept = self.scores * self.graph.valid if k is None else self.scores * self.mask(k)
        sums = np.append(kept.sum(1) + kept.sum(0) @ self.graph.feeds, kept[:, self._to_logits].sum())
        return self.graph.nodes().assign(score=sums)

    def weighted(self, weights: NDArray) -> NDArray:
        """Edge scores under other weights of the examples: (…, examples) gives (…, sources, targets)."""
        refuse_means_only(self)
        assert self.by_example is not None
        found = np.zeros((*np.shape(weights)[:-1], *self.graph.shape), np.float32)
        found[..., self.graph.valid] = np.tensordot(weights, self.by_example, axes=1)
        return found

    def ends(self, mask: NDArray) -> tuple[NDArray, NDArray]:
        """Each example's sums over a mask's edges, by the node that they leave and by the target that they enter."""
        refuse_means_only(self)
        assert self.by_example is not None
        source, target = np.nonzero(mask & self.graph.valid)
        scores = self.by_example[:, self.graph.numbers[source, target]].astype(np.float64)
        out, into = (np.zeros((self.n, size)) for size in self.graph.shape)
        np.add.at(out.T, source, scores.T)
        np.add.at(into.T, target, scores.T)
        return out, into

    def __getitem__(self, examples: slice | NDArray) -> Circuit:
        """The circuit of some of the examples; needs per-example edges."""
        refuse_means_only(self)
        assert self.by_example is not None
        edges = self.by_example[examples]
        scores = np.zeros(self.graph.shape)
        scores[self.graph.valid] = edges.mean(0, dtype=np.float64)
        return replace(
            self,
            scores=scores,
            per_example=self.per_example[examples],
            by_example=edges,
            neurons=None if self.neurons is None else self.neurons[examples],
            experts=None if self.experts is None else self.experts[examples],
            about=replace(self.about, n=len(edges)),
        )

    def joined(self) -> Circuit:
        """The same circuit without position roles and directions: an edge's score is the sum of its parts'."""
        joins, plain, edges = self.graph.joins, self.graph.plain, self.by_example
        joined = None
        if edges is not None:
            source, target = np.nonzero(self.graph.valid)
            to = plain.numbers[source, joins.argmax(1)[target]]
            joined = np.zeros((len(edges), plain.n_edges), edges.dtype)
            np.add.at(joined.T, to, edges.T)
        return replace(self, graph=plain, scores=self.scores @ joins, by_example=joined)

    def save(self, path: str | Path) -> Path:
        """Write the circuit as one .npz, without pickle; `Circuit.open` reads it back. It is compressed, since most of
        it is 0."""
        path = Path(path).with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        words = json.dumps({"graph": asdict(self.graph), "about": self.about.as_dict()})
        arrays = {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
        np.savez_compressed(path, words=np.array(words), **arrays)
        return path

    @classmethod
    def open(cls, path: str | Path) -> Circuit:
        try:
            with np.load(path, allow_pickle=False) as found:
                words = str(found["words"])
                arrays = {name: found[name] for name in (*ARRAYS, _DENSE) if name in found}
        except (OSError, ValueError, LookupError, EOFError, AttributeError, BadZipFile, zlib.error) as problem:
            raise FILE.refuse(path, "a circuit that Circuit.save wrote", cut(str(problem))) from None
        return cls.from_parts(FILE.object_of(words, path), arrays, path)

    @classmethod
    def from_parts(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray], source: str | Path) -> Circuit:
        """A circuit from the content of a file: its graph and provenance as plain data, and its arrays."""
        graph, about = words.get("graph"), words.get("about")
        known = {one.name for one in fields(Provenance)}
        if not isinstance(graph, dict) or not isinstance(about, dict) or not _REQUIRED <= about.keys() <= known:
            raise FILE.refuse(source, "a graph and a provenance", ", ".join(map(cut, words)) or "nothing")
        made = Graph.from_fields(graph)
        scores = arrays.get("scores", np.zeros(0))
        if scores.shape[:1] != (made.n_sources,) or scores.shape != made.shape:
            raise FILE.refuse(source, f"scores of {made.n_layers} layers and {made.n_heads} heads", str(scores.shape))
        arrays = dict(arrays)
        if (dense := arrays.pop(_DENSE, None)) is not None and dense.shape[1:] == made.shape:
            arrays["by_example"] = dense[:, made.valid]
        _refuse_shapes(arrays, made, source)
        return cls(graph=made, about=Provenance(**about), **arrays)

    @property
    def _to_logits(self) -> NDArray:
        return np.array([one.kind == "logits" for one in self.graph.target_values])


def _rows_within(kind: str, found: NDArray) -> pd.DataFrame:
    """The nodes of neurons ("m0.n7") or experts ("m0.e7")."""
    _, layers, width = found.shape
    layer, number = np.divmod(np.arange(layers * width), width)
    names = [f"m{a}.{kind[0]}{b}" for a, b in zip(layer, number, strict=True)]
    return pd.DataFrame({"node": names, "layer": layer, "head": -1, "kind": kind})


def refuse_means_only(circuit: Circuit) -> None:
    """Refuse a circuit that keeps no edge scores of single examples."""
    if circuit.by_example is None:
        raise ProbeError(
            "edge scores of single examples",
            expected="a circuit that kept them (example_edges=True)",
            found="one that has only their mean",
            remedy="Attribute again with options=AttributionOptions(example_edges=True).",
        )


def _refuse_not_finite_edges(what: str, by_example: NDArray, graph: Graph) -> None:
    """A few examples at a time, so that a file is not read into memory whole."""
    sources, targets = np.nonzero(graph.valid)
    for start in range(0, len(by_example), 32):
        part = by_example[start : start + 32]
        if not np.isfinite(part).all():
            edges = [f"{graph.sources[s]} → {graph.targets[t]}" for s, t in zip(sources, targets, strict=True)]
            examples = range(start, start + len(part))
            refuse_not_finite(f"{what}: edge scores by example", part, {"example": examples, "edge": edges})


def _refuse_shapes(arrays: Mapping[str, NDArray], graph: Graph, source: str | Path) -> None:
    """Refuse a file's arrays by example if their numbers of examples differ, or if they do not fit this graph."""
    nodes, edges = arrays.get("per_example", np.zeros(0)), arrays.get("by_example")
    fit = nodes.ndim == 2 and nodes.shape[1] == graph.n_sources + 1
    if not fit or (edges is not None and edges.shape != (len(nodes), graph.n_edges)):
        found = f"{nodes.shape} and {edges.shape if edges is not None else 'none'}"
        raise FILE.refuse(source, f"scores by example of {graph.n_sources + 1} nodes and {graph.n_edges} edges", found)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _refuse_more(k: int, edges: int) -> None:
    if not 0 <= k <= edges:
        raise ProbeError(
            "k",
            expected=f"from 0 to the {edges} edges that there are",
            found=str(k),
            remedy="Use a share of them: int(0.01 * circuit.graph.n_edges).",
        )
