"""Two models of random weights: what nobody trained computes nothing, so no hypothesis about it has an answer."""

from __future__ import annotations

import pytest

import probe
from analyses import answers, circuits, depth, hypotheses, representation, specialization
from analyses.circuits import EvaluationOptions
from analyses.components import Knockouts, scores_of
from analyses.hypotheses.decision import CONTRADICTED, NOT_MEASURED, SUPPORTED
from analyses.result import Result
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.by_role import roles
from probe.tasks import vocabulary
from tests.probe.readings import asking
from tests.probe.tiny import backbone_of

NAMES = {"ar": "ar", "diffusion": "diffusion"}
TASKS = ("ioi",)


@pytest.fixture(scope="module")
def pair() -> Pair:
    ar, diffusion = (
        Model(backbone_of("llama", vocab_size=asking.WORDS, seed=seed), paradigm, vocabulary.shipped(), name=name)
        for seed, (name, paradigm) in enumerate(
            {"ar": asking.PARADIGMS["ar"], "diffusion": asking.PARADIGMS["masked"]}.items()
        )
    )
    return Pair(ar, diffusion, name="untrained")


def measured(pair: Pair, name: str) -> list[Result]:
    """What the verdict is made from, of one task."""
    task = probe.task(name)
    batch = task.examples(pair.tokenizer, 12)
    asked = roles(pair, "prefix")
    found = {role: circuits.attribute(model, batch, reading=how, steps=2) for role, (model, how) in asked.items()}
    runs = {role: Knockouts.of(model, batch, reading=how) for role, (model, how) in asked.items()}
    scored = [(runs[role], scores_of(found[role])) for role in runs]
    few = EvaluationOptions(shares=(0.05, 0.2), draws=1, resamples=50)
    return [
        circuits.compare(found["ar"], found["diffusion"], resamples=50),
        hypotheses.decomposition(found["ar"], found["diffusion"], {}),
        circuits.cross(pair, batch, found, reading="prefix", options=few),
        depth.causal_profile(runs.values()),
        depth.targeted(scored),
        specialization.curves(scored, resamples=50),
        representation.cka(pair, batch, resamples=50),
        answers.of_pool(pair, task, batch),
    ]


@pytest.fixture(scope="module")
def results(pair) -> list[Result]:
    return [result for name in TASKS for result in measured(pair, name)]


def answers_of(results: list[Result]) -> set[str]:
    found = hypotheses.gather(results, NAMES)
    return set(hypotheses.verdict(found.evidence, missing=found.missing).table["answer"])


def test_an_untrained_pair_supports_and_contradicts_nothing(results):
    assert answers_of(results) == {NOT_MEASURED}


def test_without_knowing_that_they_do_not_answer_something_would_be_found(results):
    """So the pair is one on which the verdict could go wrong, and did."""
    assert answers_of([result for result in results if result.name != "answers"]) & {SUPPORTED, CONTRADICTED}


def test_the_table_of_answers_says_that_they_guess(results):
    for result in (one for one in results if one.name == "answers"):
        assert (result.table["low"] <= result.table["null"]).all()
        assert {said["role"] for said in result.about["example"]["said"]} == {"ar", "diffusion"}
