"""Robustness: does an answer hold at another choice of prompts, another K, another number of decoding steps?

"The twin computes earlier" is one result at one setting, and there are many settings. Here the same difference is
measured at each of them: on random halves of the prompts, at several circuit sizes K, and at several numbers of
decoding steps. If an answer holds at one setting only, the result names that setting.

    cells = [*over_budgets(ar, diffusion, ks=(50, 200, None), halves=4)]
    cells += [Cell(ar, diffusion, steps=steps) for steps, (ar, diffusion) in by_steps.items()]
    grid(cells).figure()

Cells share prompts, so they are not independent. Nothing is averaged over them: each has its own interval, and the
result counts how many give the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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
    answer,
)
from analyses.result import Result

ALL = "all"
SETTINGS = ("prompts", "K", "steps")


@dataclass(frozen=True, eq=False)
class Cell:
    """One setting, and the twins' circuits there. K None is every edge; steps None is no decoding run."""

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
    """All prompts and random halves of them, at each K. A K needs circuits with example edges."""
    generator = np.random.default_rng(seed)
    for k in ks:
        two = scores_of(ar, k), scores_of(diffusion, k)
        yield Cell(*two, k=k, steps=steps)
        for turn in range(halves):
            rows = np.sort(generator.permutation(two[0].n)[: two[0].n // 2])
            yield Cell(two[0][rows], two[1][rows], f"half {turn + 1}", k, steps)


def grid(cells: Iterable[Cell], measures: Mapping[str, Measure] = MEASURES, *, sign: int = 1) -> Result:
    """Each measure's difference (diffusion − AR) in each cell, and its answer to "the difference has this sign"."""
    rows = []
    for cell in cells:
        two = scores_of(cell.ar, _k(cell.ar, cell.k)), scores_of(cell.diffusion, _k(cell.diffusion, cell.k))
        for name, make in measures.items():
            found = change(make, *two).row(p=True)
            setting = {"prompts": cell.prompts, "K": _budget(cell.k), "steps": _budget(cell.steps)}
            about = {"task": two[0].task, "scope": two[0].scope, "measure": f"Δ {name}"}
            rows.append({**about, **setting, **found, "answer": answer(found["low"], found["high"], sign)})
    table = pd.DataFrame(rows)
    table["setting"] = table["prompts"] + " prompts, steps " + table["steps"]
    return Result(
        name="robustness",
        table=table,
        title="Does it hold at other settings?",
        caption="Each cell is the diffusion model's value minus its AR twin's at one choice of prompts, circuit "
        "size K and decoding steps. A dot marks cells whose 95% interval does not contain 0. "
        + " ".join(sentences(table)),
        drawing="robustness",
        about={"sentences": sentences(table), "sign": sign, "axes": {"x": "K", "y": "setting", "facet": "panel"}},
    )


def _k(circuit: Circuit | Scores, k: int | None) -> int | None:
    return None if isinstance(circuit, Scores) else k


def _budget(budget: int | None) -> str:
    return ALL if budget is None else str(budget)


def sentences(table: pd.DataFrame) -> list[str]:
    """One sentence for each task and measure: the answer, and at how many settings it holds."""
    return [
        f"{task}, {measure}: {_in_words(part)}"
        for (task, measure), part in table.groupby(["task", "measure"], sort=False)  # type: ignore[misc]  # a pair
    ]


def _in_words(part: pd.DataFrame) -> str:
    count, total = Counter(part["answer"]), len(part)
    if not count[SUPPORTED] and not count[CONTRADICTED]:
        return f"undecided at all {total} settings."
    if count[SUPPORTED] and count[CONTRADICTED]:
        return f"no one answer: {count[SUPPORTED]} of {total} settings support it, {count[CONTRADICTED]} contradict."
    decided = SUPPORTED if count[SUPPORTED] else CONTRADICTED
    if count[decided] == total:
        return f"{decided} at all {total} settings."
    return f"{decided} at {count[decided]} of {total} settings, else undecided{_only(part, decided)}."


def _only(part: pd.DataFrame, decided: str) -> str:
    """The value of a setting that alone gives this answer, if there is one."""
    alone: list[str] = []
    for setting in SETTINGS:
        values, where = part[setting].unique(), part.loc[part["answer"] == decided, setting].unique()
        if len(values) > 1 and len(where) == 1:
            alone.append(f"{setting} = {where[0]}")
    return f" (only at {' and '.join(alone)})" if alone else ""
