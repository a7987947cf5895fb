"""The verdict on a pair: the answer to each hypothesis; and the measures that only the verdict needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analyses.measures.declare import TWINS, measure
from analyses.measures.shared_stages import ATTRIBUTION, attribution
from analyses.measures.storage import CIRCUIT
from probe.jobs.stages.stage import A_PAIR, Stage

if TYPE_CHECKING:
    from analyses.circuits.circuit import Circuit
    from analyses.result import Result
    from probe.jobs.spec.model import Spec
    from probe.jobs.stages.stage import Inputs

EVIDENCE = (
    "answers",
    *("overlap", "robustness", "controls?", "two_by_two", "right_context?", "cross_faithfulness"),
    *("knockout_curve", "targeted_knockouts", "causal_profile", "causal_front_loading", "output_diffuseness", "cka"),
)


def _verdict(given: Inputs) -> Result:
    from analyses.hypotheses import gather, verdict

    results: list[Result] = []
    for need in given.unit.needs:
        found = given[need]
        results += found.values() if isinstance(found, Mapping) else [found]
    gathered = gather(results, given.names)
    return verdict(gathered.evidence, pair=str(given.unit.place["pair"]), missing=gathered.missing)


def _sighted(given: Inputs) -> Circuit:
    """The diffusion model's circuit with the right context visible."""
    from analyses import circuits

    return circuits.attribute(
        given.pair.diffusion, given.batch, reading="one_mask", **attribution(given, given.pair.diffusion)
    )


def _right_context(given: Inputs) -> Result:
    from analyses.front_loading import right_context

    pair = given.pair
    return right_context(given["circuit"]["diffusion"], given["sighted"], attention=pair.diffusion.paradigm.attention)


def _output_diffuseness(given: Inputs) -> Result:
    from analyses.lens.diffuseness import diffuseness
    from analyses.measures.from_models import _states

    return diffuseness(given.pair, given.batch, reading=given.reading, states=_states(given))


def _causal_front_loading(given: Inputs) -> Result:
    return given["knockouts"]["causal_front_loading"]


def _needs_prefix(place: Mapping[str, Any], spec: Spec) -> str | None:
    reading = str(spec.labelled["reading"][place["reading"]].made())
    return None if reading == "prefix" else f"it compares one_mask with prefix, and the reading here is {reading}"


MEASURES = [
    Stage(
        "sighted",
        "the diffusion model's circuit with the right context visible",
        _sighted,
        CIRCUIT,
        axes=A_PAIR,
        needs=("check", "pool"),
        roles=TWINS,
        knobs={**ATTRIBUTION, "example_edges": False},
        passes=17.0,
        kept=lambda shape: 40.0 * shape["layers"] * (1 + shape["heads"]),  # of nodes alone
        refuses=_needs_prefix,
    ),
    measure(
        "right_context",
        "does seeing the right context move computation earlier?",
        _right_context,
        "circuit",
        "sighted",
        roles=("diffusion",),
        formerly=("lookahead",),
    ),
    measure("output_diffuseness", "how diffuse components' own outputs are", _output_diffuseness, "pool", "trace"),
    measure("causal_front_loading", "how early, by knock-outs", _causal_front_loading, "knockouts", roles=()),
    measure(
        "verdict",
        "the hypotheses: supported, contradicted or undecided, and the controls that explain it",
        _verdict,
        *EVIDENCE,
        axes=("pair", "reading", "seed"),
        roles=(),
    ),
]
