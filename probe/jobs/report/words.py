"""The words that a report uses and that are not the field's own: each explained once, and linked where it stands."""

from __future__ import annotations

WORDS = {
    "Retention": "R = (J − J₀) / (J_split − J₀), where J is the share of the strongest edges that two circuits have in "
    "common: 0 if they agree by chance alone, 1 if they agree as much as two halves of the prompts do in "
    "one model.",
    "FLI": "Front-loading index, 1 − 2 × the mean depth of attribution: 1 if all is computed in the first layer, "
    "−1 if in the last. ΔFLI is the diffusion model's less the AR model's; above 0 it computes earlier.",
    "DiD": "Difference in differences: ΔFLI on global tasks less ΔFLI on local ones. Above 0, computation moves "
    "earlier where the parts of an answer constrain each other, more than elsewhere.",
    "PR": "Participation ratio, (Σa)²/Σa²: how many of n components share the work, from 1 to n. PR/n is their share.",
    "AR-CPT": "The AR model trained on for as long as the twin was, on the same data, by its own objective. What it "
    "shows too, more training explains, and not diffusion.",
    "Second seed": "The same recipe with another random seed. What two seeds differ by is chance; grey in the figures.",
    "Smallest effect": "The least that a hypothesis's sentence needs, named beforehand with its reason. A shown effect "
    "below it contradicts the sentence.",
    "Faithfulness": "What a circuit alone does of what the whole model does: 0 nothing, 1 all of it.",
    "Transfer": "What one model's circuit does in the other: 0 as random edges at the same depths, 1 as its own "
    "circuit.",
    "2×2": "{AR, diffusion} weights × {causal, native} attention mask. It parts what the weights changed from "
    "what the mask changed: total = weights + mask.",
    "CKA": "Whether two layers arrange the same tokens alike, in whatever basis: 0 not at all, 1 entirely.",
    "Kept": "An edge is kept, lost or gained if it is so beyond what a new seed and other prompts change; else "
    "undecided.",
    "Drift": "‖W − W_AR‖/‖W_AR‖ of a module's weights.",
    "Sink": "The most looked-at token of a text, and the share of all attention that it gets.",
    "Causal FLI": "The same as FLI, of what is lost when whole layers are knocked out.",
    "Right context": "FLI with everything but the answer in sight, less FLI with the left context alone.",
    "Jacobian lens": "A state after some layer as what later layers make of it, to first order and on average; and "
    "from which side of the answer's slot it arrives there.",
    "Direct attribution": "The part of logit(target) − logit(distractor) that a component writes itself.",
}
"""Each word's meaning, in the order in which a reader meets them."""


def used(terms: set[str]) -> dict[str, str]:
    """The words that a page uses, with their meanings."""
    always = {"AR-CPT", "Second seed", "Smallest effect"}
    return {word: meaning for word, meaning in WORDS.items() if word in terms | always}
