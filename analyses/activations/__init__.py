"""Activations: the residual stream at the slot that predicts an answer, and what each layer adds to it.

states = activations.answer_states(pair, batch)             one forward pass per model, for many measures
activations.contributions(pair, batch, states=states)       how much each layer writes, and in which direction
"""

from __future__ import annotations

from analyses.activations.answer_states import READ_SITES, AnswerStates, GivenStates, answer_states
from analyses.activations.residual_contributions import contributions

__all__ = ["READ_SITES", "AnswerStates", "GivenStates", "answer_states", "contributions"]
