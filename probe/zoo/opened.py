"""The zoo, opened: its models and training curves by name, each read once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from probe.models.loading import load
from probe.training.curve import read_curve
from probe.zoo import curve_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from probe.models.model import Model


class Zoo:
    """What is asked of several models at once is handed this, and takes what it needs."""

    def __init__(self) -> None:
        self.model = cache(self._load)

    def _load(self, name: str) -> Model:
        return load(f"zoo:{name}")

    def models(self, *names: str) -> dict[str, Model]:
        return {name: self.model(name) for name in names}

    def curve(self, name: str) -> Mapping[str, list[float]]:
        """Steps, tokens, operations, loss and accuracy of a model's training."""
        return read_curve(curve_folder(name))
