"""The hypotheses: each a statement, the figure that decides it, and the side of a threshold where the figure must lie.

They were written down before anything was measured, Mechanism Shift's own first, then rival findings (`rival`).
"""

from __future__ import annotations

from dataclasses import dataclass

_SHIFT = "Mechanism Shift (2601.14758)"


@dataclass(frozen=True)
class Hypothesis:
    """A statement as a side of a threshold: `sign` 1 says that the figure lies above it, -1 below."""

    name: str
    statement: str
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
    Hypothesis(
        "early knock-outs", "On global tasks early structures matter more than random ones.", "loss early − random", 1
    ),
    Hypothesis("diffuse output", "Components' outputs are more diffuse.", "Δ entropy of own outputs (nats)", 1),
    Hypothesis(
        "representations kept", "The representations stay AR-like.", "CKA", 1, 0.9, "Dream (2603.07475)", rival=True
    ),
    Hypothesis(
        "early layers redundant", "The early layers are the ones that can be left out.", "Δ early knock-out loss", -1,
        0.0, "LLaDA (2605.06366)", rival=True,
    ),
    Hypothesis(
        "same function", "Circuits that share few edges do the same thing.", "transfer (random 0, own 1)", 1,
        0.0, "2606.06267", rival=True,
    ),
    Hypothesis(
        "lookahead", "What moves computation earlier is sight of the right context.", "ΔFLI one mask − prefix", 1, 0.0,
        "rival account", rival=True,
    ),
)  # fmt: skip
