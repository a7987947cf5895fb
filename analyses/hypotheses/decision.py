"""The verdict: the hypotheses of Mechanism Shift and of its rivals, each with the answer that the results give.

Each hypothesis has a measured quantity (`figure`) and a threshold, its smallest effect (`preregistered`). Answers:

    supported      the whole interval is at or beyond the threshold
    contradicted   the whole interval is below it, or in the opposite direction (`how` says which)
    undecided      neither, or q ≥ 0.05 over all hypotheses (Benjamini-Hochberg); more prompts or seeds might decide
    not measured   no result has the quantity, or it does not apply; the note says why

`says` is the finding as part of a sentence ("computation does not move earlier on global tasks"). It follows from the
answer by rule, names the controls that explain it, and is empty where nothing was decided.

The table also has the same quantity for the controls, and the control that explains the answer, if one does:

    more training  AR-CPT shows the effect too, and the twin shows no more of it than AR-CPT
    seed           a second seed differs as much, or a second twin does not show the effect
    mask           the AR weights show the effect under the diffusion model's mask

A hypothesis that is "supported, explained by more training" is no evidence about diffusion. Intervals are over prompts
of these tasks and for one pair of twins; they say nothing about other pairs.

    verdict({"did": Evidence.of(row), "spread": Evidence.of(row, controls)}).table
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from analyses.hypotheses.preregistered import HYPOTHESES, Hypothesis
from analyses.result import Result
from analyses.statistics import Estimate, adjusted
from probe.errors import ProbeError, nearest

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_MEASURED = "supported", "contradicted", "undecided", "not measured"
OPPOSITE, SHORT = "the opposite", "too small an effect"
LEVEL = 0.05
_ALSO = {
    "more training": "as with more AR training",
    "seed": "as between two seeds",
    "mask": "as with the mask alone",
    "weights": "with the weights alone",
    "AR itself": "as in the AR model",
}


@dataclass(frozen=True)
class Evidence:
    """A quantity with its interval, and the same quantity for the controls, where they were measured.

    Controls by name: "more training", "beyond training", "seed (…)", "again (…)", "weights", "mask", "… itself".
    """

    estimate: float
    low: float
    high: float
    n: int
    controls: Mapping[str, Evidence] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)  # how many settings of the robustness grid say what
    tasks: int = 1

    @classmethod
    def of(
        cls,
        row: Mapping[str, Any] | pd.Series | Estimate,
        controls: Mapping[str, Any] | None = None,
        settings: Mapping[str, int] | None = None,
    ) -> Evidence:
        """From an Estimate of one quantity, or a row of any Result's table."""
        found: Mapping[Any, Any] = row.row() if isinstance(row, Estimate) else dict(row)
        beside = {name: one if isinstance(one, Evidence) else cls.of(one) for name, one in (controls or {}).items()}
        estimate, low, high, n = (float(found[name]) for name in ("estimate", "low", "high", "n"))
        return cls(estimate, low, high, int(n), beside, settings or {})


def answer(low: float, high: float, sign: int, threshold: float = 0.0) -> str:
    """The answer of an interval to "the quantity is on this side of the threshold"."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return UNDECIDED
    below, above = high < threshold, low > threshold
    if not (below or above):
        return UNDECIDED
    return SUPPORTED if above == (sign > 0) else CONTRADICTED


def how(evidence: Evidence, hypothesis: Hypothesis) -> str:
    """How a hypothesis is contradicted: by the opposite effect, or by one that is too small."""
    found = answer(evidence.low, evidence.high, hypothesis.sign, hypothesis.threshold)
    if found != CONTRADICTED or hypothesis.likeness:  # a similarity has no opposite sign
        return ""
    other_way = answer(evidence.low, evidence.high, -hypothesis.sign, -hypothesis.threshold)
    return OPPOSITE if other_way == SUPPORTED else SHORT


def explained(evidence: Evidence, hypothesis: Hypothesis) -> str:
    """The controls that explain an effect; empty if none does, or if there is no effect."""
    found = answer(evidence.low, evidence.high, hypothesis.sign, hypothesis.threshold)
    controls = evidence.controls
    if hypothesis.likeness:  # here the effect to explain is a loss of similarity
        more = controls.get("more training")
        lost = found in (SUPPORTED, CONTRADICTED) and evidence.high < hypothesis.threshold
        return "more training" if lost and more is not None and more.high < hypothesis.threshold else ""
    if found != SUPPORTED and how(evidence, hypothesis) != OPPOSITE:
        return ""
    side = 1 if evidence.estimate > 0 else -1
    return "; ".join(
        name
        for name, accounts in (
            ("more training", _more_training(controls, side)),
            ("seed", _seed(evidence, side)),
            ("mask", _one_part(controls, "mask", "weights", side)),
            ("weights", _one_part(controls, "weights", "mask", side)),
            ("AR itself", any(name.endswith("itself") and _on(one, side) for name, one in controls.items())),
        )
        if accounts
    )


def says(evidence: Evidence, hypothesis: Hypothesis) -> str:
    """The finding as part of a sentence, with the controls that explain it; empty if nothing was decided."""
    found = answer(evidence.low, evidence.high, hypothesis.sign, hypothesis.threshold)
    if found == UNDECIDED:
        return ""
    contradicted = hypothesis.opposite if how(evidence, hypothesis) == OPPOSITE else hypothesis.no
    words = hypothesis.yes if found == SUPPORTED else contradicted
    names = filter(None, explained(evidence, hypothesis).split("; "))
    also = " and ".join(_ALSO[name] for name in names)
    return f"{words} ({also})" if also else words


def _more_training(controls: Mapping[str, Evidence], side: int) -> bool:
    """AR-CPT shows the effect as well, and the twin shows no more of it than AR-CPT."""
    more, beyond = controls.get("more training"), controls.get("beyond training")
    return more is not None and beyond is not None and _on(more, side) and not _on(beyond, side)


def _seed(evidence: Evidence, side: int) -> bool:
    """A second seed differs as much, or a second twin does not show the effect."""
    floors = [abs(one.estimate) for name, one in evidence.controls.items() if name.startswith("seed")]
    again = [one for name, one in evidence.controls.items() if name.startswith("again")]
    return (bool(floors) and max(floors) >= abs(evidence.estimate)) or any(not _on(one, side) for one in again)


def _one_part(controls: Mapping[str, Evidence], part: str, other: str, side: int) -> bool:
    return part in controls and other in controls and _on(controls[part], side) and not _on(controls[other], side)


def _on(one: Evidence, side: int) -> bool:
    return one.low > 0 if side > 0 else one.high < 0


def verdict(evidence: Mapping[str, Evidence], *, pair: str = "", missing: Mapping[str, str] | None = None) -> Result:
    """Every hypothesis and rival with its answer. `missing` says why a hypothesis has no evidence."""
    known = [one.name for one in HYPOTHESES]
    for name in evidence:
        if name not in known:
            raise ProbeError(
                f"evidence for {name!r}", expected="a hypothesis", found=repr(name), remedy=nearest(name, known)
            )
    rows = [_row(one, evidence.get(one.name), (missing or {}).get(one.name, "")) for one in HYPOTHESES]
    table = _corrected(pd.DataFrame(rows))
    counts = table.loc[~table["rival"], "answer"].value_counts()
    outcome = ", ".join(
        f"{counts[answer]} {answer}"
        for answer in (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_MEASURED)
        if answer in counts
    )
    return Result(
        name="verdict",
        table=table.assign(pair=pair),
        title=f"Mechanism Shift's hypotheses{f', {pair}' if pair else ''}: {outcome}",
        caption="The measured quantity of each hypothesis with its 95% interval over prompts. The line is the smallest "
        "effect that counts: right of it, the hypothesis holds. Each hypothesis has its own scale, with its numbers "
        "beside it. Small marks are the same quantity for the controls. "
        "'Explained by' names a control that shows the same effect: then diffusion is not its cause.",
        drawing="verdict",
        about={
            "counts": {str(name): int(count) for name, count in counts.items()},
            "beside": {name: _beside(found.controls) for name, found in evidence.items()},
        },
    )


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Answers that do not survive correction for all measured hypotheses become undecided."""
    error = (table["high"] - table["low"]) / (2 * 1.959964)
    away = (table["estimate"] - table["null"]).abs() / error.where(error > 0, np.nan)
    q = adjusted(2 * ndtr(-away.to_numpy()))
    decided = table["answer"].isin([SUPPORTED, CONTRADICTED]).to_numpy()
    table = table.assign(q=q)
    table.loc[decided & (q >= LEVEL), ["answer", "explained_by", "how", "says"]] = [UNDECIDED, "", "", ""]
    return table


def _beside(controls: Mapping[str, Evidence]) -> dict[str, list[float]]:
    return {name: [one.estimate, one.low, one.high] for name, one in controls.items()}


def _row(one: Hypothesis, found: Evidence | None, missing: str) -> dict[str, Any]:
    named = {"hypothesis": one.name, "statement": one.statement, "written": one.written, "sign": one.sign}
    named |= {"source": one.source, "rival": one.rival, "null": one.threshold}
    named |= {"asks": one.asks, "reason": one.reason, "topic": one.topic, "yes": one.yes}
    texts = dict.fromkeys(("explained_by", "how", "says", "controls", "settings", "note"), "")
    if found is None:
        nothing = dict.fromkeys(("estimate", "low", "high"), np.nan)
        return {**named, **nothing, "n": 0, "tasks": 0, "answer": NOT_MEASURED, **texts, "note": missing}
    figures = {"estimate": found.estimate, "low": found.low, "high": found.high, "n": found.n, "tasks": found.tasks}
    texts |= {"explained_by": explained(found, one), "how": how(found, one), "says": says(found, one)}
    texts["controls"] = "; ".join(f"{name} {_shown(of)}" for name, of in found.controls.items())
    texts["settings"] = ", ".join(f"{count} {name}" for name, count in found.settings.items() if count)
    return {**named, **figures, "answer": answer(found.low, found.high, one.sign, one.threshold), **texts}


def _shown(one: Evidence) -> str:
    return f"{one.estimate:+.3g} [{one.low:.3g}, {one.high:.3g}]"
