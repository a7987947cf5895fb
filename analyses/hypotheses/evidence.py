"""Evidence for the verdict, gathered from the results of a run: which rows of which tables decide each hypothesis.

    found = gather(results, {"ar": "zoo:ar", "diffusion": "zoo:masked", "ar-cpt": "zoo:ar-cpt", …})
    verdict(found.evidence, missing=found.missing)

A hypothesis is about a quantity of two models, the twin and its AR model. The same quantity of two other models is a
control: AR-CPT and AR show more training, two seeds show chance, a second twin and AR replicate the result. So the same
rows are read for every two roles that `statistics.contrasts` names.

Several tasks are combined by their mean, with independent errors, since no two tasks share an example. Quantities of
the same prompts (a retention at several K) are combined by averaging estimates, lower ends and upper ends separately,
which cannot make an interval too narrow. A hypothesis without a table is missing, with the measure that would give it.

How a model computes an answer can be studied only if it knows the answer. A task that one of the twins answers no
better than by guessing (`answers`) is left out of all evidence; if that is every task, as for untrained weights, no
hypothesis is tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analyses.hypotheses.decision import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    answer,
)
from analyses.hypotheses.preregistered import FEW_EDGES
from analyses.result import Result
from analyses.statistics import Estimate, combination
from analyses.statistics.contrasts import contrasts

EARLY = 1 / 3
_NORMAL = 1.959964
TOTAL = "total"

OfTwo = Callable[[str, str], Evidence | None]
"""A quantity of two roles, or None if it was not measured for them."""


@dataclass(frozen=True)
class Found:
    """The evidence by the hypotheses' names, and for each of the others the measure that is missing."""

    evidence: Mapping[str, Evidence]
    missing: Mapping[str, str]


def gather(results: Iterable[Result], names: Mapping[str, str]) -> Found:
    """The evidence of some results for each hypothesis. `names`: the models' names in the tables, by role."""
    tables = Tables(results, names)
    sources: dict[str, tuple[str, Callable[[], Evidence | None]]] = {
        "local retention": ("overlap", lambda: tables.retention("local")),
        "global retention": ("overlap", lambda: tables.retention("global")),
        "retention gap": ("overlap", tables.retention_gap),
        "did": ("controls", lambda: tables.did("controls", "FLI")),
        "global front-loading": ("controls", lambda: tables.shift("FLI", "global")),
        "causal did": ("causal_front_loading", lambda: tables.did("causal_front_loading", "FLI")),
        "spread": ("controls", lambda: tables.shift("PR/n")),
        "spread within layers": ("controls", lambda: tables.shift("PR within layers")),
        "knock-out area": ("knockout_curve", tables.knockout_area),
        "early knock-outs": ("targeted_knockouts", tables.early_knockouts),
        "diffuse output": ("output_diffuseness", tables.diffuse_output),
        "early layers redundant": ("causal_profile", tables.early_loss),
        "representations kept": ("cka", tables.cka),
        "same function": ("cross_faithfulness", tables.transfer),
        "right context": ("right_context", tables.right_context),
    }
    if tables.guessed and not tables.answered:
        return Found({}, dict.fromkeys(sources, f"answered no better than by guessing: {', '.join(tables.guessed)}"))
    found = {name: figure() for name, (_, figure) in sources.items()}
    return Found(
        {name: evidence for name, evidence in found.items() if evidence is not None},
        {name: tables.why_not(sources[name][0]) for name, evidence in found.items() if evidence is None},
    )


class Tables:
    """The results' tables by name, and the evidence that each of them gives."""

    def __init__(self, results: Iterable[Result], names: Mapping[str, str]):
        kept: dict[str, list[pd.DataFrame]] = {}
        self.notes: dict[str, str] = {}
        for result in results:
            table = result.table
            if "scope" not in table and "scope" in result.about:
                table = table.assign(scope=result.about["scope"])
            kept.setdefault(result.name, []).append(table)
            self.notes |= {result.name: result.about["nothing"]} if result.about.get("nothing") else {}
        tables = {name: pd.concat(parts, ignore_index=True) for name, parts in kept.items()}
        self.answered, self.guessed = _answered(tables.get("answers"))
        self.tables = {name: self._of_answered(table) for name, table in tables.items()}
        self.names = dict(names)
        self.contrasts = contrasts(self.names)

    def _of_answered(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.loc[~table["task"].isin(self.guessed), :] if "task" in table else table

    def rows(self, name: str, **where: object) -> pd.DataFrame:
        """The rows of a table in which columns have these values; none if there is no such table or column."""
        table = self.tables.get(name)
        if table is None or not set(where) <= set(table.columns):
            return pd.DataFrame()
        for column, value in where.items():
            table = table.loc[table[column] == value, :]
        return table

    def why_not(self, name: str) -> str:
        """Why a table gives no evidence: its own note, or that the measure did not run."""
        return self.notes.get(name, f"needs {name}")

    def with_controls(self, of_two: OfTwo, **beside: Evidence | None) -> Evidence | None:
        """A quantity of the twins, with the same quantity of every two roles that make a control."""
        found = {part: of_two(*roles) for part, roles in self.contrasts.items()} | beside
        return _beside(found)

    def of_parts(self, of_part: Callable[[str], Evidence | None]) -> Evidence | None:
        """The same from a table that has the controls' parts as rows."""
        return _beside({part: of_part(part) for part in (*self.contrasts, "weights", "mask")})

    # What the circuits say

    def retention(self, scope: str) -> Evidence | None:
        return self.with_controls(lambda base, other: self._retention(base, other, scope))

    def retention_gap(self) -> Evidence | None:
        def gap(base: str, other: str) -> Evidence | None:
            return _less(*(self._retention(base, other, scope) for scope in ("local", "global")))

        return self.with_controls(gap)

    def _retention(self, base: str, other: str, scope: str | None) -> Evidence | None:
        where = {"model": self.names[base], "other": self.names[other]}
        rows = _of_scope(self.rows("circuit_overlap", measure="retention", subset="all", **where), scope)
        return _by_task(rows.dropna(subset=["estimate", "low", "high"]) if len(rows) else rows)

    def shift(self, measure: str, scope: str | None = None) -> Evidence | None:
        """A measure's change: the mean over tasks, and the answers for other prompts and K."""
        found = self.of_parts(lambda part: self._part(part, measure, scope))
        settings = self._settings(measure, lambda rows: _mean(_of_scope(rows, scope)))
        return None if found is None else replace(found, settings=settings)

    def did(self, name: str, measure: str) -> Evidence | None:
        """The change on global tasks minus the change on local ones."""
        found = self.of_parts(lambda part: self._did(part, measure, name))
        settings = self._settings(measure, _did_of) if name == "controls" else {}
        return None if found is None else replace(found, settings=settings)

    def _part(self, part: str, measure: str, scope: str | None, name: str = "controls") -> Evidence | None:
        name = "two_by_two" if part in ("weights", "mask") else name
        return _mean(_of_scope(self.rows(name, part=part, measure=measure), scope))

    def _did(self, part: str, measure: str, name: str) -> Evidence | None:
        if name != "controls" and part in ("weights", "mask"):
            return None
        return _less(*(self._part(part, measure, scope, name) for scope in ("global", "local")))

    def _settings(self, measure: str, of_setting: Callable[[pd.DataFrame], Evidence | None]) -> dict[str, int]:
        """How many settings of the robustness grid give each answer to "the quantity is above 0"."""
        rows = self.rows("robustness", measure=f"Δ {measure}")
        if rows.empty or "scope" not in rows:
            return {}
        budget = rows.groupby("task")["K"].transform(lambda of: pd.factorize(of)[0])  # graphs differ in their K
        cells = [of_setting(part) for _, part in rows.groupby([budget, "prompts", "steps"])]
        count = Counter(answer(one.low, one.high, 1) for one in cells if one is not None)
        return {given: count[given] for given in (SUPPORTED, CONTRADICTED, UNDECIDED)}

    def right_context(self) -> Evidence | None:
        return _mean(self.rows("right_context", measure="Δ FLI", scope="global"))

    # What knock-outs say

    def knockout_area(self) -> Evidence | None:
        return self.with_controls(lambda *two: _mean(self._change("knockout_curves", *two, what="Δ area − random")))

    def _change(self, name: str, base: str, other: str, **where: object) -> pd.DataFrame:
        """The rows of one model minus another, whichever order the table has them in."""
        one, two = self.names[base], self.names[other]
        rows = self.rows(name, model=f"{two} − {one}", **where)
        if len(rows):
            return rows
        rows = self.rows(name, model=f"{one} − {two}", **where)
        return rows.assign(estimate=-rows["estimate"], low=-rows["high"], high=-rows["low"]) if len(rows) else rows

    def early_knockouts(self) -> Evidence | None:
        """The twin's own loss, with the other models' own losses as controls."""
        roles = {"diffusion": TOTAL, "ar": "AR itself", "ar-cpt": "AR-CPT itself"}
        return _beside({named: self._early_knockouts(role) for role, named in roles.items() if role in self.names})

    def _early_knockouts(self, role: str) -> Evidence | None:
        where = {"comparison": "early − random", "model": self.names[role], "scope": "global"}
        return _mean(self.rows("targeted_knockouts", **where))

    def early_loss(self) -> Evidence | None:
        """How much more of the answer one model loses than another without a layer of the first third."""
        return self.with_controls(lambda base, other: self._more_lost(base, other))

    def _more_lost(self, base: str, other: str) -> Evidence | None:
        return _less(self._early_loss(other), self._early_loss(base), same_tasks=True)

    def _early_loss(self, role: str) -> Evidence | None:
        rows = self.rows("causal_profile", model=self.names[role], window=1)
        return _by_task(rows.loc[(rows["layer"] >= 0) & (rows["depth"] < EARLY), :] if len(rows) else rows)

    def transfer(self) -> Evidence | None:
        """The faithfulness of the AR model's circuit in the diffusion model, scaled: random edges 0, its own circuit 1.
        Tested only for circuits that share few edges."""
        kept = self._retention("ar", "diffusion", None)
        if kept is not None and kept.high >= FEW_EDGES:
            within = f"R = {kept.estimate:.2f} [{kept.low:.2f}, {kept.high:.2f}]"
            self.notes["cross_faithfulness"] = f"tested only if circuits share few edges (R < {FEW_EDGES:g}): {within}"
            return None
        rows = self.rows("cross_faithfulness", measure="transfer", role="diffusion", circuit="ar")
        return _by_task(rows.dropna(subset=["estimate"]) if len(rows) else rows)

    # What layers and components hold

    def diffuse_output(self) -> Evidence | None:
        where = {"measure": "Δ entropy (nats)"}
        return self.of_parts(lambda part: _mean(self.rows("output_diffuseness", part=part, **where)))

    def cka(self) -> Evidence | None:
        """Each layer with the same layer of the AR model, over all kinds of tokens and tasks."""
        return self.with_controls(lambda base, other: self._cka(other) if base == "ar" else None)

    def _cka(self, role: str) -> Evidence | None:
        rows = self.rows("cka", role=role, beside="ar")
        if rows.empty or not {"layer", "beside_layer"} <= set(rows.columns):
            return None
        same = rows.loc[rows["layer"] == rows["beside_layer"], :]
        return _by_task(same.dropna(subset=["estimate", "low", "high"]))


def _answered(table: pd.DataFrame | None) -> tuple[list[str], list[str]]:
    """The tasks that both twins answer better than by guessing, and the others."""
    if table is None:
        return [], []
    twins = table.loc[table["role"].isin(["ar", "diffusion"]), :]
    better = (twins["low"] > twins["null"]).groupby(twins["task"]).all()
    return [str(task) for task in better.index[better]], [str(task) for task in better.index[~better]]


# Figures taken together


def end_by_end(rows: pd.DataFrame) -> Evidence:
    """Quantities of the same prompts combined: the means of estimates, of lows and of highs."""
    estimate, low, high = (float(rows[name].to_numpy(float).mean()) for name in ("estimate", "low", "high"))
    return Evidence(estimate, low, high, int(rows["n"].to_numpy().min()))


def mean_of(several: list[Evidence]) -> Evidence:
    """The mean of quantities that share no examples."""
    found = combination([_estimate(one) for one in several], np.full(len(several), 1 / len(several)))
    return replace(Evidence.of(found), tasks=sum(one.tasks for one in several))


def _by_task(rows: pd.DataFrame) -> Evidence | None:
    if rows.empty:
        return None
    if "task" not in rows:
        return end_by_end(rows)
    return mean_of([end_by_end(part) for _, part in rows.groupby("task")])


def _mean(rows: pd.DataFrame) -> Evidence | None:
    return None if rows.empty else mean_of([Evidence.of(row) for row in _each(rows)])


def _less(one: Evidence | None, other: Evidence | None, *, same_tasks: bool = False) -> Evidence | None:
    if one is None or other is None:
        return None
    found = Evidence.of(combination([_estimate(one), _estimate(other)], (1, -1)))
    return replace(found, tasks=one.tasks if same_tasks else one.tasks + other.tasks)


def _did_of(rows: pd.DataFrame) -> Evidence | None:
    return _less(*(_mean(_of_scope(rows, scope)) for scope in ("global", "local")))


def _of_scope(rows: pd.DataFrame, scope: str | None) -> pd.DataFrame:
    return rows if scope is None or rows.empty or "scope" not in rows else rows.loc[rows["scope"] == scope, :]


def _beside(found: Mapping[str, Evidence | None]) -> Evidence | None:
    """The total, with the other parts that were measured as its controls."""
    total = found[TOTAL]
    others = {part: one for part, one in found.items() if part != TOTAL and one is not None}
    return None if total is None else replace(total, controls=others)


def _estimate(one: Evidence) -> Estimate:
    values = (np.array(value) for value in (one.estimate, one.low, one.high))
    error = np.array((one.high - one.low) / (2 * _NORMAL))
    return Estimate(*values, n=one.n, p=np.array(np.nan), error=error)


def _each(rows: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
