"""The hypotheses: each a statement, the figure that decides it, and the least that the figure must show.

Mechanism Shift's own come first, then rival findings (`rival`). Statement, figure and direction were written down
before anything was measured. A direction alone is too little: with enough prompts a change of 0.001 is above 0, and
would support "computation moves earlier". So each hypothesis has a `threshold`, the smallest effect that its sentence
needs, and the reason for it:

    supported      the whole interval is at least as large an effect
    contradicted   the whole interval is a smaller one, or one in the opposite direction

The thresholds 0.5 and 0.9 are as old as the statements. The others were added after first results of the shipped twins
were known. They are taken from what each figure's range means, not from those results, and are the same for every pair.

"Circuits that share few edges do the same thing" says nothing of circuits that share most edges, so it is asked only
where retention is below FEW_EDGES.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHIFT = "Mechanism Shift (2601.14758)"
_A_LAYER_OF_FORTY = "the centre of mass moves by a fortieth of the depth, a layer in a model of forty"
_TWENTIETH = "a twentieth of the answer"


@dataclass(frozen=True)
class Hypothesis:
    """A statement as a side of a threshold: `sign` 1 says that the figure lies above it, -1 below.

    asks       the question that it puts, in one line
    reason     why the threshold is what it is
    yes, no    what is found of a pair where it is supported, and where it is contradicted
    opposite   what is found where the effect is as large in the other direction; empty where there is no such thing
    topic      what its finding is told together with in a report's first sentences; empty where it is not
    likeness   the figure is a likeness (0 to 1), not a change from 0
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
        "R is 0 by chance and 1 if as much is kept as prompts allow: at least half of that",
        yes="the AR circuit is kept on local tasks", no="the AR circuit is not kept on local tasks",
        topic="circuit", likeness=True,
    ),
    Hypothesis(
        "global retention",
        "On globally constrained tasks it is not.",
        "Is it replaced on globally constrained tasks?",
        "R, global", -1, 0.5,
        "less than half of what prompts allow",
        yes="the AR circuit is not kept on global tasks", no="it is kept on global tasks",
        topic="circuit", likeness=True,
    ),
    Hypothesis(
        "retention gap",
        "Less is kept on global tasks than on local ones.",
        "Is less of it kept on global tasks than on local ones?",
        "R local − R global", 1, 0.05,
        "a twentieth of the way from chance to all that can be kept",
        yes="less of it is kept on global tasks than on local ones",
        no="no less of it is kept on global tasks than on local ones",
        opposite="more of it is kept on global tasks than on local ones",
    ),
    Hypothesis(
        "did",
        "On global tasks computation moves earlier, more than on local ones.",
        "Does work move earlier on global tasks, more than on local ones?",
        "DiD of FLI", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="earlier on global tasks, compared with local ones",
        no="no earlier on global tasks, compared with local ones",
        opposite="later on global tasks, compared with local ones",
    ),
    Hypothesis(
        "global front-loading",
        "On global tasks computation moves earlier.",
        "Does work move to earlier layers on global tasks?",
        "ΔFLI, global", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="computation moves earlier on global tasks", no="computation does not move earlier on global tasks",
        opposite="computation moves later on global tasks", topic="depth",
    ),
    Hypothesis(
        "causal did",
        "The same by cause: layers knocked out instead of attributed.",
        "Does the same show when layers are knocked out?",
        "DiD of causal FLI", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="by knock-outs, layers that matter lie earlier on global tasks, compared with local ones",
        no="by knock-outs, layers that matter lie no earlier on global tasks, compared with local ones",
        opposite="by knock-outs, layers that matter lie later on global tasks, compared with local ones",
    ),
    Hypothesis(
        "spread",
        "Components are less sharply specialised.",
        "Do more heads and MLPs share the work?",
        "ΔPR/n", 1, 0.05,
        "a twentieth of all components more",
        yes="more components share the work", no="no more components share the work",
        opposite="fewer components share the work", topic="spread",
    ),
    Hypothesis(
        "spread within layers",
        "The same within layers, whatever the depth.",
        "Do more of a layer's own components share its work?",
        "ΔPR within layers", 1, 0.25,
        "a quarter of a component in each layer",
        yes="within layers, more components share the work", no="within layers, no more components share the work",
        opposite="within layers, fewer components share the work",
    ),
    Hypothesis(
        "knock-out area",
        "No few components carry the answer any more.",
        "Does the answer outlast its strongest components better?",
        "Δ(area − random)", 1, 0.05,
        f"{_TWENTIETH} more survives, over all numbers of components knocked out",
        yes="the answer survives the loss of its strongest components better",
        no="the answer survives the loss of its strongest components no better",
        opposite="the answer survives the loss of its strongest components worse",
    ),
    Hypothesis(
        "early knock-outs",
        "On global tasks early structures matter more than random ones.",
        "Do the strongest early components carry more than random ones?",
        "loss early − random", 1, 0.05, _TWENTIETH,
        yes="early components matter more than random ones on global tasks",
        no="early components matter no more than random ones on global tasks",
        opposite="early components matter less than random ones on global tasks",
    ),
    Hypothesis(
        "diffuse output",
        "Components' outputs are more diffuse.",
        "Does each component speak for more tokens at once?",
        "Δ entropy of own outputs (nats)", 1, 0.1,
        "a tenth more tokens in play, e^0.1",
        yes="components' own outputs are more diffuse", no="components' own outputs are no more diffuse",
        opposite="components' own outputs are less diffuse", topic="spread",
    ),
    Hypothesis(
        "representations kept",
        "The representations stay AR-like.",
        "Do layers arrange tokens as in the AR model?",
        "CKA", 1, 0.9,
        "likeness that leaves a tenth for what changed",
        yes="representations stay AR-like", no="representations do not stay AR-like",
        likeness=True, source="Dream (2603.07475)", rival=True,
    ),
    Hypothesis(
        "early layers redundant",
        "The early layers are the ones that can be left out.",
        "Is less lost without an early layer than in the AR model?",
        "Δ early knock-out loss", -1, -0.05, f"{_TWENTIETH} less is lost",
        yes="early layers can be left out better than in the AR model",
        no="early layers can be left out no better than in the AR model",
        opposite="early layers can be left out worse than in the AR model",
        source="LLaDA (2605.06366)", rival=True,
    ),
    Hypothesis(
        "same function",
        "Circuits that share few edges do the same thing.",
        "Where few edges are shared, does the AR circuit still do the work?",
        "transfer (random 0, own 1)", 1, 0.5,
        "at least half of what its own circuit does beyond random edges; less is not the same thing",
        yes="it still does most of the work in the diffusion model",
        no="it does less than half of the work in the diffusion model",
        topic="circuit", likeness=True, source="2606.06267", rival=True,
    ),
    Hypothesis(
        "right context",
        "What moves computation earlier is sight of the right context.",
        "Does sight of the right context move work earlier?",
        "ΔFLI one mask − prefix", 1, 0.05, _A_LAYER_OF_FORTY,
        yes="sight of the right context moves computation earlier",
        no="sight of the right context does not move computation earlier",
        opposite="sight of the right context moves computation later",
        source="rival account", rival=True,
    ),
)  # fmt: skip
FEW_EDGES = 0.5
"""Circuits whose retention is below this share few edges: what "same function" is asked of."""
