"""Measures of models' activations and answers: from traces that an earlier stage recorded, or by running the models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from analyses.measures.applicability import (
    asks_once,
    needs_twins,
    writes_at_the_end,
    writes_several,
    writes_token_by_token,
)
from analyses.measures.declare import TWINS, in_order, measure

if TYPE_CHECKING:
    from analyses.activations.answer_states import AnswerStates
    from analyses.lens.tuned import TunedLens
    from analyses.result import Result
    from probe.jobs.stages.stage import Inputs
    from probe.tasks.solved import Criterion


def _states(given: Inputs) -> dict[str, AnswerStates]:
    """Each model's states at the answers' slots, from the recorded traces."""
    from analyses.activations.answer_states import from_trace
    from probe.readings.by_role import roles

    pair = given.pair
    return {
        role: from_trace(model, given.batch, how, given["trace"][role], vocabulary=pair.vocabulary)
        for role, (model, how) in roles(pair, given.reading).items()
    }


def _lens_by_role(given: Inputs) -> dict[str, TunedLens]:
    return dict(given["lens"])


def _beliefs(given: Inputs) -> Result:
    from analyses.lens import results

    return results.beliefs(given.pair, given.batch, _lens_by_role(given), reading=given.reading, states=_states(given))


def _jacobian_lens(given: Inputs) -> Result:
    from analyses import lens

    return lens.jacobian(given.pair, given.batch, reading=given.reading, **given.knobs)


def _prediction_depth(given: Inputs) -> Result:
    from analyses.lens import results

    return results.depth(given.pair, given.batch, _lens_by_role(given), reading=given.reading, states=_states(given))


def _answers(given: Inputs) -> Result:
    from analyses.answers import of_pool

    solved = given.setting("solved")
    by: Criterion = "over_distractor" if solved == "over_distractor" else "top"
    return of_pool(given.pair, given.task, given.batch, reading=given.reading, criterion=by)


def _steering(given: Inputs) -> Result:
    from analyses import steering

    return steering.dose(given.pair, given.batch, reading=given.reading, **given.knobs)


def _commitment(given: Inputs) -> Result:
    from analyses import steering

    return steering.commitment(given.pair, given.batch, **given.knobs)


def _clock(given: Inputs) -> Result:
    from analyses import clock

    return clock.read(given.pair, given.batch, seed=given.seed, **given.knobs)


def _clock_moved(given: Inputs) -> Result:
    from analyses import clock

    return clock.move(given.pair, given.batch, seed=given.seed, **given.knobs)


def _lookahead_probes(given: Inputs) -> Result:
    from analyses import lookahead

    return lookahead.read(given.pair, given.batch, seed=given.seed, **given.knobs)


def _patchscope(given: Inputs) -> Result:
    from analyses import lookahead

    return lookahead.patchscope(given.pair, given.batch, seed=given.seed, **given.knobs)


def _features(given: Inputs) -> Result:
    """Its states and checkpoints lie in the unit's folder for as long as it is being made."""
    from shutil import rmtree

    from analyses import features

    knobs = dict(given.knobs)
    layer, learns_from = knobs.pop("layer"), knobs.pop("learns_from")
    options = features.TrainingOptions(**knobs, seed=given.seed)
    examples = given.task.examples(given.tokenizer, learns_from, seed=given.seed, split="train", fewer=True)
    place = given.folder / "features"
    found = features.compare(given.pair, examples, layer=layer, reading=given.reading, options=options, folder=place)
    rmtree(place)
    return found


def _direct_attribution(given: Inputs) -> Result:
    from analyses.lens.attribution import direct

    return direct(given.pair, given.batch, reading=given.reading, states=_states(given))


def _component_lens(given: Inputs) -> Result:
    from analyses.lens.components import component_lens

    return component_lens(given.pair, given.batch, reading=given.reading, states=_states(given))


def _contributions(given: Inputs) -> Result:
    from analyses.activations import residual_contributions

    return residual_contributions.contributions(given.pair, given.batch, reading=given.reading, states=_states(given))


def _probes(given: Inputs) -> Result:
    from analyses.representation.probes import probes

    return probes(given.pair, given.batch, reading=given.reading, states=_states(given), seed=given.seed)


def _skip_effects(given: Inputs) -> Result:
    from analyses import depth

    return depth.skip_effects(given.pair, given.batch, reading=given.reading)


def _heads(given: Inputs) -> Result:
    from analyses.attention import heads

    return heads(given.pair, given.batch, reading=given.reading, resamples=given.setting("resamples"))


def _cka(given: Inputs) -> Result:
    from analyses.representation.cka import cka

    resamples = min(given.setting("resamples"), 200)
    return cka(given.pair, given.batch, reading=given.reading, resamples=resamples, seed=given.seed)


def _cosine(given: Inputs) -> Result:
    from analyses.representation.cosine import cosine

    return cosine(given.pair, given.batch, reading=given.reading, seed=given.seed)


def _outliers(given: Inputs) -> Result:
    from analyses.representation.outliers import outliers

    return outliers(given.pair, given.batch, reading=given.reading)


def _revision(given: Inputs) -> Result:
    from analyses import revision

    sampler = given.knobs["sampler"] or None
    return revision.by_step(given.pair, given.task, given.batch, sampler=sampler, seed=given.seed)


def _weight_drift(given: Inputs) -> Result:
    from analyses.representation.drift import weight_drift

    return weight_drift(given.pair)


def _selectivity(given: Inputs) -> Result:
    from analyses.specialization import selectivity

    return selectivity(given.pair, given.batch, reading=given.reading, seed=given.seed)


def _faithfulness(given: Inputs) -> Result:
    import pandas as pd

    from analyses.circuits import EvaluationOptions, faithfulness
    from probe.readings.by_role import roles

    options = EvaluationOptions(rows=given.rows, seed=given.seed, **given.knobs)
    found = [
        faithfulness(model, given.batch, given["circuit"][role], reading=how, options=options)
        for role, (model, how) in roles(given.pair, given.reading).items()
    ]
    table = pd.concat([one.table for one in found], ignore_index=True)
    return replace(found[0], table=table, title=f"Faithfulness of each model's circuit on {given.batch.task}")


def _overlap(given: Inputs) -> Result:
    """Retention, with the faithfulness of each circuit in its own model at every K."""
    import pandas as pd

    from analyses.circuits import EvaluationOptions, at_sizes, budgets, compare
    from probe.readings.by_role import roles

    circuits, resamples = given["circuit"], min(given.setting("resamples"), 400)
    ks = budgets(circuits["ar"].graph.n_edges)
    found = compare(*in_order(circuits), ks=ks, resamples=resamples, seed=given.seed)
    options = EvaluationOptions(rows=given.rows, seed=given.seed, resamples=resamples)
    alone = [
        at_sizes(model, given.batch, circuits[role], ks, reading=reading, options=options)
        for role, (model, reading) in roles(given.pair, given.reading).items()
    ]
    return replace(found, table=pd.concat([found.table, *alone], ignore_index=True))


def _cross_faithfulness(given: Inputs) -> Result:
    from analyses.circuits import EvaluationOptions, cross

    circuits = {role: given["circuit"][role] for role in TWINS}
    options = EvaluationOptions(rows=given.rows, **given.knobs)
    return cross(given.pair, given.batch, circuits, reading=given.reading, options=options)


def _from_knockouts(name: str) -> Any:
    def read(given: Inputs) -> Result:
        return given["knockouts"][name]

    read.__module__ = __name__
    return read


_FAITHFULNESS: dict[str, Any] = {"knobs": {"draws": 3}, "passes": 70.0}

MEASURES = [
    measure(
        "answers",
        "how often each model answers right, and one prompt",
        _answers,
        "pool",
        settings=("solved",),
        passes=2.0,
    ),
    measure("beliefs", "what each layer would answer, by two lenses", _beliefs, "pool", "trace", "lens"),
    measure(
        "jacobian_lens",
        "from which slots the answer's information arrives, and what each layer's state becomes",
        _jacobian_lens,
        "pool",
        knobs={"examples": 32},
        passes=100.0,  # a backward pass a feature, of 32 examples
    ),
    measure(
        "prediction_depth", "the layer from which the answer stays the same", _prediction_depth, "pool", "trace", "lens"
    ),
    measure(
        "steering",
        "how far steering towards an answer moves it, by dose",
        _steering,
        "pool",
        knobs={"layer": None, "doses": [0.5, 1.0, 2.0, 4.0], "draws": 3},
        passes=33.0,
    ),
    measure(
        "commitment",
        "the step from which steering comes too late",
        _commitment,
        "pool",
        knobs={"layer": None, "dose": 4.0, "draws": 2},
        passes=100.0,  # decoding runs, one a step and direction
        refuses=writes_token_by_token,
    ),
    measure(
        "clock",
        "how much is still masked, read off each layer",
        _clock,
        "pool",
        knobs={"shares": [0.1, 0.3, 0.5, 0.7, 0.9]},
        passes=5.0,
    ),
    measure(
        "clock_moved",
        "how shifting the clock changes confidence and the order of writing",
        _clock_moved,
        "pool",
        knobs={"layer": None, "by": 0.5, "draws": 2},
        passes=40.0,
        refuses=writes_at_the_end,
    ),
    measure(
        "lookahead_probes",
        "tokens not yet written, read off each layer",
        _lookahead_probes,
        "pool",
        knobs={"ahead": [1, 2, 3], "slots": "next", "by_step": False},
        passes=20.0,
        refuses=writes_several,
    ),
    measure(
        "patchscope",
        "what a state, put into another example's run, makes it write: the next token, and later ones",
        _patchscope,
        "pool",
        knobs={"ahead": [0, 1, 2], "layers": None},
        passes=60.0,  # a decoding run a layer
        refuses=writes_several,
    ),
    measure(
        "features",
        "sparse features of both twins and of one alone, by a crosscoder",
        _features,
        knobs={"layer": None, "learns_from": 2000, "latents": 256, "k": 16, "steps": 1000, "rows": 256},
        passes=200.0,  # two crosscoders' training, which does not depend on how many examples are asked about
        refuses=asks_once,
        resumes=True,
    ),
    measure(
        "direct_attribution", "how much each component writes towards the answer", _direct_attribution, "pool", "trace"
    ),
    measure("component_lens", "what components write, as tokens", _component_lens, "pool", "trace"),
    measure("contributions", "how much each layer adds", _contributions, "pool", "trace"),
    measure("probes", "what can be read from each layer", _probes, "pool", "trace"),
    measure("skip_effects", "how skipping a layer changes later ones", _skip_effects, "pool", passes=8.0),
    measure("heads", "what each head looks at", _heads, "pool", settings=("resamples",), passes=1.0),
    measure("cka", "representations kept: CKA by layer", _cka, "pool", settings=("resamples",), passes=1.0),
    measure("cosine", "representations kept: cosine by token", _cosine, "pool", passes=1.0, refuses=needs_twins),
    measure("outliers", "outlier dimensions", _outliers, "pool", passes=1.0),
    measure("weight_drift", "how far the weights moved", _weight_drift, axes=("pair",), refuses=needs_twins),
    measure(
        "revision",
        "how answers change during decoding",
        _revision,
        "pool",
        knobs={"sampler": {}},
        passes=16.0,
    ),
    measure("selectivity", "neurons that tell answers apart", _selectivity, "pool", passes=1.0),
    measure(
        "overlap",
        "edges kept: Jaccard, chance, ceiling, retention; and f at each K",
        _overlap,
        "pool",
        "circuit",
        settings=("resamples",),
        passes=8.0,
        refuses=needs_twins,
    ),
    measure(
        "faithfulness",
        "does the circuit alone do it?",
        _faithfulness,
        "pool",
        "circuit",
        knobs={"draws": 3},
        passes=70.0,
    ),
    measure(
        "cross_faithfulness",
        "does one model's circuit work in the other?",
        _cross_faithfulness,
        "pool",
        "circuit",
        roles=TWINS,
        knobs={"draws": 3},
        passes=40.0,
        refuses=needs_twins,
    ),
    *(
        measure(name, about, _from_knockouts(name), "knockouts", roles=())
        for name, about in {
            "causal_profile": "what is lost without a layer",
            "targeted_knockouts": "early, middle or late components, against equally many random ones",
            "knockout_curve": "what is lost without the strongest components, minus random order",
            "interaction": "knocked out one by one against together: self-repair",
            "sufficiency": "how few components are enough",
        }.items()
    ),
]
