"""The readings of a whole pair: how each of its models is asked, by role."""

from __future__ import annotations

from dataclasses import replace

from probe.models.model import Model
from probe.pairs import Pair
from probe.readings.reading import Reading
from probe.readings.registry import named
from probe.readings.still import AR
from probe.readings.trajectory import TrajectoryReading


def roles(models: Model | Pair, reading: str | Reading, *, square: bool = False) -> dict[str, tuple[Model, Reading]]:
    """Each model by its role, and how it is asked: AR models under `ar`, the others under `reading`.

    `square` adds the two other cells of the 2×2: AR weights under the diffusion twin's own mask, and the diffusion
    weights under the causal one. What a cell shares with a neighbour is not the cause of their difference.
    """
    reading = named(reading)
    if isinstance(models, Model):
        return {"model": (models, _own(models, reading))}
    found = {role: (model, _own(model, reading)) for role, model in models.models.items()}
    if square:
        native = models.diffusion.paradigm.attention
        found["ar, native mask"] = (models.ar, replace(reading, attention=native))
        found["diffusion, causal mask"] = (models.diffusion, replace(reading, attention="causal"))
    return found


def _own(model: Model, reading: Reading) -> Reading:
    steps = isinstance(reading, TrajectoryReading)
    return AR() if model.paradigm.in_order and not steps else reading
