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

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses.circuits.attribution import exact_patching, gradients
from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.accumulation import Folder, Part, Sums
from analyses.circuits.attribution.batching import in_chunks, rows_that_fit
from analyses.circuits.attribution.cost import bytes_a_row
from analyses.circuits.attribution.gradients import Attribution
from analyses.circuits.attribution.metrics import Metric, metric_of
from analyses.circuits.attribution.position_roles import role_names, roles_of
from analyses.circuits.attribution.prompts import Questions
from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph
from probe.errors import ProbeError, nearest
from probe.pairs import from_nothing
from probe.readings import Reading, named
from probe.tracing import fingerprint

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model

Method = Callable[[Attribution, slice], Part]

METHODS: dict[str, Method] = {
    "eap": gradients.along_inputs,
    "eap-ig": gradients.along_inputs,
    "eap-ig-activations": gradients.along_activations,
    "exact-nodes": exact_patching.nodes,
    "exact-edges": exact_patching.edges,
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
    options = Options(metric, ablation, roles, directions, neurons, example_edges, seed, rows, folder)
    return _attributed(Questions.of(model, batch, asked), batch, asked, method, steps, options)


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
    circuits, options = {}, Options(**how)
    for step in sorted(set(view.step.tolist())):
        questions = Questions.seen(model, batch, asked, view, step=step)
        its_own = replace(options, folder=options.folder and Path(options.folder) / f"step-{step}")
        circuits[step] = _attributed(questions, batch, asked, method, steps, its_own, step)
    return circuits


@dataclass(frozen=True)
class Options:
    """How to attribute, but for what is asked and by which method: see `attribute`."""

    metric: str | Metric | None = None
    ablation: str = "corrupt"
    roles: bool | Iterable[str] = False
    directions: bool = False
    neurons: bool = False
    example_edges: bool = False
    seed: int = 0
    rows: int | None = None
    folder: str | Path | None = None


def _attributed(
    questions: Questions,
    batch: Batch,
    reading: Reading,
    method: str,
    steps: int,
    options: Options,
    step: int | None = None,
) -> Circuit:
    _refuse(method, steps)
    steps = 1 if method in _ONE_POINT else steps
    work = _work(questions, batch, steps, options)
    about = Provenance(
        model=work.model.name,
        paradigm=work.model.paradigm.name,
        task=batch.task,
        reading=str(reading),
        method=method,
        steps=steps,
        metric=metric_of(options.metric, batch.task)[0],
        ablation=options.ablation,
        n=questions.examples,
        seed=batch.seed,
        scope=batch.scope,
        d_model=work.model.d_model,
        from_nothing=from_nothing(work.model),
        other={} if step is None else {"step": step, "examples": questions.kept},
    )
    sums = Sums(work.graph, questions, by_example=options.example_edges)
    for part in _parts(work, METHODS[method], Folder.open(options.folder, lambda: _fingerprint(work, about))):
        sums.add(*part)
    return sums.circuit(about)


def _work(questions: Questions, batch: Batch, steps: int, options: Options) -> Attribution:
    """What is the same for all rows."""
    model, names = questions.model, role_names(batch, options.roles)
    fit = rows_that_fit(model.device, bytes_a_row(model, questions.slots, neurons=options.neurons))
    return Attribution(
        model=model,
        questions=questions,
        graph=Graph.of(model, roles=names, directions=options.directions),
        metric=metric_of(options.metric, batch.task)[1],
        ablation=Ablation(questions, options.ablation, options.seed, options.neurons),
        steps=steps,
        roles=roles_of(questions, batch, names),
        by_row=options.example_edges,
        neurons=options.neurons,
        at_once=options.rows or fit,
    )


def _parts(work: Attribution, method: Method, folder: Folder) -> Iterator[tuple[slice, Part]]:
    """What each chunk of rows contributes: what the folder has, then the rest."""
    done = 0
    for rows, part in folder.parts():
        yield rows, part
        done = rows.stop
    size = min(work.at_once, len(work.questions))
    for rows, part in in_chunks(len(work.questions), size, lambda rows: method(work, rows), start=done):
        folder.keep(rows, part)
        yield rows, part


def _fingerprint(work: Attribution, about: Provenance) -> str:
    """What tells one attribution from another: the weights, the questions, the settings."""
    questions, settings = work.questions, (about, work.graph, work.by_row, work.neurons, work.ablation.seed)
    shown = [questions.canvas(), questions.canvas("corrupt")]
    facts = {"weights": fingerprint.of_weights(work.model), "settings": repr(settings)}
    tensors = [part for canvas in shown for part in (canvas.tokens, canvas.places, canvas.allowed)]
    return fingerprint.of([*tensors, questions.weight], facts)


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
