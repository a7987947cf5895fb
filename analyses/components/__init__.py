"""Components: heads and MLPs with a score on every prompt, by attribution or by knocking them out.

components.scores_of(circuit)               node scores of a circuit, prompt by prompt
components.Knockouts.of(model, batch)       the answer without any set of components, each set run once
"""

from __future__ import annotations

from analyses.components.knockouts import Knockouts
from analyses.components.scores import Scores, scores_of

__all__ = ["Knockouts", "Scores", "scores_of"]
