"""Attribution: how much each edge matters to a model's answers, in one call.

    circuit = attribute(model, batch, reading="prefix", method="eap-ig", steps=5)

The questions are those of a reading; their rows are taken a few at a time, as many as fit; what each few contribute can
be kept in a folder, from which the same call goes on. `method` is one of

    eap, eap-ig, eap-ig-activations   by gradients (`gradients`), on models of any size
    exact-nodes                       every node patched by itself (`exact`); the edges stay 0
    exact-edges                       every edge patched by itself: the ground truth for small models

A trajectory's rows are the steps of a decoding run. `attribute` follows the reading's rule (the step that commits, the
first, or the mean); `attribute_by_step` makes a circuit of each step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyses.circuits import exact, gradients
from analyses.circuits.ablation import Ablation
from analyses.circuits.batching import in_chunks, rows_that_fit
from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.cost import bytes_a_row
from analyses.circuits.gradients import Attribution
from analyses.circuits.graph import Graph
from analyses.circuits.metrics import Metric, metric_of
from analyses.circuits.parts import Folder, Part
from analyses.circuits.questions import Questions
from analyses.circuits.roles import role_names, roles_of
from probe.errors import ProbeError, nearest
from probe.readings import Reading, named
from probe.tracing import fingerprint

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.tasks.batch import Batch

Method = Callable[[Attribution, slice], Part]

METHODS: dict[str, Method] = {
    "eap": gradients.along_inputs,
    "eap-ig": gradients.along_inputs,
    "eap-ig-activations": gradients.along_activations,
    "exact-nodes": exact.nodes,
    "exact-edges": exact.edges,
}
_ONE_POINT = ("eap", "exact-nodes", "exact-edges")


def attribute(
    model: Model,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    method: str = "eap-ig",
    steps: int = 5,
    metric: str | Metric | None = None,
    ablation: str = "corrupt",
    roles: bool | Iterable[str] = False,
    directions: bool = False,
    neurons: bool = False,
    example_edges: bool = False,
    seed: int = 0,
    rows: int | None = None,
    folder: str | Path | None = None,
) -> Circuit:
    """The circuit of a model on a batch.

    `metric` None is the task's own. `roles` splits edges by position (True: all that the task names), `directions` by
    who looks at a key or value, and `neurons` scores the MLPs' neurons as nodes. `example_edges` keeps every example's
    edge scores, for resampling. `seed` draws the partners of `resample`. `rows` is how many at a time, else as many as
    fit; `folder` keeps what is done, and the same call goes on from there.
    """
    asked = named(reading)
    questions = Questions.of(model, batch, asked)
    options = {"metric": metric, "ablation": ablation, "roles": roles, "directions": directions}
    kept = {"neurons": neurons, "example_edges": example_edges, "seed": seed, "rows": rows, "folder": folder}
    return _attributed(questions, batch, asked, method, steps, **options, **kept)


def attribute_by_step(
    model: Model,
    batch: Batch,
    *,
    reading: str | Reading = "trajectory",
    method: str = "eap-ig",
    steps: int = 5,
    **how: Any,
) -> dict[int, Circuit]:
    """A circuit of every step (or draw) of a reading, from the examples whose answer was open at it.

    The run is made once. Everything else as in `attribute`.
    """
    asked = named(reading)
    view = asked.view(model, batch)
    circuits = {}
    for step in sorted(set(view.step.tolist())):
        questions = Questions.seen(model, batch, asked, view, step=step)
        where = {"folder": Path(how["folder"]) / f"step-{step}"} if how.get("folder") else {}
        circuits[step] = _attributed(questions, batch, asked, method, steps, **{**how, **where}, step=step)
    return circuits


def _attributed(
    questions: Questions,
    batch: Batch,
    reading: Reading,
    method: str,
    steps: int,
    *,
    metric: str | Metric | None = None,
    ablation: str = "corrupt",
    roles: bool | Iterable[str] = False,
    directions: bool = False,
    neurons: bool = False,
    example_edges: bool = False,
    seed: int = 0,
    rows: int | None = None,
    folder: str | Path | None = None,
    step: int | None = None,
) -> Circuit:
    _refuse(method, steps)
    steps = 1 if method in _ONE_POINT else steps
    model, (metric_name, measure) = questions.model, metric_of(metric, batch.task)
    names = role_names(batch, roles)
    work = Attribution(
        model=model,
        questions=questions,
        graph=Graph.of(model, roles=names, directions=directions),
        metric=measure,
        ablation=Ablation(questions, ablation, seed, neurons),
        steps=steps,
        roles=roles_of(questions, batch, names),
        by_row=example_edges,
        neurons=neurons,
    )
    about = Provenance(
        model=model.name,
        paradigm=model.paradigm.name,
        task=batch.task,
        reading=str(reading),
        method=method,
        steps=steps,
        metric=metric_name,
        ablation=ablation,
        n=questions.examples,
        seed=batch.seed,
        scope=batch.scope,
        other={} if step is None else {"step": step, "examples": questions.kept},
    )
    sums = Sums(work)
    work.at_once = rows or rows_that_fit(model.device, bytes_a_row(model, questions.slots, neurons=neurons))
    size = min(work.at_once, len(questions))
    kept = Folder.open(folder, _fingerprint(work, about) if folder else "")
    for chunk, part in kept.parts():
        sums.add(chunk, part)
    for chunk, part in in_chunks(len(questions), size, lambda chunk: METHODS[method](work, chunk), start=sums.done):
        kept.keep(chunk, part)
        sums.add(chunk, part)
    return sums.circuit(about)


class Sums:
    """Parts put together: means over examples, and the figures of each example."""

    def __init__(self, work: Attribution):
        questions, graph = work.questions, work.graph
        self.graph, self.n, self.done = graph, questions.examples, 0
        self.example, self.weight = questions.example.numpy(), questions.weight.numpy()
        self.edges = np.zeros(graph.shape)
        self.nodes = np.zeros((self.n, len(graph.sources) + 1))
        self.metric = np.zeros(2)
        self.example_edges = np.zeros((self.n, *graph.shape), np.float32) if work.by_row else None
        self.neurons: np.ndarray | None = None

    def add(self, rows: slice, part: Part) -> None:
        self.done = rows.stop
        example, weight = self.example[rows], self.weight[rows]
        self.edges += part.edges.sum(0, dtype=np.float64)
        np.add.at(self.nodes, example, part.nodes)
        self.metric += [weight @ part.clean, weight @ part.corrupt]
        if self.example_edges is not None:
            np.add.at(self.example_edges, example, part.edges)
        if part.neurons is not None:
            if self.neurons is None:
                self.neurons = np.zeros((self.n, *part.neurons.shape[1:]), np.float32)
            np.add.at(self.neurons, example, part.neurons)

    def circuit(self, about: Provenance) -> Circuit:
        from dataclasses import replace

        clean, corrupt = (float(total) for total in self.metric / self.n)
        return Circuit(
            graph=self.graph,
            scores=self.edges / self.n * self.graph.valid,
            per_example=self.nodes,
            about=replace(about, clean=clean, corrupt=corrupt),
            example_edges=self.example_edges,
            neurons=self.neurons,
        )


def _fingerprint(work: Attribution, about: Provenance) -> str:
    canvases = [part for which in ("clean", "corrupt") for part in (work.questions.canvas(which).tokens,)]
    facts = {**about.as_dict(), "graph": repr(work.graph), "by_row": work.by_row, "neurons": work.neurons}
    facts = {name: repr(value) for name, value in facts.items()} | {"weights": fingerprint.of_weights(work.model)}
    facts["seed of ablation"] = str(work.ablation.seed)
    told = fingerprint.of([*canvases, work.questions.canvas().allowed, work.questions.weight], facts)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _refuse(method: str, steps: int) -> None:
    if method not in METHODS:
        raise ProbeError(
            f"method {method!r}",
            expected="one of " + ", ".join(METHODS),
            found=repr(method),
            remedy=nearest(str(method), METHODS),
        )
    if not isinstance(steps, int) or steps < 1:
        raise ProbeError("steps", expected="a whole number from 1 on", found=repr(steps), remedy="5 is usual.")
