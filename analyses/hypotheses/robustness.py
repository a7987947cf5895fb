"""Robustness: does a verdict hold at another choice of prompts, another K, another number of decoding steps?

"The twin computes earlier" is one figure at one setting, and settings are many. Here the same differences are taken at
each: over resamples of the prompts, circuit budgets K, and decoding budgets (steps). A verdict that holds at one of
them only is said to.

    cells = [*over_budgets(ar, diffusion, ks=(50, 200, None), halves=4)]
    cells += [Cell(ar, diffusion, steps=steps) for steps, (ar, diffusion) in by_steps.items()]
    grid(cells).figure()

Cells are not independent looks: they share prompts. So nothing is averaged over them; each has its own interval, and
what is counted is how many say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analyses.circuits.circuit import Circuit
from analyses.components.scores import (
    Measure,
    Scores,
    change,
    scores_of,
)
from analyses.hypotheses.controls import MEASURES
from analyses.hypotheses.decision import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    answer,
)
from analyses.result import Result

ALL = "all"
SETTINGS = ("prompts", "K", "steps")


@dataclass(frozen=True, eq=False)
class Cell:
    """One setting, and what the twins did there. K None is every edge; steps None is no decoding run."""

    ar: Circuit | Scores
    diffusion: Circuit | Scores
    prompts: str = ALL
    k: int | None = None
    steps: int | None = None


def over_budgets(
    ar: Circuit | Scores,
    diffusion: Circuit | Scores,
    *,
    ks: Sequence[int | None] = (None,),
    halves: int = 4,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[Cell]:
    """All prompts and random halves of them, at each K. Circuits must have kept their examples' edges for a K."""
    generator = np.random.default_rng(seed)
    for k in ks:
        two = scores_of(ar, k), scores_of(diffusion, k)
        yield Cell(*two, k=k, steps=steps)
        for turn in range(halves):
            rows = np.sort(generator.permutation(two[0].n)[: two[0].n // 2])
            yield Cell(two[0][rows], two[1][rows], f"half {turn + 1}", k, steps)


def grid(cells: Iterable[Cell], measures: Mapping[str, Measure] = MEASURES, *, sign: int = 1) -> Result:
    """Each measure's difference (diffusion − AR) in each cell, and what it says of "the difference has this sign"."""
    rows = []
    for cell in cells:
        two = scores_of(cell.ar, _k(cell.ar, cell.k)), scores_of(cell.diffusion, _k(cell.diffusion, cell.k))
        for name, make in measures.items():
            found = change(make, *two).row(p=True)
            setting = {"prompts": cell.prompts, "K": _said(cell.k), "steps": _said(cell.steps)}
            verdict = answer(found["low"], found["high"], sign)
            about = {"task": two[0].task, "scope": two[0].scope, "measure": f"Δ {name}"}
            rows.append({**about, **setting, **found, "verdict": verdict})
    table = pd.DataFrame(rows)
    table["setting"] = table["prompts"] + " prompts, steps " + table["steps"]
    return Result(
        name="robustness",
        table=table,
        title="Does it hold at other settings?",
        caption="Each cell is the diffusion model's figure less its AR twin's at one choice of prompts, circuit "
        "budget K "
        "and decoding steps; a dot marks those whose 95% interval leaves 0 out. " + " ".join(said(table)),
        drawing="robustness",
        about={"said": said(table), "sign": sign, "axes": {"x": "K", "y": "setting", "facet": "panel"}},
    )


def _k(circuit: Circuit | Scores, k: int | None) -> int | None:
    return None if isinstance(circuit, Scores) else k


def _said(budget: int | None) -> str:
    return ALL if budget is None else str(budget)


def said(table: pd.DataFrame) -> list[str]:
    """For each task and measure, in words: what is found, and where it is not."""
    return [
        f"{task}, {measure}: {_in_words(part)}"
        for (task, measure), part in table.groupby(["task", "measure"], sort=False)  # type: ignore[misc]  # a pair
    ]


def _in_words(part: pd.DataFrame) -> str:
    count = Counter(part["verdict"])
    decided = [verdict for verdict in (SUPPORTED, CONTRADICTED) if count[verdict]]
    if not decided:
        return f"undecided at all {len(part)} settings."
    if len(decided) == 2:
        return (
            f"no one answer: {count[SUPPORTED]} of {len(part)} settings support it, {count[CONTRADICTED]} contradict."
        )
    verdict = decided[0]
    if count[verdict] == len(part):
        return f"{verdict} at all {len(part)} settings."
    return f"{verdict} at {count[verdict]} of {len(part)} settings, else undecided{_only(part, verdict)}."


def _only(part: pd.DataFrame, verdict: str) -> str:
    """If one value of a setting is alone in giving a verdict, which."""
    told: list[str] = []
    for setting in SETTINGS:
        values, where = part[setting].unique(), part.loc[part["verdict"] == verdict, setting].unique()
        if len(values) > 1 and len(where) == 1:
            told.append(f"{setting} = {where[0]}")
    return f" (only at {' and '.join(told)})" if told else ""


def holds(table: pd.DataFrame, measure: str, task: str | None = None) -> dict[str, Any]:
    """How many settings say what, for one measure: what a verdict quotes."""
    chosen = (table["measure"] == measure) & ((table["task"] == task) | (task is None))
    count = Counter(table.loc[chosen, "verdict"])
    return {verdict: count[verdict] for verdict in (SUPPORTED, CONTRADICTED, UNDECIDED)}
