"""Dictionaries of models: states recorded as a stream, and a dictionary trained on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from analyses.features.dictionary import Dictionary
from analyses.features.recording import layer_of, recorded
from analyses.features.training import TrainingOptions, fit
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch
from probe.tracing import fingerprint

TWINS = ("ar", "diffusion")


def train(
    model: Model,
    batches: Batch | Iterable[Batch],
    *,
    layer: int | None = None,
    reading: str | Reading = "prefix",
    options: TrainingOptions | None = None,
    folder: str | Path | None = None,
) -> Dictionary:
    """A TopK SAE of a model's residual stream after a layer.

    batches  of the tasks' train split
    layer    the middle one unless given
    reading  how the questions are put; an AR model always reads from left to right
    folder   for the recorded states and checkpoints: given again, it resumes. Without one they are thrown away
    """
    return of_models({"model": model}, batches, layer=layer, reading=reading, options=options, folder=folder)


def crosscoder(
    pair: Pair,
    batches: Batch | Iterable[Batch],
    *,
    roles: tuple[str, str] = TWINS,
    layer: int | None = None,
    reading: str | Reading = "prefix",
    options: TrainingOptions | None = None,
    folder: str | Path | None = None,
) -> Dictionary:
    """A crosscoder over two models of a pair: one set of latents, a decoder each. Arguments as for `train`; `roles`
    can name controls, such as ("diffusion", "masked-seed2")."""
    models = models_of(pair, roles)
    return of_models(models, batches, layer=layer, reading=reading, options=options, folder=folder)


def of_models(
    models: Mapping[str, Model],
    batches: Batch | Iterable[Batch],
    *,
    layer: int | None,
    reading: str | Reading,
    options: TrainingOptions | None,
    folder: str | Path | None,
) -> Dictionary:
    """A dictionary of any models of one width, by role."""
    behind = layer_of(next(iter(models.values())), layer)
    about: dict[str, Any] = {
        "layer": behind, "reading": str(reading), "names": [model.name for model in models.values()],
        "weights": [fingerprint.of_weights(model) for model in models.values()],
    }  # fmt: skip
    with at(folder) as place:
        stream = recorded(models, batches, layer=behind, reading=reading, folder=place / "states")
        return fit(stream, options, models=tuple(models), folder=place, about=about)


def models_of(pair: Pair, roles: Iterable[str]) -> dict[str, Model]:
    from probe.errors import ProbeError, nearest

    known = pair.models
    for role in roles:
        if role not in known:
            raise ProbeError(f"a crosscoder of {pair.name!r}", expected="roles among " + ", ".join(known),
                             found=repr(role), remedy=nearest(role, known))  # fmt: skip
    return {role: known[role] for role in roles}


@contextmanager
def at(folder: str | Path | None) -> Iterator[Path]:
    """The given folder, or a temporary one."""
    if folder is not None:
        yield Path(folder)
        return
    with TemporaryDirectory(prefix="twinprobe-features-") as made:
        yield Path(made)
