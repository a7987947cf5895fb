"""The verdict: Mechanism Shift's claims, as hypotheses whose sign was written down before anything was measured.

Each is held against one figure with its interval, and answered

    supported      the whole interval lies on the claimed side of the threshold
    contradicted   the whole interval lies on the other side
    undecided      neither; more prompts, seeds or models might tell
    not asked      nobody measured it

and beside the answer stands what else explains the figure: if AR-CPT shows it too, it is more training; if a second
seed differs as much, it is chance; if the AR weights show it under the diffusion mask, it is the mask. A claim that is
"supported, explained by more training" is not evidence about diffusion.

The findings of others that point elsewhere are asked in the same way and in the same table (methods.md, section 2).

    verdict({"did": Evidence.of(row), "spread": Evidence.of(row, controls)}).table
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analyses.result import Result
from analyses.statistics import Estimate
from probe.errors import ProbeError, nearest

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_ASKED = "supported", "contradicted", "undecided", "not asked"

_SHIFT = "Mechanism Shift (2601.14758)"


@dataclass(frozen=True)
class Hypothesis:
    """A claim as a side of a threshold: `sign` 1 is above it, -1 below."""

    name: str
    claim: str
    figure: str
    sign: int
    threshold: float = 0.0
    source: str = _SHIFT
    rival: bool = False

    @property
    def written(self) -> str:
        return f"{self.figure} {'>' if self.sign > 0 else '<'} {self.threshold:g}"


HYPOTHESES = (
    Hypothesis("local retention", "On local tasks the circuit is kept.", "R, local", 1, 0.5),
    Hypothesis("global retention", "On globally constrained tasks it is not.", "R, global", -1, 0.5),
    Hypothesis("retention gap", "Less is kept on global tasks than on local ones.", "R local − R global", 1),
    Hypothesis("did", "On global tasks computation moves earlier, more than on local ones.", "DiD of FLI", 1),
    Hypothesis("global front-loading", "On global tasks computation moves earlier.", "ΔFLI, global", 1),
    Hypothesis("causal did", "The same by cause: layers knocked out instead of attributed.", "DiD of causal FLI", 1),
    Hypothesis("spread", "Components are less sharply specialised.", "ΔPR/n", 1),
    Hypothesis("spread within layers", "The same within layers, whatever the depth.", "ΔPR within layers", 1),
    Hypothesis("knock-out area", "No few components carry the answer any more.", "Δ(area − random)", 1),
    Hypothesis("early knock-outs", "Early structures matter more than as many random ones.", "early − random", 1),
    Hypothesis("diffuse output", "Components' outputs are more diffuse.", "Δ component lens entropy", 1),
    Hypothesis(
        "representations kept", "The representations stay AR-like.", "CKA", 1, 0.9, "Dream (2603.07475)", rival=True
    ),
    Hypothesis(
        "early layers redundant", "The early layers are the ones that can be left out.", "Δ early knock-out loss", -1,
        0.0, "LLaDA (2605.06366)", rival=True,
    ),
    Hypothesis(
        "same function", "Circuits that share few edges do the same thing.", "cross-faithfulness − random", 1, 0.0,
        "2606.06267", rival=True,
    ),
    Hypothesis(
        "lookahead", "What moves computation earlier is sight of the right context.", "ΔFLI one mask − prefix", 1, 0.0,
        "rival account", rival=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """A figure with its interval, and the same figure's controls where they were measured.

    Controls by name: "more training", "beyond training", "seed", "weights", "mask".
    """

    estimate: float
    low: float
    high: float
    n: int
    controls: Mapping[str, Evidence] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)  # how many settings of the robustness grid say what

    @classmethod
    def of(
        cls,
        row: Mapping[str, Any] | pd.Series | Estimate,
        controls: Mapping[str, Any] | None = None,
        settings: Mapping[str, int] | None = None,
    ) -> Evidence:
        """From an Estimate of one figure, or a row of any Result's table."""
        found: Mapping[Any, Any] = row.row() if isinstance(row, Estimate) else dict(row)
        beside = {name: one if isinstance(one, Evidence) else cls.of(one) for name, one in (controls or {}).items()}
        estimate, low, high, n = (float(found[name]) for name in ("estimate", "low", "high", "n"))
        return cls(estimate, low, high, int(n), beside, settings or {})


def answer(low: float, high: float, sign: int, threshold: float = 0.0) -> str:
    """What an interval says of a claimed side of a threshold."""
    if np.isnan(low) or np.isnan(high):
        return UNDECIDED
    below, above = high < threshold, low > threshold
    if not (below or above):
        return UNDECIDED
    return SUPPORTED if above == (sign > 0) else CONTRADICTED


def explained(evidence: Evidence, hypothesis: Hypothesis) -> str:
    """Which control accounts for a figure that was found; empty where none does."""
    verdict = answer(evidence.low, evidence.high, hypothesis.sign, hypothesis.threshold)
    if verdict not in (SUPPORTED, CONTRADICTED) or hypothesis.threshold:
        return ""  # controls are differences: they account for differences
    side = 1 if evidence.low > 0 else -1
    return "; ".join(
        name
        for name, accounts in (
            ("more training", _more_training(evidence.controls, side)),
            ("seed", _seed(evidence)),
            ("mask", _one_part(evidence.controls, "mask", "weights", side)),
            ("weights", _one_part(evidence.controls, "weights", "mask", side)),
        )
        if accounts
    )


def _more_training(controls: Mapping[str, Evidence], side: int) -> bool:
    """AR-CPT shows it as well, and beyond AR-CPT nothing of that side is left."""
    more, beyond = controls.get("more training"), controls.get("beyond training")
    return more is not None and beyond is not None and _on(more, side) and not _on(beyond, side)


def _seed(evidence: Evidence) -> bool:
    """A second seed differs as much."""
    floors = [abs(one.estimate) for name, one in evidence.controls.items() if name.startswith("seed")]
    return bool(floors) and max(floors) >= abs(evidence.estimate)


def _one_part(controls: Mapping[str, Evidence], part: str, other: str, side: int) -> bool:
    return part in controls and other in controls and _on(controls[part], side) and not _on(controls[other], side)


def _on(one: Evidence, side: int) -> bool:
    return one.low > 0 if side > 0 else one.high < 0


def verdict(evidence: Mapping[str, Evidence], *, pair: str = "") -> Result:
    """Every hypothesis and rival with its answer."""
    known = [one.name for one in HYPOTHESES]
    for name in evidence:
        if name not in known:
            raise ProbeError(
                f"evidence for {name!r}", expected="a hypothesis", found=repr(name), remedy=nearest(name, known)
            )
    table = pd.DataFrame([_row(one, evidence.get(one.name)) for one in HYPOTHESES])
    counts = table.loc[~table["rival"], "verdict"].value_counts()
    told = ", ".join(
        f"{counts[answer]} {answer}" for answer in (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_ASKED) if answer in counts
    )
    return Result(
        name="verdict",
        table=table.assign(pair=pair),
        title=f"Mechanism Shift's claims{f', {pair}' if pair else ''}: {told}",
        reads="Each claim's figure with its 95% interval; the tick is the threshold that was written down before. "
        "'By' names a control that shows the same: then it is not diffusion's doing.",
        drawing="verdict",
        about={"counts": {str(name): int(count) for name, count in counts.items()}},
    )


def _row(one: Hypothesis, found: Evidence | None) -> dict[str, Any]:
    named = {"hypothesis": one.name, "claim": one.claim, "written": one.written, "sign": one.sign}
    named |= {"source": one.source, "rival": one.rival, "null": one.threshold}
    if found is None:
        nothing = dict.fromkeys(("estimate", "low", "high"), np.nan)
        return {**named, **nothing, "n": 0, "verdict": NOT_ASKED, "explained_by": "", "settings": ""}
    settings = ", ".join(f"{count} {name}" for name, count in found.settings.items() if count)
    verdict = answer(found.low, found.high, one.sign, one.threshold)
    figures = {"estimate": found.estimate, "low": found.low, "high": found.high, "n": found.n}
    return {**named, **figures, "verdict": verdict, "explained_by": explained(found, one), "settings": settings}
