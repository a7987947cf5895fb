"""The report's glossary: words that are not the field's own, explained once and linked from the figures."""

from __future__ import annotations

WORDS = {
    "Retention": "R = (J − J₀) / (J_split − J₀), where J is the share of the strongest edges that two circuits have in "
    "common: 0 if they agree by chance alone, 1 if they agree as much as two halves of the prompts do in "
    "one model.",
    "FLI": "Front-loading index, 1 − 2 × the mean depth of attribution: 1 if all is computed in the first layer, "
    "−1 if in the last. ΔFLI is the diffusion model's minus the AR model's; above 0 it computes earlier.",
    "DiD": "Difference in differences: ΔFLI on global tasks minus ΔFLI on local ones. Above 0, computation moves "
    "earlier on tasks whose answer's tokens constrain each other, compared with the others.",
    "PR": "Participation ratio, (Σa)²/Σa²: how many of n components share the work, from 1 to n. PR/n is their share.",
    "AR-CPT": "The AR model trained for as many more steps as the twin, on the same data, with its own objective. A "
    "change that it shows too is explained by more training, not by diffusion.",
    "Second seed": "The same recipe with another random seed. Differences between two seeds are chance; grey in the "
    "figures.",
    "Smallest effect": "The smallest size at which a hypothesis counts as true, fixed beforehand with its reason. An "
    "effect shown to be smaller contradicts the hypothesis.",
    "Faithfulness": "The share of the whole model's metric that a circuit alone keeps: 0 nothing, 1 all of it.",
    "Transfer": "The faithfulness of one model's circuit in the other: 0 that of random edges at the same depths, 1 "
    "that of its own circuit.",
    "2×2": "{AR, diffusion} weights × {causal, native} attention mask. It separates the effect of the weights from "
    "that of the mask: total = weights + mask.",
    "CKA": "How similarly two layers arrange the same tokens, whatever their bases: 0 not at all, 1 entirely.",
    "Kept": "An edge is called kept, lost or gained if another seed and other prompts do not explain it; else "
    "undecided.",
    "Drift": "‖W − W_AR‖/‖W_AR‖ of a module's weights.",
    "Sink": "The token of a text that gets the most attention, and its share of all attention.",
    "Causal FLI": "FLI computed from the loss when whole layers are knocked out, instead of from attribution.",
    "Right context": "FLI with everything but the answer visible, minus FLI with only the left context.",
    "Jacobian lens": "Reads a layer's state as the later layers transform it, to first order and on average; also "
    "shows from which side of the answer's slot information arrives.",
    "Crosscoder": "A dictionary of directions, one set of latents for two models and a decoder for each: a state of "
    "either is written as a sum of a few of them.",
    "Latent scaling": "How long a latent is in each of two models, by regressing on it what the others leave of the "
    "states. ν is the shorter length divided by the longer: 1 if both have the feature alike, 0 if one lacks it.",
    "Direct attribution": "The part of logit(target) − logit(distractor) that a component's output adds directly.",
}
"""Each word's meaning, in the order in which a reader meets them."""


def used(terms: set[str]) -> dict[str, str]:
    """The words that a page uses, with their meanings."""
    always = {"AR-CPT", "Second seed", "Smallest effect"}
    return {word: meaning for word, meaning in WORDS.items() if word in terms | always}
