"""The claims that `twinprobe claims` tests on the shipped twins, each with the models and curves it needs.

A claim is tested if all the models it names are there; otherwise it is listed as not tested. The caller's zoo loads the
models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analyses.replications.adaptation import samplers, survival
from analyses.replications.distillation_cost import distillation
from analyses.replications.flows import STEPS, FlowModels, beyond, few_steps
from analyses.replications.fluid_horizons import foresight, horizons
from analyses.replications.text_frontier import beyond_text, frontier
from analyses.replications.training_curves import adaptation, examined
from analyses.result import Result
from probe.tasks import TASKS, task
from probe.training.trained_models import Zoo

TEACHING_TEXTS = 64
OPENING = 4  # words of a text to continue
JUDGE = "text-ar"
WRITERS = ("text-ar", "text-masked", "text-flow", "text-flow-map")
MAPS = ("text-flow-map", "text-flow-map-lagrangian", "text-flow-map-eulerian")  # the first by the semigroup target
ABLATIONS = ("text-flow", "text-flow-squared", "text-flow-even")  # the last two differ from the first in one thing
BEGINNINGS = ("text-flow-scratch", "text-flow")
MANY = (1, 2, 4, 8, 32)  # steps of flows that are not distilled


@dataclass(frozen=True)
class Claim:
    """A claim in one sentence, the models and training curves that test it, and the test."""

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
        # Answers are shorter than a stride, so whole texts are written, with predictable and unpredictable words.
        yield foresight(fluid, texts[:, :OPENING], texts.shape[1] - OPENING)


def _samplers(zoo: Zoo, n: int) -> Iterator[Result]:
    models = zoo.models("ar", "masked", "block", "fluid")
    far = task(
        "paths", graph="star", distance=3
    )  # hard for an AR model: the path has to be found backwards from the goal
    for chosen in (task("countdown"), task("sudoku"), task("paths"), far):
        yield samplers(models, chosen, n)


def _few_steps(*names: str, reference: str) -> Callable[[Zoo, int], Iterator[Result]]:
    def ask(zoo: Zoo, n: int) -> Iterator[Result]:
        for name in TASKS:
            yield few_steps(zoo.models(*names), task(name), n, reference=reference)

    return ask


def _beyond(zoo: Zoo, n: int) -> Iterator[Result]:
    flows = FlowModels(zoo.model("flow"), zoo.model("flow-map"), zoo.model("masked"))
    for name in TASKS:
        yield beyond(flows, task(name), n)
    _, masked, flow, flow_map = zoo.models(*WRITERS).values()
    yield beyond_text(FlowModels(flow, flow_map, masked), zoo.held_out(JUDGE, n))


def _written(zoo: Zoo, n: int, names: tuple[str, ...], reference: str | None, steps: tuple[int, ...]) -> Result:
    texts = zoo.held_out(JUDGE, n)
    return frontier(zoo.models(*names), zoo.model(JUDGE), texts, reference=reference, steps=steps)


def _distillations(zoo: Zoo, n: int) -> Iterator[Result]:
    yield _written(zoo, n, MAPS, MAPS[0], (1, 2, 4))
    yield distillation(zoo.model("text-flow"), zoo.held_out(JUDGE, TEACHING_TEXTS))


def _from_ar(zoo: Zoo, n: int) -> Iterator[Result]:
    for name, start in (("text-flow", JUDGE), ("flow", "ar")):  # each from its own AR model, whose steps count
        yield adaptation({name: (zoo.curve(name), zoo.curve(f"{name}-scratch"))}, start=zoo.curve(start))
    flows = {name: zoo.curve(name) for name in ("flow", "flow-scratch")}
    yield examined(flows, at=int(flows["flow-scratch"]["step"][-1]))
    yield _written(zoo, n, BEGINNINGS, BEGINNINGS[0], MANY)
    yield from _few_steps("flow", "flow-scratch", reference="flow-scratch")(zoo, n)


def _ablations(zoo: Zoo, n: int) -> Iterator[Result]:
    yield _written(zoo, n, ABLATIONS, ABLATIONS[0], MANY)


def _frontier(zoo: Zoo, n: int) -> Iterator[Result]:
    yield _written(zoo, n, WRITERS, "text-masked", STEPS)


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
        ("flow", "flow-map", "masked", *WRITERS),
        _beyond,
    ),
    Claim(
        "distillations",
        "The semigroup target distils best, and costs least.",
        ("text-flow", *MAPS, JUDGE),
        _distillations,
    ),
    Claim(
        "from-ar",
        "A flow that begins with the AR weights learns faster than one from nothing.",
        ("flow", "flow-scratch", *BEGINNINGS, JUDGE),
        _from_ar,
        ("ar", "flow", "flow-scratch", JUDGE, *BEGINNINGS),
    ),
    Claim(
        "flow-ablations",
        "Cross-entropy beats squared error, and times even in what can be read beat times even in t.",
        (*ABLATIONS, JUDGE),
        _ablations,
    ),
    Claim(
        "frontier",
        "On text, a distilled flow map writes likelier text than its flow in as few steps, no less varied.",
        WRITERS,
        _frontier,
    ),
)
