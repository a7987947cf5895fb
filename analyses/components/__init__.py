"""Components: how much each head and MLP matters, and what a model answers without some of them.

    scores = scores_of(circuit)                             # by attribution: one number per component and example
    knockouts = Knockouts.of(model, batch, kind="mean")     # by ablating components
    knockouts.drop(knockouts.each())                        # the loss without each one, example by example
    measured(index_of, scores)                              # any measure of scores, with its interval
    change(index_of, ar_scores, scores)                     # its difference between two models

`front_loading`, `specialization`, `depth` and `hypotheses` build on these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.lazy import lazy

if TYPE_CHECKING:
    from analyses.components.knockouts import Knockouts
    from analyses.components.scores import (
        Measure,
        Scores,
        change,
        contrast,
        depths,
        measured,
        scores_of,
        side_by_side,
    )

__all__ = [
    "Knockouts",
    "Measure",
    "Scores",
    "change",
    "contrast",
    "depths",
    "measured",
    "scores_of",
    "side_by_side",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "knockouts": ("Knockouts",),
        "scores": ("Measure", "Scores", "change", "contrast", "depths", "measured", "scores_of", "side_by_side"),
    },
)
