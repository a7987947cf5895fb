"""Evidence for the verdict, gathered from the results of a run: which rows of which tables answer which claim.

    verdict(gather(results, ar="zoo:ar", diffusion="zoo:masked"))

Tasks are taken together by their mean, with errors of their own (no two tasks share an example). Figures that are no
means of independent ones (a retention at several K, on the same prompts) are taken together end by end, which cannot
make an interval narrower than it is. A claim whose table is not among the results is left out, and comes out as "not
asked".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from analyses.result import Result
from analyses.robustness import holds
from analyses.statistics import Estimate, combination
from analyses.verdict import Evidence

EARLY = 1 / 3
_NORMAL = 1.959964


def gather(results: Iterable[Result], *, ar: str, diffusion: str) -> dict[str, Evidence]:
    """What the results say of each hypothesis; models by the names that stand in the tables."""
    found = _Tables(results, ar, diffusion)
    claims: dict[str, Callable[[], Evidence | None]] = {
        "local retention": lambda: found.retention("local"),
        "global retention": lambda: found.retention("global"),
        "retention gap": lambda: _less(found.retention("local"), found.retention("global")),
        "did": lambda: found.did("global − local"),
        "global front-loading": lambda: found.did("all global"),
        "spread": lambda: found.spread("Δ PR/n", "global", "PR/n"),
        "spread within layers": lambda: found.spread("Δ PR", "within layers"),
        "knock-out area": found.knockout_area,
        "early knock-outs": found.early_knockouts,
        "early layers redundant": found.early_loss,
        "representations kept": found.cka,
        "same function": found.transfer,
    }
    said = {name: claim() for name, claim in claims.items()}
    return {name: evidence for name, evidence in said.items() if evidence is not None}


class _Tables:
    """The results' tables by name, and one question to each."""

    def __init__(self, results: Iterable[Result], ar: str, diffusion: str):
        kept: dict[str, list[pd.DataFrame]] = {}
        for result in results:
            table = result.table
            if "scope" not in table and "scope" in result.about:
                table = table.assign(scope=result.about["scope"])
            kept.setdefault(result.name, []).append(table)
        self.tables = {name: pd.concat(parts, ignore_index=True) for name, parts in kept.items()}
        self.ar, self.diffusion, self.change = ar, diffusion, f"{diffusion} − {ar}"

    def rows(self, name: str, **where: object) -> pd.DataFrame:
        """The rows of a table in which columns have these values; none where there is no such table or column."""
        table = self.tables.get(name)
        if table is None or not set(where) <= set(table.columns):
            return pd.DataFrame()
        for column, value in where.items():
            table = table.loc[table[column] == value, :]
        return table

    def retention(self, scope: str) -> Evidence | None:
        where = {"measure": "retention", "subset": "all", "model": self.ar, "other": self.diffusion, "scope": scope}
        rows = self.rows("circuit_overlap", **where)
        return None if rows.empty else mean_of([end_by_end(part) for _, part in rows.groupby("task")])

    def did(self, task: str) -> Evidence | None:
        rows = self.rows("did", task=task, measure="Δ FLI")
        if rows.empty:
            return None
        controls = self.controls("FLI", "global") if task == "all global" else {}
        return Evidence.of(rows.iloc[0], controls, self.settings("Δ FLI"))

    def spread(self, figure: str, level: str, control: str | None = None) -> Evidence | None:
        rows = self.rows("specialization", figure=figure, level=level, part="all", model=self.change)
        controls = self.controls(control) if control else {}
        return _mean(rows, controls, self.settings(f"Δ {control}") if control else {})

    def knockout_area(self) -> Evidence | None:
        return _mean(self.rows("knockout_curves", what="Δ area − random", model=self.change))

    def early_knockouts(self) -> Evidence | None:
        return _mean(self.rows("targeted_knockouts", comparison="early − random", model=self.diffusion, scope="global"))

    def early_loss(self) -> Evidence | None:
        """How much more the diffusion model loses than the AR one by a layer of the first third."""
        sides = []
        for model in (self.diffusion, self.ar):
            rows = self.rows("causal_profile", model=model, window=1)
            rows = rows.loc[(rows["layer"] >= 0) & (rows["depth"] < EARLY), :] if len(rows) else rows
            if rows.empty:
                return None
            sides.append(mean_of([end_by_end(part) for _, part in rows.groupby("task")]))
        return _less(*sides)

    def cka(self) -> Evidence | None:
        """Layer by layer with its like, over all kinds of tokens and tasks."""
        rows = self.rows("cka", role="diffusion")
        if rows.empty or not {"layer", "beside_layer"} <= set(rows.columns):
            return None
        return end_by_end(rows.loc[rows["layer"] == rows["beside_layer"], :])

    def transfer(self) -> Evidence | None:
        """What the AR model's circuit does in the diffusion model, random circuits being 0 and its own being 1."""
        rows = self.rows("cross_faithfulness", measure="transfer", role="diffusion", circuit="ar")
        rows = rows.dropna(subset=["estimate"]) if len(rows) else rows
        return None if rows.empty else mean_of([end_by_end(part) for _, part in rows.groupby("task")])

    def controls(self, measure: str, scope: str | None = None) -> dict[str, Evidence]:
        """The control parts of a measure's change, each over tasks."""
        found: dict[str, Evidence] = {}
        for name in ("controls", "two_by_two"):
            rows = self.rows(name, measure=measure, **({"scope": scope} if scope and name == "controls" else {}))
            if rows.empty:
                continue
            parts = rows.loc[~rows["part"].str.endswith("mask") | (rows["part"] == "mask"), :].groupby("part")
            found |= {str(part): mean_of([Evidence.of(row) for row in _each(of)]) for part, of in parts}
        return found

    def settings(self, measure: str) -> Mapping[str, int]:
        table = self.tables.get("robustness")
        return {} if table is None else holds(table, measure)


def end_by_end(rows: pd.DataFrame) -> Evidence:
    """Figures of the same prompts taken together: the means of estimates, of lows and of highs."""
    estimate, low, high = (float(rows[name].to_numpy(float).mean()) for name in ("estimate", "low", "high"))
    return Evidence(estimate, low, high, int(rows["n"].to_numpy().min()))


def mean_of(several: list[Evidence]) -> Evidence:
    """The mean of figures that share no examples."""
    found = combination([_estimate(one) for one in several], np.full(len(several), 1 / len(several)))
    return Evidence.of(found)


def _mean(
    rows: pd.DataFrame, controls: Mapping[str, Evidence] | None = None, settings: Mapping[str, int] | None = None
) -> Evidence | None:
    if rows.empty:
        return None
    found = mean_of([Evidence.of(row) for row in _each(rows)])
    return Evidence(found.estimate, found.low, found.high, found.n, controls or {}, settings or {})


def _less(one: Evidence | None, other: Evidence | None) -> Evidence | None:
    if one is None or other is None:
        return None
    return Evidence.of(combination([_estimate(one), _estimate(other)], (1, -1)))


def _estimate(one: Evidence) -> Estimate:
    values = (np.array(value) for value in (one.estimate, one.low, one.high))
    error = np.array((one.high - one.low) / (2 * _NORMAL))
    return Estimate(*values, n=one.n, p=np.array(np.nan), error=error)


def _each(rows: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
