"""Measures of circuits that an earlier stage found: no model is run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analyses.measures.applicability import needs_twins
from analyses.measures.declare import (
    TWINS,
    in_order,
    measure,
    of_circuits,
)

if TYPE_CHECKING:
    from analyses.result import Result
    from probe.jobs.spec.model import Spec
    from probe.jobs.stages.stage import Inputs

ALL_TASKS = ("pair", "reading", "seed")  # one unit looks at all tasks


def _front_loading(given: Inputs) -> Result:
    from analyses import front_loading

    return front_loading.index(*in_order(given["circuit"]), seed=given.seed)


def _attribution_profile(given: Inputs) -> Result:
    from analyses import front_loading

    return front_loading.profile(*in_order(given["circuit"]))


def _spans(given: Inputs) -> Result:
    from analyses import front_loading

    return front_loading.spans(*in_order(given["circuit"]))


def _did(given: Inputs) -> Result:
    from analyses import front_loading

    circuits = given["circuit"]
    tasks = dict.fromkeys(task for _, task in circuits)
    return front_loading.did({task: (circuits["ar", task], circuits["diffusion", task]) for task in tasks})


def _spread(given: Inputs) -> Result:
    from analyses.specialization import spread

    return spread(*in_order(given["circuit"]), seed=given.seed)


def _robustness(given: Inputs) -> Result:
    from analyses.hypotheses import grid, over_budgets

    circuits = given["circuit"]
    edges = circuits["ar"].graph.n_edges
    ks = [*(max(1, round(share * edges)) for share in given.knobs["shares"]), None]
    return grid(over_budgets(circuits["ar"], circuits["diffusion"], ks=ks, seed=given.seed))


def _two_by_two(given: Inputs) -> Result:
    from analyses.hypotheses import two_by_two

    circuits, others = given["circuit"], given["square"]
    cells = {("ar", "causal"): circuits["ar"], ("ar", "native"): others["ar-native"]}
    cells |= {("diffusion", "causal"): others["diffusion-causal"], ("diffusion", "native"): circuits["diffusion"]}
    return two_by_two(cells)


def _controls(given: Inputs) -> Result:
    from analyses.hypotheses import decomposition

    circuits = given["circuit"]
    others = {role: of for role, of in circuits.items() if role not in TWINS}
    return decomposition(circuits["ar"], circuits["diffusion"], others)


def _node_importance(given: Inputs) -> Result:
    from analyses.circuits import importance

    return importance(*in_order(given["circuit"]), resamples=min(given.setting("resamples"), 1000), seed=given.seed)


def _circuit_graph(given: Inputs) -> Result:
    from analyses.circuits import picture

    return picture(*(given["circuit"][role] for role in TWINS))


def _edge_kinds(given: Inputs) -> Result:
    from analyses.circuits import mass

    return mass(*in_order(given["circuit"]), resamples=min(given.setting("resamples"), 1000), seed=given.seed)


def _circuit_diff(given: Inputs) -> Result:
    from analyses.circuits import DiffOptions, diff
    from analyses.statistics.contrasts import BASES

    circuits = given["circuit"]
    null = [(circuits[base], circuits[role]) for role, base in BASES.items() if role in circuits]
    options = DiffOptions(resamples=min(given.setting("resamples"), 400), seed=given.seed)
    return diff(circuits["ar"], circuits["diffusion"], null=null, options=options)


def _needs_both_scopes(place: Mapping[str, Any], spec: Spec) -> str | None:
    scopes = {task.made().scope for task in spec.tasks}
    return (
        None
        if scopes == {"local", "global"}
        else f"it compares local with global tasks, and all tasks here are {scopes}"
    )


def _needs_a_control(place: Mapping[str, Any], spec: Spec) -> str | None:
    pair = spec.labelled["pair"][place["pair"]]
    return "the spec leaves out the pair's controls" if pair.controls is False else None


RESAMPLED = ("resamples",)

MEASURES = [
    of_circuits("front_loading", "how early attribution lies: FLI, early mass, W₁", _front_loading),
    of_circuits("attribution_profile", "attribution by layer", _attribution_profile),
    of_circuits("spans", "where edges start, and how far they reach", _spans),
    of_circuits("did", "earlier on global tasks than on local ones?", _did, axes=ALL_TASKS, refuses=_needs_both_scopes),
    of_circuits("spread", "specialised or spread: participation ratio, Gini, n₉₀", _spread),
    of_circuits("node_importance", "how much each head and MLP matters: s(v)", _node_importance, settings=RESAMPLED),
    of_circuits("circuit_graph", "the circuits themselves, drawn", _circuit_graph),
    of_circuits("edge_kinds", "attribution by kind of edge", _edge_kinds, settings=RESAMPLED),
    of_circuits("circuit_diff", "edges kept, lost and gained", _circuit_diff, settings=RESAMPLED, refuses=needs_twins),
    of_circuits(
        "robustness", "the same for other prompts and circuit sizes", _robustness, knobs={"shares": [0.02, 0.1, 0.3]}
    ),
    measure("two_by_two", "due to the weights, or to the mask?", _two_by_two, "circuit", "square", roles=()),
    of_circuits("controls", "due to more training, or to diffusion?", _controls, refuses=_needs_a_control),
]
