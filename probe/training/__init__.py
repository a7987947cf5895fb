"""Making twins: a recipe, its training batches, and the run that trains the weights."""

from __future__ import annotations

from probe.training.adapt import adapt, as_it_is
from probe.training.recipe import Recipe, read_recipe

__all__ = ["Recipe", "adapt", "as_it_is", "read_recipe"]
