"""Revision: answers that change during decoding, and positions that are written more than once.

revision.by_step(pair, task, batch, sampler=Sampler("random", steps=32, temperature=1.0, remask="cap"))
revision.figures(run, task, batch)          # for a finished run, one row per example
"""

from __future__ import annotations

from analyses.revision.answers_by_step import FIGURES, by_step, figures

__all__ = ["FIGURES", "by_step", "figures"]
