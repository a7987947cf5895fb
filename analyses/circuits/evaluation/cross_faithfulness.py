"""Cross-faithfulness: does one model's circuit do the work in another?

    cross(pair, batch, {"ar": ar_circuit, "diffusion": diffusion_circuit}).figure()

Two circuits that differ in edges can be one mechanism, and two that share edges need not be. So each circuit is run
alone in each model (f, as in `faithfulness`), and held against two others in that very model: the model's own circuit
of that size, and random circuits with as many edges between the same layers and kinds of node as the foreign one has,
which tell what any edges at those depths would do.

    transfer = (f(foreign) - f(random)) / (f(own) - f(random))

is 0 where the foreign circuit does no more than random edges and 1 where it does what the model's own does. Where the
model's own circuit does not do more than random ones (its interval reaches theirs) there is nothing to be transferred,
and no figure (NaN).

Every model is asked as it is in attribution: those that write in order under the reading `ar`, the others under
`reading`. Circuits that are not given are attributed now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.attribution.attribute import attribute
from analyses.circuits.attribution.metrics import METRICS, Metric
from analyses.circuits.circuit import By, Circuit
from analyses.circuits.comparison.compare import asked
from analyses.circuits.comparison.resampling import refuse_unlike
from analyses.circuits.evaluation.isolated_run import Alone, run_alone
from analyses.circuits.selection import How, layer_matched, select
from analyses.result import Result
from probe.errors import ProbeError, nearest
from probe.pairs import Pair
from probe.readings import Reading, named, reading_for

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
RANDOM = "random, layer-matched to "


def cross(
    pair: Pair,
    batch: Batch,
    circuits: Mapping[str, Circuit] | None = None,
    *,
    reading: str | Reading = "prefix",
    shares: Sequence[float] = SHARES,
    how: How = "top",
    by: By = "abs",
    draws: int = 3,
    metric: str | Metric | None = None,
    seed: int = 0,
    rows: int | None = None,
    resamples: int = 2000,
) -> Result:
    """Every circuit in every model, beside the model's own and random ones. `circuits` are by role: ar, diffusion, …"""
    pair.refuse_strangers("cross-faithfulness")
    circuits = _attributed(pair, batch, reading, metric) if circuits is None else dict(circuits)
    models = _checked(pair, circuits)
    tables = []
    for role, model in models.items():
        own = circuits[role]
        sizes = np.maximum(1, np.round(np.array(shares) * own.graph.n_edges)).astype(int)
        masks = _masks(circuits, sizes, how, by, draws, seed)
        known = metric or (own.about.metric if own.about.metric in METRICS else None)
        every = masks.reshape(-1, *own.graph.shape)
        found = run_alone(
            model, batch, own.graph, every, reading=reading_for(model, reading), metric=known,
            ablation=own.about.ablation, seed=seed, rows=rows,
        )  # fmt: skip
        figures = _Figures(found, list(circuits), role, draws, len(sizes))
        tables.append(figures.table(np.array(shares), sizes, resamples, seed).assign(model=model.name, role=role))
    table = pd.concat(tables, ignore_index=True).assign(task=batch.task)
    front = ["model", "role", "task", "circuit", "measure", "share", "edges"]
    first = next(iter(circuits.values()))
    return Result(
        name="cross_faithfulness",
        table=table.loc[:, [*front, *(name for name in table if name not in front)]],
        title=f"Circuits run in each other's models on {batch.task}",
        caption="One panel a model, one curve a circuit that runs alone in it. Two circuits are one mechanism as far "
        "as the foreign one reaches the model's own; it shows nothing where it stays among the random ones (grey).",
        drawing="faithfulness",
        about={
            **asked(first),
            "reading": str(named(reading)),
            "draws": draws,
            "seed": seed,
            "selection": f"{how}, {by}",
        },
    )


def _attributed(pair: Pair, batch: Batch, reading: str | Reading, metric: str | Metric | None) -> dict[str, Circuit]:
    twins = {"ar": pair.ar, "diffusion": pair.diffusion}
    return {
        role: attribute(model, batch, reading=reading_for(model, reading), metric=metric)
        for role, model in twins.items()
    }


def _checked(pair: Pair, circuits: Mapping[str, Circuit]) -> dict[str, Model]:
    first = next(iter(circuits.values()))
    for role, circuit in circuits.items():
        if role not in pair.models:
            raise ProbeError(
                f"circuit {role!r} of pair {pair.name!r}",
                expected="circuits by the role of their model: " + ", ".join(pair.models),
                found=repr(role),
                remedy=nearest(role, pair.models),
            )
        refuse_unlike(first, circuit)
    return {role: pair.models[role] for role in circuits}


def _masks(
    circuits: Mapping[str, Circuit], sizes: NDArray, how: How, by: By, draws: int, seed: int
) -> NDArray[np.bool_]:
    """(circuits, 1 + draws, sizes, sources, targets): each circuit, and random ones matched to it."""
    found = []
    for circuit in circuits.values():
        chosen = [select(circuit, int(k), how=how, by=by, prune=False) for k in sizes]
        matched = [layer_matched(circuit.graph, mask, draws, seed=seed) for mask in chosen]
        found.append(np.concatenate([np.stack(chosen)[None], np.stack(matched, axis=1)]))
    return np.stack(found)


@dataclass(frozen=True, eq=False)
class _Figures:
    """What every circuit did in one model, and the figures that follow."""

    alone: Alone
    roles: list[str]
    own: str
    draws: int
    sizes: int

    def f(self, weights: NDArray) -> NDArray:
        """(resamples, circuits, the circuit and its random ones' mean, sizes)"""
        f = self.alone.faithfulness(weights).reshape(len(weights), len(self.roles), 1 + self.draws, self.sizes)
        return np.stack([f[:, :, 0], f[:, :, 1:].mean(2)], axis=2)

    def with_transfer(self, weights: NDArray) -> NDArray:
        """f, and behind it what is transferred: (resamples, circuits, 3, sizes)"""
        f = self.f(weights)
        own = f[:, [self.roles.index(self.own)], 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            transfer = (f[:, :, 0] - f[:, :, 1]) / (own - f[:, :, 1])
        return np.concatenate([f, transfer[:, :, None]], axis=2)

    def table(self, shares: NDArray, sizes: NDArray, resamples: int, seed: int) -> pd.DataFrame:
        found = statistics.bootstrap(
            self.with_transfer, len(self.alone.whole), count=resamples, seed=seed, kind="percentile"
        )
        estimate, low, high = (values.copy() for values in (found.estimate, found.low, found.high))
        nothing_to_transfer = low[self.roles.index(self.own), 0] <= high[:, 1]
        for each in (estimate, low, high):
            each[:, 2][nothing_to_transfer] = np.nan
        parts = []
        for number, role in enumerate(self.roles):
            for kind, (circuit, measure) in enumerate(((role, "f"), (RANDOM + role, "f"), (role, "transfer"))):
                if measure == "transfer" and role == self.own:
                    continue
                at = (number, kind)
                figures = {"estimate": estimate[at], "low": low[at], "high": high[at], "n": found.n}
                null = estimate[number, 1] if kind == 0 else 0.0 if measure == "transfer" else np.nan
                where: dict[str, Any] = {"circuit": circuit, "measure": measure, "share": shares, "edges": sizes}
                unit = "share of M(G) - M(∅)" if measure == "f" else "random 0, own 1"
                parts.append(pd.DataFrame({**where, **figures, "null": null, "unit": unit}))
        return pd.concat(parts, ignore_index=True)
