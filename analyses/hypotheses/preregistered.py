"""The hypotheses: each a statement, the quantity that decides it, and the smallest effect that counts.

Mechanism Shift's own come first, then rival findings (`rival`). Statement, quantity and direction were written down
before anything was measured. A direction alone is too little: with enough prompts the interval of a change of 0.001 is
above 0, and would support "computation moves earlier". So each hypothesis has a `threshold`, its smallest effect, and
the reason for it:

    supported      the whole interval is at or beyond the threshold
    contradicted   the whole interval is below it, or in the opposite direction

The thresholds 0.5 and 0.9 are as old as the statements. The others were added after first results of the shipped twins
were known. They follow from the range of each quantity, not from those results, and are the same for every pair.

"Circuits that share few edges do the same thing" does not apply to circuits that share most edges, so it is tested only
where retention is below FEW_EDGES.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHIFT = "Mechanism Shift (2601.14758)"
_A_LAYER_OF_FORTY = "the centre of mass moves by a fortieth of the depth, a layer in a model of forty"
_TWENTIETH = "a twentieth of the answer"


@dataclass(frozen=True)
class Hypothesis:
    """A statement that `figure`, a measured quantity, is above the threshold (`sign` 1) or below it (-1).

    asks       the statement as a question, in one line
    reason     why the threshold has this value
    yes, no    the finding in words if it is supported, and if it is contradicted
    opposite   the finding if the effect is as large in the other direction; empty if there is no such thing
    topic      groups findings into the first sentences of a report; empty if it is not among them
    likeness   the quantity is a similarity (0 to 1), not a change from 0
    """

    name: str
    statement: str
    asks: str
    figure: str
    sign: int
    threshold: float
    reason: str
    yes: str
    no: str
    opposite: str = ""
    topic: str = ""
    likeness: bool = False
    source: str = _SHIFT
    rival: bool = False

    @property
    def written(self) -> str:
        threshold = f"{self.threshold:g}".replace("-", "\N{MINUS SIGN}")
        return f"{self.figure} {'>' if self.sign > 0 else '<'} {threshold}"


HYPOTHESES = (
    Hypothesis(
        "local retention",
        "On local tasks the circuit is kept.",
        "Is the AR circuit kept on local tasks?",
        "R, local", 1, 0.5,
        "half way from chance (0) to the overlap of two halves of the prompts (1)",
        yes="the AR circuit is kept on local tasks", no="the AR circuit is not kept on local tasks",
        topic="circuit", likeness=True,
    ),
    Hypothesis(
        "global retention",
        "On globally constrained tasks the circuit is not kept.",
        "Is the AR circuit replaced on globally constrained tasks?",
        "R, global", -1, 0.5,
        "half way from chance (0) to the overlap of two halves of the prompts (1)",
        yes="the AR circuit is not kept on global tasks", no="it is kept on global tasks",
        topic="circuit", likeness=True,
    ),
    Hypothesis(
        "retention gap",
        "Less of the circuit is kept on global tasks than on local ones.",
        "Is less of the AR circuit kept on global tasks than on local ones?",
        "R local − R global", 1, 0.05,
        "a twentieth of the way from chance to the overlap of two halves of the prompts",
        yes="less of the AR circuit is kept on global tasks than on local ones",
        no="no less of the AR circuit is kept on global tasks than on local ones",
        opposite="more of the AR circuit is kept on global tasks than on local ones",
    ),
    Hypothesis(
        "did",
        "Computation moves earlier on global tasks, compared with local ones.",
        "Does computation move earlier on global tasks, compared with local ones?",
        "DiD of FLI", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="computation moves earlier on global tasks, compared with local ones",
        no="computation moves no earlier on global tasks, compared with local ones",
        opposite="computation moves later on global tasks, compared with local ones",
    ),
    Hypothesis(
        "global front-loading",
        "On global tasks computation moves earlier.",
        "Does computation move to earlier layers on global tasks?",
        "ΔFLI, global", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="computation moves earlier on global tasks", no="computation does not move earlier on global tasks",
        opposite="computation moves later on global tasks", topic="depth",
    ),
    Hypothesis(
        "causal did",
        "Knocking out layers, instead of attributing, shows the same.",
        "Does knocking out layers show the same?",
        "DiD of causal FLI", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="by knock-outs, computation moves earlier on global tasks, compared with local ones",
        no="by knock-outs, computation moves no earlier on global tasks, compared with local ones",
        opposite="by knock-outs, computation moves later on global tasks, compared with local ones",
    ),
    Hypothesis(
        "spread",
        "Components are less sharply specialised.",
        "Do more heads and MLPs share the work?",
        "ΔPR/n", 1, 0.05,
        "a twentieth of all components more",
        yes="more components share the work", no="the work is not shared by more components",
        opposite="fewer components share the work", topic="spread",
    ),
    Hypothesis(
        "spread within layers",
        "Within layers, too, components are less sharply specialised.",
        "Do more components of a layer share its work?",
        "ΔPR within layers", 1, 0.25,
        "a quarter of a component in each layer",
        yes="within layers, more components share the work",
        no="within layers, the work is not shared by more components",
        opposite="within layers, fewer components share the work",
    ),
    Hypothesis(
        "knock-out area",
        "The answer depends less on a few components.",
        "Is the answer more robust to the loss of its strongest components?",
        "Δ(area − random)", 1, 0.05,
        f"{_TWENTIETH} more survives, averaged over the number of components knocked out",
        yes="the answer is more robust to the loss of its strongest components",
        no="the answer is no more robust to the loss of its strongest components",
        opposite="the answer is less robust to the loss of its strongest components",
    ),
    Hypothesis(
        "early knock-outs",
        "On global tasks early structures matter more than random ones.",
        "Does the answer depend more on the strongest early components than on random ones?",
        "loss early − random", 1, 0.05, _TWENTIETH,
        yes="early components matter more than random ones on global tasks",
        no="early components matter no more than random ones on global tasks",
        opposite="early components matter less than random ones on global tasks",
    ),
    Hypothesis(
        "diffuse output",
        "Components' outputs are more diffuse.",
        "Does each component's output favour more tokens at once?",
        "Δ entropy of own outputs (nats)", 1, 0.1,
        "a tenth more tokens, since e^0.1 is 1.1",
        yes="components' own outputs are more diffuse", no="components' own outputs are not more diffuse",
        opposite="components' own outputs are less diffuse", topic="spread",
    ),
    Hypothesis(
        "representations kept",
        "The representations stay AR-like.",
        "Do layers arrange tokens as in the AR model?",
        "CKA", 1, 0.9,
        "at most a tenth below full similarity",
        yes="representations stay AR-like", no="representations do not stay AR-like",
        likeness=True, source="Dream (2603.07475)", rival=True,
    ),
    Hypothesis(
        "early layers redundant",
        "Early layers are redundant.",
        "Does the answer lose less without an early layer than in the AR model?",
        "Δ early knock-out loss", -1, -0.05, f"{_TWENTIETH} less is lost",
        yes="early layers are more redundant than in the AR model",
        no="early layers are no more redundant than in the AR model",
        opposite="early layers are less redundant than in the AR model",
        source="LLaDA (2605.06366)", rival=True,
    ),
    Hypothesis(
        "same function",
        "Circuits that share few edges do the same thing.",
        "If few edges are shared, does the AR circuit still work in the diffusion model?",
        "transfer (random 0, own 1)", 1, 0.5,
        "half way from random edges (0) to the model's own circuit (1)",
        yes="it still does most of the work in the diffusion model",
        no="it does less than half of the work in the diffusion model",
        topic="circuit", likeness=True, source="2606.06267", rival=True,
    ),
    Hypothesis(
        "right context",
        "Computation moves earlier because the model sees the right context.",
        "Does seeing the right context move computation earlier?",
        "ΔFLI one mask − prefix", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="seeing the right context moves computation earlier",
        no="seeing the right context does not move computation earlier",
        opposite="seeing the right context moves computation later",
        source="rival account", rival=True,
    ),
)  # fmt: skip
FEW_EDGES = 0.5
"""Circuits whose retention is below this share few edges; "same function" is tested on these only."""
