"""Making twins: a recipe, the training batches it means, and the run that turns them into weights."""

from __future__ import annotations

from probe.training.adapt import adapt
from probe.training.recipe import Recipe, read_recipe

__all__ = ["Recipe", "adapt", "read_recipe"]
