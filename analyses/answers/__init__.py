"""Whether the models answer at all: how often each is right, and one prompt with each model's answer.

    result = answers.accuracy(pair, probe.task("ioi"), n=200)
    result.table                     # one row per model: the share right, and how often a guess would be
    result.about["example"]          # a clean and a corrupt prompt, and each model's answer to both

    answers.asked(pair, batch, ["prefix", "one_mask"]).figure()    # one batch under several readings or edits

Asking how a model computes an answer makes sense only if it gives that answer, so every comparison of circuits begins
here.
"""

from __future__ import annotations

from analyses.answers.accuracy import accuracy, of_pool
from analyses.answers.asked import asked

__all__ = ["accuracy", "asked", "of_pool"]
