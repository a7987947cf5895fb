"""Attribution: how much each edge matters to a model's answers, in one call.

    circuit = attribute(model, batch, reading="prefix", method="eap-ig", steps=5)

A reading turns each example into one or several prompts, clean and corrupt. Their rows go through the model a few at a
time, as many as fit in memory. The contribution of each chunk of rows can be kept in a folder; after an interruption
the same call resumes from there. `method` is one of

    eap, eap-ig, eap-ig-activations   by gradients (module `gradients`), for models of any size
    exact-nodes                       each node patched by itself (module `exact_patching`); the edges' scores stay 0
    exact-edges                       each edge patched by itself: the ground truth, for small models

EAP-IG with 5 steps costs about as much as 5 forward and backward passes and 2 more forward passes. A decoding run
(reading "trajectory") has a row for each step: `attribute` follows the reading's rule (the step that commits, the first
step, or the mean over steps), and `attribute_by_step` makes one circuit for each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analyses.circuits.attribution import exact_patching, gradients
from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.accumulation import Accumulation, Contribution, Folder
from analyses.circuits.attribution.batching import in_chunks, rows_that_fit
from analyses.circuits.attribution.cost import Asked, bytes_a_row
from analyses.circuits.attribution.gradients import Attribution
from analyses.circuits.attribution.metrics import metric_of
from analyses.circuits.attribution.options import AttributionOptions
from analyses.circuits.attribution.position_roles import position_role_names, position_roles_of
from analyses.circuits.attribution.prompts import PromptPairs
from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph
from probe.errors import ProbeError, nearest
from probe.models.threads import fitting_threads
from probe.pairs import from_nothing
from probe.progress import progress
from probe.readings import Reading, named
from probe.tracing import fingerprint

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model

Method = Callable[[Attribution, slice], Contribution]

METHODS: dict[str, Method] = {
    "eap": gradients.along_inputs,
    "eap-ig": gradients.along_inputs,
    "eap-ig-activations": gradients.along_activations,
    "exact-nodes": exact_patching.nodes,
    "exact-edges": exact_patching.edges,
}
POINTS = ("1..m", "0..m-1")
_ONE_POINT = ("eap", "exact-nodes", "exact-edges")
DEFAULTS = AttributionOptions()


def attribute(
    model: Model,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    method: str = "eap-ig",
    steps: int = 5,
    options: AttributionOptions = DEFAULTS,
) -> Circuit:
    """The circuit of a model on a batch.

    `steps` is the number of points on the path of integration; "eap" and the exact methods need one and ignore it.

    >>> circuit = analyses.circuits.attribute(pair.ar, batch, reading="ar", steps=2)
    >>> list(circuit.top(3).columns[:3])
    ['source', 'target', 'score']
    """
    reading = named(reading)
    return _attributed(PromptPairs.of(model, batch, reading), batch, method, steps, options)


def attribute_by_step(
    model: Model,
    batch: Batch,
    *,
    reading: str | Reading = "trajectory",
    method: str = "eap-ig",
    steps: int = 5,
    options: AttributionOptions = DEFAULTS,
) -> dict[int, Circuit]:
    """A circuit for each step (or draw of a mask) of a reading, from the examples whose answer was still masked at that
    step.

    The decoding run is made once. The arguments are those of `attribute`.
    """
    reading = named(reading)
    view = reading.view(model, batch)
    circuits = {}
    for step in sorted(set(view.step.tolist())):
        prompts = PromptPairs.of_view(model, batch, reading, view, step=step)
        its_own = replace(options, folder=options.folder and Path(options.folder) / f"step-{step}")
        circuits[step] = _attributed(prompts, batch, method, steps, its_own, step)
    return circuits


def _attributed(
    prompts: PromptPairs, batch: Batch, method: str, steps: int, options: AttributionOptions, step: int | None = None
) -> Circuit:
    _refuse(method, steps, options.points)
    if method in _ONE_POINT:
        steps, options = 1, replace(options, points=POINTS[0])
    work = _work(prompts, batch, steps, options)
    about = Provenance(
        model=work.model.name,
        paradigm=work.model.paradigm.name,
        task=batch.task,
        reading=str(prompts.reading),
        method=method,
        steps=steps,
        points=options.points,
        metric=metric_of(options.metric, batch.task)[0],
        ablation=options.ablation,
        n=prompts.examples,
        seed=batch.seed,
        scope=batch.scope,
        d_model=work.model.d_model,
        from_nothing=from_nothing(work.model),
        other={} if step is None else {"step": step, "examples": prompts.kept},
    )
    total = Accumulation(work.graph, prompts, by_example=options.example_edges)
    folder = Folder.open(options.folder, lambda: _fingerprint(work, about))
    slots = min(work.at_once, len(prompts)) * prompts.slots
    with (
        fitting_threads(work.model, slots),
        progress(f"attributing {work.model.name}", len(prompts), "prompts") as advance,
    ):
        for rows, contribution in _contributions(work, METHODS[method], folder):
            total.add(rows, contribution)
            advance(rows.stop - rows.start)
    return total.circuit(about)


def _work(prompts: PromptPairs, batch: Batch, steps: int, options: AttributionOptions) -> Attribution:
    """What is the same for all rows."""
    model, names = prompts.model, position_role_names(batch, options.position_roles)
    asked = Asked(options.directions, options.neurons, options.example_edges, max(1, len(names)))
    fit = rows_that_fit(model.device, bytes_a_row(model, prompts.slots, asked))
    return Attribution(
        model=model,
        prompts=prompts,
        graph=Graph.of(model, position_roles=names, directions=options.directions),
        metric=metric_of(options.metric, batch.task)[1],
        ablation=Ablation(prompts, options.ablation, options.seed, options.neurons, options.experts),
        steps=steps,
        points=options.points,
        position_roles=position_roles_of(prompts, batch, names),
        by_row=options.example_edges,
        neurons=options.neurons,
        experts=options.experts,
        at_once=options.rows or fit,
    )


def _contributions(work: Attribution, method: Method, folder: Folder) -> Iterator[tuple[slice, Contribution]]:
    """The contribution of each chunk of rows: those in the folder, then the rest."""
    done = 0
    for rows, contribution in folder.contributions():
        yield rows, contribution
        done = rows.stop
    size = min(work.at_once, len(work.prompts))
    for rows, contribution in in_chunks(len(work.prompts), size, lambda rows: method(work, rows), start=done):
        folder.save(rows, contribution)
        yield rows, contribution


def _fingerprint(work: Attribution, about: Provenance) -> str:
    """What distinguishes attributions: the weights, the prompts, the settings."""
    prompts, settings = work.prompts, (about, work.graph, work.by_row, work.neurons, work.experts, work.ablation.seed)
    shown = [prompts.canvas(), prompts.canvas("corrupt")]
    facts = {"weights": fingerprint.of_weights(work.model), "settings": repr(settings)}
    tensors = [part for canvas in shown for part in (canvas.tokens, canvas.places, canvas.allowed)]
    return fingerprint.of([*tensors, prompts.weight], facts)


def _refuse(method: str, steps: int, points: str) -> None:
    if method not in METHODS:
        raise ProbeError(
            f"method {method!r}",
            expected="one of " + ", ".join(METHODS),
            found=repr(method),
            remedy=nearest(str(method), METHODS),
        )
    if not isinstance(steps, int) or steps < 1:
        raise ProbeError("steps", expected="a whole number from 1 on", found=repr(steps), remedy="5 is usual.")
    if points not in POINTS:
        raise ProbeError(
            f"points {points!r}",
            expected="one of " + ", ".join(POINTS),
            found=repr(points),
            remedy="1..m is the paper's, 0..m-1 that of EAP-IG's code since February 2025.",
        )
