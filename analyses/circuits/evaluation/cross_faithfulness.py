"""Cross-faithfulness: does one model's circuit work in another?

    cross(pair, batch, {"ar": ar_circuit, "diffusion": diffusion_circuit}).figure()

Two circuits with different edges can be the same mechanism, and two that share edges need not be. So each circuit runs
alone in each model (f, as in `faithfulness`) and is compared with two others in that model: the model's own circuit of
the same size, and random circuits with as many edges between the same layers and kinds of node as the foreign one. The
random ones show what arbitrary edges at those depths would do.

    transfer = (f(foreign) - f(random)) / (f(own) - f(random))

is 0 if the foreign circuit does no more than random edges, and 1 if it does as much as the model's own. If the
intervals of the model's own circuit and of the random ones overlap, there is nothing to transfer, and transfer is NaN.

Readings are those of attribution: `ar` for an autoregressive model, `reading` for the others. Circuits that are not
given are attributed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import statistics
from analyses.circuits.attribution.attribute import attribute
from analyses.circuits.attribution.options import AttributionOptions
from analyses.circuits.circuit import Circuit
from analyses.circuits.comparison.compare import facts_of
from analyses.circuits.comparison.resampling import refuse_unlike
from analyses.circuits.evaluation.isolated_run import Isolated, IsolatedRun, isolated_run
from analyses.circuits.evaluation.options import EvaluationOptions
from analyses.circuits.selection import layer_matched, select
from analyses.result import Result
from probe.errors import ProbeError, nearest
from probe.pairs import Pair
from probe.readings import Reading, named
from probe.readings.by_role import roles

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.models.model import Model

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
RANDOM = "random, layer-matched to "
ByRole = Mapping[str, tuple["Model", Reading]]  # each model of a pair and its reading
DEFAULTS = EvaluationOptions()


def cross(
    pair: Pair,
    batch: Batch,
    circuits: Mapping[str, Circuit] | None = None,
    *,
    reading: str | Reading = "prefix",
    options: EvaluationOptions = DEFAULTS,
) -> Result:
    """Every circuit in every model, compared with the model's own and random ones.

    `circuits` are by the role of their model in the pair: "ar", "diffusion", or the name of a control.
    """
    pair.refuse_strangers("cross-faithfulness")
    asked = roles(pair, reading)
    circuits = _attributed(pair, batch, asked, options) if circuits is None else dict(circuits)
    _refuse_others(pair, circuits)
    shares = np.array(SHARES if options.shares is None else options.shares)
    tables = []
    for role, own in circuits.items():
        model, own_reading = asked[role]
        sizes = np.maximum(1, np.round(shares * own.graph.n_edges)).astype(int)
        every = _masks(circuits, sizes, options).reshape(-1, *own.graph.shape)
        metric, ablation = options.metric_for(own), options.ablation_for(own)
        isolated = Isolated(own.graph, every, metric, ablation, options.seed, options.rows)
        run = isolated_run(model, batch, isolated, reading=own_reading)
        figures = _Figures(run, list(circuits), role, options.draws, len(sizes))
        table = figures.table(shares, sizes, options.resamples or 2000, options.seed)
        tables.append(table.assign(model=model.name, role=role))
    table = pd.concat(tables, ignore_index=True).assign(task=batch.task)
    front = ["model", "role", "task", "circuit", "measure", "share", "edges"]
    first = next(iter(circuits.values()))
    return Result(
        name="cross_faithfulness",
        table=table.loc[:, [*front, *(name for name in table if name not in front)]],
        title=f"Circuits run in each other's models on {batch.task}",
        caption="One panel for each model, one curve for each circuit that runs alone in it. Two circuits are the same "
        "mechanism as far as the foreign curve reaches the model's own. A curve among the random ones (grey) shows "
        "nothing.",
        drawing="faithfulness",
        about={
            **facts_of(first),
            "reading": str(named(reading)),
            "draws": options.draws,
            "seed": options.seed,
            "selection": f"{options.how}, {options.by}",
        },
    )


def _attributed(pair: Pair, batch: Batch, asked: ByRole, options: EvaluationOptions) -> dict[str, Circuit]:
    how = AttributionOptions(metric=options.metric)
    twins = {role: asked[role] for role in ("ar", "diffusion")}
    return {role: attribute(model, batch, reading=own, options=how) for role, (model, own) in twins.items()}


def _refuse_others(pair: Pair, circuits: Mapping[str, Circuit]) -> None:
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


def _masks(circuits: Mapping[str, Circuit], sizes: NDArray, options: EvaluationOptions) -> NDArray[np.bool_]:
    """(circuits, 1 + draws, sizes, sources, targets): each circuit, and random ones matched to it."""
    found = []
    for circuit in circuits.values():
        chosen = [select(circuit, int(k), how=options.how, by=options.by, prune=False) for k in sizes]
        matched = [layer_matched(circuit.graph, mask, options.draws, seed=options.seed) for mask in chosen]
        found.append(np.concatenate([np.stack(chosen)[None], np.stack(matched, axis=1)]))
    return np.stack(found)


@dataclass(frozen=True, eq=False)
class _Figures:
    """The metric of every circuit in one model, and the statistics computed from it."""

    run: IsolatedRun
    roles: list[str]
    own: str
    draws: int
    sizes: int

    def f(self, weights: NDArray) -> NDArray:
        """(resamples, circuits, the circuit and its random ones' mean, sizes)"""
        f = self.run.faithfulness(weights).reshape(len(weights), len(self.roles), 1 + self.draws, self.sizes)
        return np.stack([f[:, :, 0], f[:, :, 1:].mean(2)], axis=2)

    def with_transfer(self, weights: NDArray) -> NDArray:
        """f, followed by transfer: (resamples, circuits, 3, sizes)"""
        f = self.f(weights)
        own = f[:, [self.roles.index(self.own)], 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            transfer = (f[:, :, 0] - f[:, :, 1]) / (own - f[:, :, 1])
        return np.concatenate([f, transfer[:, :, None]], axis=2)

    def table(self, shares: NDArray, sizes: NDArray, resamples: int, seed: int) -> pd.DataFrame:
        found = statistics.bootstrap(
            self.with_transfer, len(self.run.whole), count=resamples, seed=seed, kind="percentile"
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
