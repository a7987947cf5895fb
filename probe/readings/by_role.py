"""How each model of a pair is asked: by the reading at hand, or in the one way that its paradigm knows.

An AR model has no future to hide and no masks to look at. Asked beside its twin it is therefore always asked by `ar`,
whatever the twin is asked by; its paradigm says so (`Paradigm.asked_by`), and `reading_for` is the one place that heeds
it. A reading of decoding runs is the exception: every model has runs of its own.
"""

from __future__ import annotations

from dataclasses import replace

from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.reading import Reading
from probe.readings.registry import named


def roles(models: Model | Pair, reading: str | Reading, *, square: bool = False) -> dict[str, tuple[Model, Reading]]:
    """Each model by its role, and how it is asked: by its paradigm's own reading, or by `reading`.

    `square` adds the two other cells of the 2×2: AR weights under the diffusion twin's own mask, and the diffusion
    weights under the causal one. What a cell shares with a neighbour is not the cause of their difference.
    """
    reading = named(reading)
    if isinstance(models, Model):
        return {"model": (models, reading_for(models, reading))}
    found = {role: (model, reading_for(model, reading)) for role, model in models.models.items()}
    if square:
        native = models.diffusion.paradigm.attention
        found["ar, native mask"] = (models.ar, replace(reading, attention=native))
        found["diffusion, causal mask"] = (models.diffusion, replace(reading, attention="causal"))
    return found


def reading_for(model: Model, reading: str | Reading, *, runs: bool = True) -> Reading:
    """How a model is asked what its twin is asked by a reading. `runs=False` asks it in its paradigm's own way even
    where the twin is asked about the states of a decoding run."""
    reading = named(reading)
    own = model.paradigm.asked_by
    return reading if own is None or (runs and reading.of_runs) else named(own)
