"""Whether the models answer at all: how often each is right, and one prompt with what each of them says to it.

    result = answers.accuracy(pair, probe.task("ioi"), n=200)
    result.table                     # one row a model: the share right, with the share that a guess gets right
    result.about["example"]          # a clean and a corrupt prompt, and each model's answer to both

    answers.asked(pair, batch, ["prefix", "one_mask"]).figure()    # one batch, asked in several ways, or with edits

How an answer is computed can only be asked of a model that gives it, so every comparison of circuits begins here.
"""

from __future__ import annotations

from analyses.answers.accuracy import accuracy, of_pool
from analyses.answers.asked import asked

__all__ = ["accuracy", "asked", "of_pool"]
