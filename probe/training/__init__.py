"""Making twins: a recipe, the training batches it means, and the run that turns them into weights."""

from __future__ import annotations

from probe.training.adapt import adapt, as_it_is
from probe.training.recipe import Recipe, read_recipe

__all__ = ["Recipe", "adapt", "as_it_is", "read_recipe"]
