"""Whether the models answer at all: how often each is right, and one prompt with what each of them says to it.

    result = answers.accuracy(pair, probe.task("ioi"), n=200)
    result.table                     # one row a model: the share right, with the share that a guess gets right
    result.about["example"]          # a clean and a corrupt prompt, and each model's answer to both

How an answer is computed can only be asked of a model that gives it, so every comparison of circuits begins here.
"""

from __future__ import annotations

from analyses.answers.accuracy import accuracy, of_pool

__all__ = ["accuracy", "of_pool"]
