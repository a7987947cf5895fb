"""The reading of each model of a pair: the given one, or the only one that its paradigm has.

An AR model sees no right context and no masks. So whatever reading its twin has, an AR model is read by `ar`; its
paradigm says so (`Paradigm.asked_by`), and `reading_for` is the only place that checks it. A reading of decoding runs
is the exception: every model has runs of its own.
"""

from __future__ import annotations

from dataclasses import replace

from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.reading import Reading
from probe.readings.registry import named


def roles(models: Model | Pair, reading: str | Reading, *, square: bool = False) -> dict[str, tuple[Model, Reading]]:
    """Each model by its role, with its reading: its paradigm's own, or `reading`.

    `square` adds the two other cells of the 2×2: AR weights under the diffusion twin's own mask, and the diffusion
    weights under the causal one. Neighbouring cells differ in one factor only.
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
    """A model's reading when its twin has the given one. `runs=False` uses the paradigm's own reading even if the
    twin's is of a decoding run."""
    reading = named(reading)
    own = model.paradigm.asked_by
    return reading if own is None or (runs and reading.of_runs) else named(own)
