"""A pair: an autoregressive model, the diffusion model made from it, and the controls they have.

Two models are comparable when they share an architecture, a shape and a vocabulary; a pair is refused when they do not.
The AR model is told its twin's mask token, so that it can be shown the twin's very canvas: half of the 2×2 of weights
and attention asks exactly that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from probe.errors import ProbeError, nearest
from probe.models.catalog import entries
from probe.models.loading import load
from probe.models.model import Model


@dataclass(frozen=True)
class Pair:
    """The twins, checked to be comparable when the pair is made."""

    ar: Model
    diffusion: Model
    controls: Mapping[str, Model] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        for other in (self.diffusion, *self.controls.values()):
            _refuse_unlike(self.ar, other)
        mask = self.diffusion.mask_id
        if self.ar.mask_id is None and mask is not None and mask < self.ar.vocabulary:
            self.ar.paradigm = replace(self.ar.paradigm, mask_id=mask)

    def __repr__(self) -> str:
        return f"Pair({self.name}: {self.ar!r} → {self.diffusion!r}; controls {sorted(self.controls)})"

    @property
    def models(self) -> dict[str, Model]:
        """Every model by its role."""
        return {"ar": self.ar, "diffusion": self.diffusion, **self.controls}

    @property
    def tokenizer(self):
        return self.ar.tokenizer

    @property
    def vocabulary(self) -> int:
        """The token ids that both twins have; one of them may have a row more, for its mask."""
        return min(self.ar.vocabulary, self.diffusion.vocabulary)


def load_pair(where: str | tuple[str | Path, str | Path], *, controls: bool = True, **how: Any) -> Pair:
    """The pair of a diffusion model whose AR twin is known (`zoo:NAME`, a catalog name), or of two places (AR first).

    `controls=False` leaves the controls on disk. Everything else is passed to `load` for each model.
    """
    if not isinstance(where, str | Path):
        ar_place, diffusion_place = _two(where)
        ar, diffusion = load(ar_place, **how), load(diffusion_place, **how)
        return Pair(ar, diffusion, name=f"{ar.name} → {diffusion.name}")
    diffusion = load(where, **how)
    entry = diffusion.entry
    if entry is None or entry.ar is None:
        known = [row.name for row in entries(how.get("catalog")) if row.ar]
        raise ProbeError(
            f"pair {str(where)!r}",
            expected="a diffusion model whose AR twin is known",
            found=entry.note if entry and entry.note else "no AR twin declared for it",
            remedy="Pass both places: load_pair((AR, DIFFUSION)). " + nearest(str(where), known),
        )
    others = {name: load(place, **how) for name, place in entry.controls.items()} if controls else {}
    return Pair(load(entry.ar, **how), diffusion, others, name=str(where))


def _two(where: Any) -> tuple[str | Path, str | Path]:
    places = tuple(where)
    if len(places) != 2:
        raise ProbeError(
            "pair",
            expected="two places, the AR model's first",
            found=f"{len(places)}",
            remedy="load_pair((AR, DIFFUSION))",
        )
    return places


def _refuse_unlike(ar: Model, other: Model) -> None:
    def shape(model: Model) -> str:
        heads = f"{model.n_heads} heads ({model.n_kv_heads} for keys and values)"
        return f"{model.layout.model_type}, {model.n_layers} layers, {heads}, d {model.d_model}"

    if shape(ar) != shape(other):
        raise ProbeError(
            f"pair {ar.name!r}, {other.name!r}",
            expected="twins of one shape",
            found=f"{shape(ar)}; and {shape(other)}",
            remedy="Pair a model with the one it was made from (`twinprobe catalog` names them).",
        )
    if not (ar.has_tokenizer and other.has_tokenizer):
        return
    ours, theirs = ar.tokenizer.get_vocab(), other.tokenizer.get_vocab()
    special = {*ar.tokenizer.all_special_tokens, *other.tokenizer.all_special_tokens}
    differ = [word for word, token in ours.items() if word not in special and theirs.get(word, token) != token]
    if differ:
        word = differ[0]
        raise ProbeError(
            f"pair {ar.name!r}, {other.name!r}",
            expected="one vocabulary",
            found=f"{len(differ)} words with two ids, {word!r} being {ours[word]} and {theirs[word]}",
            remedy="Check that both folders carry the tokenizer of their own family.",
        )
