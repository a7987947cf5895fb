"""The zoo, opened: its models and training curves by name, each read once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from probe.errors import ProbeError
from probe.models.loading import load
from probe.training.curve import read_curve
from probe.training.recipe import read_recipe
from probe.training.text import held_out
from probe.zoo import curve_folder, zoo_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from probe.models.model import Model


class Zoo:
    """Code that needs several models takes this and loads what it uses."""

    def __init__(self) -> None:
        self.model = cache(self._load)
        self._texts: dict[tuple, Tensor] = {}

    def _load(self, name: str) -> Model:
        return load(f"zoo:{name}")

    def models(self, *names: str) -> dict[str, Model]:
        return {name: self.model(name) for name in names}

    def held_out(self, name: str, n: int) -> Tensor:
        """The first n held-out pieces (n × length) of the text that a model was trained on."""
        recipe = read_recipe(zoo_folder(name) / "recipe.yaml")
        if len(recipe.texts) != 1:
            raise ProbeError(
                f"text held out from zoo:{name}",
                expected="a model trained on one running text",
                found="several" if recipe.texts else "one trained on tasks",
                remedy="Use probe.training.text.held_out with the text you mean." if recipe.texts else "Ask its tasks.",
            )
        tokenizer = self.model(name).tokenizer
        key = (repr(recipe.texts[0]), tuple(sorted(tokenizer.get_vocab().items())), n)
        if key not in self._texts:  # models of one text share it: tokenizing a book takes longer than asking them
            self._texts[key] = held_out(recipe.texts[0], tokenizer, n)
        return self._texts[key]

    def curve(self, name: str) -> Mapping[str, list[float]]:
        """Steps, tokens, operations, loss and accuracy of a model's training."""
        return read_curve(curve_folder(name))
