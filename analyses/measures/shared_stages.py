"""Work that several measures need, done once: circuits, traces, lenses, and the knock-outs that four measures read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analyses.measures.storage import (
    CIRCUIT,
    CIRCUITS,
    LENS,
    TABLES,
    TRACE,
)
from probe.jobs.stages.stage import A_MODEL, A_PAIR, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyses.circuits.circuit import Circuit
    from analyses.lens.tuned import TunedLens
    from analyses.result import Result
    from probe.jobs.stages.stage import Inputs
    from probe.models.model import Model
    from probe.readings import Reading


def _own_reading(model: Model, reading: Reading) -> Reading:
    """A model's reading: an AR model's own, else the unit's."""
    from probe.readings.by_role import roles

    return roles(model, reading)["model"][1]


def _circuit(given: Inputs) -> Circuit:
    from analyses import circuits

    reading = _own_reading(given.model, given.reading)
    if given.model.dtype.itemsize < 4:
        given.note(
            f"edge scores of passes in {str(given.model.dtype).removeprefix('torch.')}, added up in float32: "
            "on shipped models r > 0.9999 with float32's; on deeper ones the order of weak edges may differ"
        )
    return circuits.attribute(given.model, given.batch, reading=reading, **attribution(given, given.model))


def _square(given: Inputs) -> dict[str, Circuit]:
    """The two cells of the 2×2 that are not a model as it is: each twin's weights under the other's mask."""
    from analyses import circuits
    from probe.readings.by_role import roles

    cells = roles(given.pair, given.reading, square=True)
    how = attribution(given, given.pair.diffusion)
    return {
        name: circuits.attribute(cells[role][0], given.batch, reading=cells[role][1], **how)
        for name, role in OTHER_CELLS.items()
    }


OTHER_CELLS = {"ar-native": "ar, native mask", "diffusion-causal": "diffusion, causal mask"}


def _trace(given: Inputs) -> Any:
    from analyses.activations.answer_states import READ_SITES
    from probe.tracing import record

    where = {"reading": _own_reading(given.model, given.reading), "positions": "read"}
    return record(
        given.model, given.batch, READ_SITES, **where, store=given.folder / "trace.zarr", batch_size=given.rows
    )


def _lens(given: Inputs) -> TunedLens:
    from analyses import lens

    n, words = given.setting("examples"), given.model.tokenizer
    batches = [task.examples(words, n, seed=given.seed, split="train", fewer=True) for task in given.setting("tasks")]
    return lens.train(given.model, batches, seed=given.seed, **given.knobs)


def _knockouts(given: Inputs) -> dict[str, Result]:
    """All tables made by knocking out components, for every model of the pair."""
    from analyses import depth
    from analyses.components import Knockouts, scores_of
    from analyses.measures.declare import TWINS
    from analyses.specialization import curves, interaction, sufficiency
    from probe.readings.by_role import roles

    models = roles(given.pair, given.reading)
    runs = {
        role: Knockouts.of(model, given.batch, reading=how, kind=given.knobs["kind"], rows=given.rows)
        for role, (model, how) in models.items()
    }
    scored = [(run, scores_of(given["circuit"][role])) for role, run in runs.items()]
    resampled = {"resamples": given.setting("resamples")}
    others = {role: run for role, run in runs.items() if role not in TWINS}
    return {
        "causal_profile": depth.causal_profile(runs.values()),
        "causal_front_loading": depth.causal_front_loading(runs["ar"], runs["diffusion"], others),
        "targeted_knockouts": depth.targeted(scored, seed=given.seed),
        "knockout_curve": curves(scored, seed=given.seed, **resampled),
        "interaction": interaction(scored),
        "sufficiency": sufficiency(scored, **resampled),
    }


def edge_bytes(shape: Mapping[str, int]) -> float:
    """The bytes of an example's edge scores: a number for each source and target (a head is a target three times)."""
    layers, heads = shape["layers"], shape["heads"]
    return 4.0 * (1 + layers * (heads + 1)) * (1 + layers * (3 * heads + 1))


def _state_bytes(shape: Mapping[str, int]) -> float:
    """The bytes of an example's trace: about four states per layer."""
    return 17.0 * shape["layers"] * shape["width"]


def attribution(given: Inputs, model: Model) -> dict[str, Any]:
    """The options of a stage as `attribute` takes them: the method, its steps, and the rest as AttributionOptions.

    `directions` are left out, with a note, where an architecture's keys cannot be split (Phi-3, OLMo 2, ModernBERT).
    Twins have one architecture, so their circuits stay comparable.
    """
    from analyses.circuits import AttributionOptions
    from analyses.circuits.attribution.key_directions import inseparable

    own = {name: value for name, value in given.knobs.items() if name in ("method", "steps")}
    others = {name: value for name, value in given.knobs.items() if name not in own}
    reason = inseparable(model)
    if others.get("directions") and reason is not None:
        others["directions"] = False
        given.note(f"edges are not split by direction: {model.layout.model_type} has {reason}")
    return {**own, "options": AttributionOptions(rows=given.rows, **others)}


ATTRIBUTION = {
    **{"method": "eap-ig", "steps": 5, "points": "1..m", "ablation": "corrupt"},
    **{"directions": True, "example_edges": True},
}

SHARED = [
    Stage(
        "circuit",
        "edge and node scores of each model, prompt by prompt",
        _circuit,
        CIRCUIT,
        axes=A_MODEL,
        needs=("check", "pool"),
        knobs=ATTRIBUTION,
        passes=17.0,  # 5 forward, 5 backward, 2 more forward
        kept=edge_bytes,
    ),
    Stage(
        "square",
        "the circuits of each twin's weights under the other's mask",
        _square,
        CIRCUITS,
        axes=A_PAIR,
        needs=("check", "pool"),
        roles=("ar", "diffusion"),
        knobs=ATTRIBUTION,
        passes=17.0,
        kept=lambda shape: 2 * edge_bytes(shape),
    ),
    Stage(
        "trace",
        "the residual stream of each model at the answers' slots",
        _trace,
        TRACE,
        axes=A_MODEL,
        needs=("check", "pool"),
        passes=1.0,
        kept=_state_bytes,
        resumes=True,
    ),
    Stage(
        "lens",
        "a tuned lens of each model",
        _lens,
        LENS,
        axes=("pair", "role", "seed"),
        needs=("check",),
        settings=("examples", "tasks"),
        knobs={"steps": 300, "rows": 128},
        passes=5.0,
    ),
    Stage(
        "knockouts",
        "each model without some of its components",
        _knockouts,
        TABLES,
        axes=A_PAIR,
        needs=("pool", "circuit"),
        settings=("resamples",),
        knobs={"kind": "mean"},
        passes=60.0,  # knock-outs, most of which start in a middle layer
    ),
]
