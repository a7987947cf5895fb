"""Accumulation: the contributions of chunks of rows, added up to a circuit and kept on disk until then.

A contribution is a few arrays. On disk it is an .npz without pickle, named after its rows. A folder belongs to one
attribution: it has a fingerprint of the model, the prompts and the settings, and a folder with another fingerprint is
refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyses.circuits.attribution.prompts import PromptPairs
from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph
from analyses.statistics.finite import refuse_not_finite
from probe.errors import ProbeError
from probe.outside_files import FileKind

FILE = FileKind("file", remedy="Give another folder, or delete this one.")
_ABOUT = "attribution.json"


@dataclass(frozen=True, eq=False)
class Contribution:
    """Scores of some rows: edges summed over the rows (unless kept by row), nodes and metric for each row."""

    edges: NDArray  # (rows or 1, sources, targets)
    nodes: NDArray  # (rows, nodes)
    clean: NDArray  # (rows), the metric
    corrupt: NDArray  # (rows)
    neurons: NDArray | None = None  # (rows, layers, neurons)
    experts: NDArray | None = None  # (rows, layers, experts)


@dataclass(frozen=True)
class Folder:
    """Contributions on disk. Without a path nothing is kept."""

    path: Path | None

    @classmethod
    def open(cls, path: str | Path | None, fingerprint_of: Callable[[], str]) -> Folder:
        if path is None:
            return cls(None)
        about, fingerprint = Path(path) / _ABOUT, fingerprint_of()
        if about.exists() and FILE.object(about).get("fingerprint") != fingerprint:
            raise ProbeError(
                f"folder {str(path)!r}",
                expected="contributions to the same attribution",
                found="contributions of another model, of other prompts or with other settings",
                remedy="Give another folder, or delete this one.",
            )
        about.parent.mkdir(parents=True, exist_ok=True)
        about.write_text(json.dumps({"fingerprint": fingerprint}))
        return cls(Path(path))

    def contributions(self) -> Iterator[tuple[slice, Contribution]]:
        """The saved contributions, from the first row up to the first gap."""
        start = 0
        while self.path is not None and (found := sorted(self.path.glob(f"{start:08}-*.npz"))):
            stop = int(found[0].stem.partition("-")[2])
            with np.load(found[0], allow_pickle=False) as arrays:
                yield slice(start, stop), Contribution(**dict(arrays))
            start = stop

    def save(self, rows: slice, contribution: Contribution) -> None:
        if self.path is None:
            return
        found = {
            one.name: getattr(contribution, one.name)
            for one in fields(contribution)
            if getattr(contribution, one.name) is not None
        }
        path = self.path / f"{rows.start:08}-{rows.stop:08}.npz"
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            np.savez(file, **found)
        unfinished.rename(path)


class Accumulation:
    """Contributions added up: means over examples, and the scores of each example."""

    def __init__(self, graph: Graph, prompts: PromptPairs, *, by_example: bool):
        self.graph, self.n = graph, prompts.examples
        self.example, self.weight = prompts.example.numpy(), prompts.weight.numpy()
        self.edges = np.zeros(graph.shape)
        self.nodes = np.zeros((self.n, len(graph.sources) + 1))
        self.metric = np.zeros(2)  # clean, corrupt
        self.by_example = np.zeros((self.n, graph.n_edges), np.float32) if by_example else None
        self.within: dict[str, NDArray] = {}  # neurons and experts, if requested

    def add(self, rows: slice, contribution: Contribution) -> None:
        example, weight = self.example[rows], self.weight[rows]
        edges = contribution.edges.sum(0, dtype=np.float64)
        refuse_not_finite("edge scores", edges, {"source": self.graph.sources, "target": self.graph.targets})
        self.edges += edges
        self.metric += [weight @ contribution.clean, weight @ contribution.corrupt]
        np.add.at(self.nodes, example, contribution.nodes)
        if self.by_example is not None:
            np.add.at(self.by_example, example, contribution.edges[:, self.graph.valid])
        for name in ("neurons", "experts"):
            found = getattr(contribution, name)
            if found is not None:
                np.add.at(self.within.setdefault(name, np.zeros((self.n, *found.shape[1:]))), example, found)

    def circuit(self, about: Provenance) -> Circuit:
        clean, corrupt = (float(total) for total in self.metric / self.n)
        return Circuit(
            graph=self.graph,
            scores=self.edges / self.n * self.graph.valid,
            per_example=self.nodes,
            about=replace(about, clean=clean, corrupt=corrupt),
            by_example=self.by_example,
            **self.within,
        )
