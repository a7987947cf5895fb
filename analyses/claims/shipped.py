"""The claims that `twinprobe claims` asks of the shipped twins, each with the models and curves it needs.

A claim is asked when all it names are there, and said to be not asked when they are not: a zoo without flows has
nothing to say of flows. Models come from the zoo that is handed in; nothing here loads one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analyses.claims.curves import adaptation, examined
from analyses.claims.distilling import distillation
from analyses.claims.flows import beyond, few_steps
from analyses.claims.strides import foresight, horizons
from analyses.claims.text import frontier
from analyses.claims.twins import samplers, survival
from analyses.result import Result
from probe.tasks import TASKS, task
from probe.zoo.opened import Zoo

TEACHING_TEXTS = 64
OPENING = 4  # words of a text that is to be written on
MAPS = ("flow-map", "flow-map-lagrangian", "flow-map-eulerian")  # the first by the semigroup target
ABLATIONS = ("flow-short", "flow-squared", "flow-even")  # the last two differ from the first in one thing each
WRITERS = ("text-ar", "text-masked", "text-flow", "text-flow-map")


@dataclass(frozen=True)
class Claim:
    """What is claimed, in one sentence; the models and curves that it is asked of, and how."""

    name: str
    says: str
    models: tuple[str, ...]
    ask: Callable[[Zoo, int], Iterator[Result]]
    curves: tuple[str, ...] = ()


def _adaptation(zoo: Zoo, _n: int) -> Iterator[Result]:
    pairs = {name: (zoo.curve(name), zoo.curve(f"{name}-scratch")) for name in ("masked", "fluid")}
    yield adaptation(pairs, start=zoo.curve("ar"))


def _survival(zoo: Zoo, n: int) -> Iterator[Result]:
    adapted = zoo.models("masked", "masked-abrupt", "fluid", "block")
    for name in TASKS:
        yield survival(zoo.model("ar"), adapted, task(name), n)


def _horizons(zoo: Zoo, n: int) -> Iterator[Result]:
    for name in ("countdown", "sudoku"):  # the tasks with answers of more than three tokens
        yield horizons(zoo.model("fluid"), task(name), n)


def _foresight(zoo: Zoo, n: int) -> Iterator[Result]:
    fluid = zoo.model("fluid")
    for name in ("countdown", "sudoku", "infilling"):
        texts = task(name).examples(fluid, n, fewer=True).clean
        # Answers alone are over before a stride is: whole texts are written, of words that can be known or cannot.
        yield foresight(fluid, texts[:, :OPENING], texts.shape[1] - OPENING)


def _samplers(zoo: Zoo, n: int) -> Iterator[Result]:
    models = zoo.models("ar", "masked", "block", "fluid")
    for name in ("countdown", "sudoku", "paths"):
        yield samplers(models, task(name), n)


def _few_steps(*names: str, reference: str) -> Callable[[Zoo, int], Iterator[Result]]:
    def ask(zoo: Zoo, n: int) -> Iterator[Result]:
        for name in TASKS:
            yield few_steps(zoo.models(*names), task(name), n, reference=reference)

    return ask


def _beyond(zoo: Zoo, n: int) -> Iterator[Result]:
    for name in TASKS:
        yield beyond(zoo.model("flow"), zoo.model("flow-map"), zoo.model("masked"), task(name), n)


def _distillations(zoo: Zoo, n: int) -> Iterator[Result]:
    for name in TASKS:
        yield few_steps(zoo.models(*MAPS), task(name), n, reference=MAPS[0], steps=(1, 2, 4))
    yield examined({name: zoo.curve(name) for name in MAPS})
    flow = zoo.model("flow")
    yield distillation(flow, task("sudoku").examples(flow, TEACHING_TEXTS).clean)


def _from_ar(zoo: Zoo, n: int) -> Iterator[Result]:
    yield adaptation({"flow": (zoo.curve("flow"), zoo.curve("flow-scratch"))}, start=zoo.curve("ar"))
    yield from _few_steps("flow", "flow-scratch", reference="flow-scratch")(zoo, n)


def _ablations(zoo: Zoo, _n: int) -> Iterator[Result]:
    yield examined({name: zoo.curve(name) for name in ABLATIONS})


def _frontier(zoo: Zoo, n: int) -> Iterator[Result]:
    yield frontier(zoo.models(*WRITERS), zoo.model("text-ar"), zoo.held_out("text-ar", n))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "adaptation",
        "Adapting an AR model takes orders of magnitude fewer steps than training from nothing.",
        (),
        _adaptation,
        ("ar", "masked", "masked-scratch", "fluid", "fluid-scratch"),
    ),
    Claim(
        "survival",
        "Strictly causal adaptation keeps more of what the AR model could do than bidirectional adaptation.",
        ("ar", "masked", "masked-abrupt", "fluid", "block"),
        _survival,
    ),
    Claim("horizons", "Elastic horizons beat strides of a fixed length.", ("fluid",), _horizons),
    Claim("foresight", "Strides follow the entropy of the text before them.", ("fluid",), _foresight),
    Claim(
        "samplers",
        "Diffusion writes as well as autoregression, in fewer forward passes.",
        ("ar", "masked", "block", "fluid"),
        _samplers,
    ),
    Claim(
        "one-step",
        "A distilled flow map in one step keeps up with a discrete twin in more.",
        ("flow-map", "flow", "masked"),
        _few_steps("flow-map", "flow", "masked", reference="masked"),
    ),
    Claim(
        "beyond",
        "A flow in several steps beats independent tokens, and a flow map in one step beats the flow in one.",
        ("flow", "flow-map", "masked"),
        _beyond,
    ),
    Claim(
        "distillations",
        "The semigroup target distils best, and costs least.",
        ("flow", *MAPS),
        _distillations,
        MAPS,
    ),
    Claim(
        "from-ar",
        "A flow that begins with the AR weights learns faster than one from nothing.",
        ("flow", "flow-scratch"),
        _from_ar,
        ("ar", "flow", "flow-scratch"),
    ),
    Claim(
        "flow-ablations",
        "Cross-entropy beats squared error, and times even in what can be read beat times even in t.",
        (),
        _ablations,
        ABLATIONS,
    ),
    Claim(
        "frontier",
        "On text, a distilled flow map writes likelier text than its flow in as few steps, no less varied.",
        WRITERS,
        _frontier,
    ),
)
