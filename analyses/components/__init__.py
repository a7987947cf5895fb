"""Components: heads and MLPs, how much each matters, and what a model answers without some of them.

    scores = scores_of(circuit)                             # by attribution: a number for each component and example
    knockouts = Knockouts.of(model, batch, kind="mean")     # by taking components out
    knockouts.drop(knockouts.each())                        # what each loses alone, example by example
    measured(index_of, scores)                              # any measure of scores, with its interval
    change(index_of, ar_scores, scores)                     # its difference between two models

`front_loading`, `specialization`, `depth` and `hypotheses` are made of these.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

# Imported when they are first used: knock-outs need torch, scores do not.
_HOMES = {
    "Knockouts": "knockouts",
    **dict.fromkeys(
        ("Measure", "Scores", "change", "contrast", "depths", "measured", "scores_of", "side_by_side"), "scores"
    ),
}

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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"analyses.components.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'analyses.components' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
