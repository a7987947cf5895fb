"""A pair: an autoregressive model, the diffusion model made from it, and the controls they have.

Two models are comparable if they share an architecture, a shape and a vocabulary; otherwise a pair is refused. The AR
model and the controls get the twin's mask token, so that they can take the twin's input, as half of the 2×2 of weights
and attention requires.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError, nearest
from probe.models.catalog import Entry, entries
from probe.models.loading import load
from probe.models.model import Model
from probe.models.shared import shared
from probe.models.source import Declared, Source
from probe.notebook import table
from probe.paradigms import Paradigm
from probe.progress import progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pair:
    """The twins, checked to be comparable when the pair is made."""

    ar: Model
    diffusion: Model
    controls: Mapping[str, Model] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.ar.paradigm.diffuses:
            raise ProbeError(
                f"pair {self.ar.name!r}, {self.diffusion.name!r}",
                expected="an autoregressive model first, its diffusion twin second",
                found=f"a {self.ar.paradigm.name} model first",
                remedy="Exchange the two.",
            )
        _refuse_roles(self.controls)
        for other in (self.diffusion, *self.controls.values()):
            _refuse_unlike(self.ar, other)
        for model in (self.ar, *self.controls.values()):
            lend_mask(model, self.diffusion.mask_id)

    def __repr__(self) -> str:
        ways = f"{self.ar.paradigm.name} → {self.diffusion.paradigm.name}"
        shape = f"{self.ar.n_layers} layers × {self.ar.n_heads} heads, d {self.ar.d_model}"
        return f"Pair({self.name}: {ways}; {shape}; controls: {', '.join(self.controls) or 'none'})"

    def _repr_html_(self) -> str:
        facts = {role: model.facts for role, model in self.models.items()}
        rows = [(name, *(facts[role][name] for role in facts)) for name in facts["ar"]]
        return table(f"Pair {self.name}", rows, ("", *facts))

    @property
    def models(self) -> dict[str, Model]:
        """Every model by its role."""
        return {"ar": self.ar, "diffusion": self.diffusion, **self.controls}

    @property
    def tokenizer(self):
        return self.ar.tokenizer

    @property
    def twins(self) -> bool:
        """Whether the diffusion model is declared to be made from AR weights. A flow trained from random weights can be
        compared with the AR model in its behaviour, but not weight by weight or edge by edge."""
        return not from_nothing(self.diffusion)

    def refuse_strangers(self, measure: str) -> None:
        """Refuse a measure that compares the weights of both models, or things that depend on them: edges between
        components of the same name, the axes of the residual stream."""
        if not self.twins:
            raise ProbeError(
                f"{measure} of {self.ar.name!r} and {self.diffusion.name!r}",
                expected="a diffusion model that was made from an AR model's weights",
                found="no twin: it was trained from random weights",
                remedy="Compare their behaviour (depth, spread, lenses, accuracy), or take the twin of the AR model.",
            )

    @property
    def vocabulary(self) -> int:
        """The token ids that both twins have; one of them may have an additional row for its mask."""
        return min(self.ar.vocabulary, self.diffusion.vocabulary)


def _refuse_roles(controls: Mapping[str, Model]) -> None:
    """Refuse a control with the name of a twin, which would stand in the twin's place in `models`."""
    taken = sorted({"ar", "diffusion"} & controls.keys())
    if taken:
        raise ProbeError(
            "controls of a pair",
            expected="names other than those of the twins, ar and diffusion",
            found=", ".join(map(repr, taken)),
            remedy="Rename them where they are declared (`controls` of a catalog row or a twinprobe.json).",
        )


def from_nothing(model: Model) -> bool:
    """Whether a diffusion model is declared to be trained from random weights."""
    return model.entry is not None and model.entry.ar is None and model.paradigm.diffuses


def lend_mask(model: Model, mask: int | None) -> None:
    """Give a model without a mask that of its twin."""
    if model.mask_id is None and mask is not None and mask < model.vocabulary:
        model.paradigm = replace(model.paradigm, mask_id=mask)


def load_pair(
    where: str | tuple[str | Path, str | Path],
    *,
    controls: bool = True,
    paradigm: str | Paradigm | None = None,
    mask_id: int | None = None,
    shift: bool | None = None,
    attention: str | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    tokenizer: str | Path | bool = True,
    catalog: str | Path | None = None,
    device_map: str | dict | None = None,
    selftest: str = "auto",
) -> Pair:
    """The pair of a diffusion model whose AR twin is declared (`zoo:NAME`, a catalog name), or of two models (AR
    first).

    `controls=False` does not load the controls. Pairs in one process share the AR model and the controls, if they are
    the same and unchanged (`probe.models.shared`). `paradigm`, `mask_id`, `shift` and `attention` apply to the
    diffusion model only; the rest goes to every `probe.load`.

    >>> pair = probe.load_pair("zoo:masked")
    >>> pair.ar.name, pair.diffusion.name
    ('zoo:ar', 'zoo:masked')
    >>> sorted(pair.controls)
    ['ar-cpt', 'ar-seed2', 'masked-seed2']
    """
    how = _Loading(device, dtype, tokenizer, catalog, device_map, selftest)
    declared = Declared(paradigm, mask_id, shift, attention)
    if not isinstance(where, str | Path):
        ar_place, diffusion_place = _two(where)
        with progress("loading", 2, "models") as advance:
            ar = how.load(ar_place, advance)
            diffusion = how.load(Source(str(diffusion_place), catalog, declared), advance)
        if paradigm is None and not diffusion.paradigm.diffuses:
            _warn_of_two_alike(ar, diffusion)
        return Pair(ar, diffusion, name=f"{ar.name} → {diffusion.name}")
    source = Source(str(where), catalog, declared)
    entry = source.entry
    if entry is None or entry.ar is None:
        raise _no_twin(str(where), entry, catalog)
    wanted = dict(entry.controls) if controls else {}
    with progress("loading", 2 + len(wanted), "models") as advance:
        diffusion = how.load(source, advance)
        ar = how.load_shared(entry.ar, diffusion.mask_id, advance)
        others = {name: how.load_shared(place, diffusion.mask_id, advance) for name, place in wanted.items()}
    return Pair(ar, diffusion, others, name=str(where))


@dataclass(frozen=True)
class _Loading:
    """How each model of a pair is loaded."""

    device: str | torch.device
    dtype: str | torch.dtype | None
    tokenizer: str | Path | bool
    catalog: str | Path | None
    device_map: str | dict | None
    selftest: str

    def load(self, place: str | Path | Source, advance: Callable[..., None]) -> Model:
        source = place if isinstance(place, Source) else Source(str(place), self.catalog)
        advance(0, f"loading {source.where}")
        found = load(
            source,
            device=self.device,
            dtype=self.dtype,
            tokenizer=self.tokenizer,
            device_map=self.device_map,
            selftest=self.selftest,
        )
        advance()
        return found

    def load_shared(self, place: str, mask: int | None, advance: Callable[..., None]) -> Model:
        """An AR model or a control, which other pairs with the same mask may have, too."""
        source = Source(place, self.catalog)

        def made() -> Model:
            model = self.load(source, advance)
            lend_mask(model, mask)
            return model

        if self.device_map is not None:
            return made()
        settings = (str(self.device), str(self.dtype), str(self.tokenizer), self.selftest, mask)
        return shared(source, settings, made)


def _no_twin(where: str, entry: Entry | None, catalog: str | Path | None) -> ProbeError:
    known = [row.name for row in entries(catalog) if row.ar]
    return ProbeError(
        f"pair {where!r}",
        expected="a diffusion model whose AR twin is known",
        found="no AR twin declared for it" + (f" ({entry.note})" if entry and entry.note else ""),
        remedy="Pass both models: load_pair((AR, DIFFUSION)). " + nearest(where, known),
    )


def _two(where: Any) -> tuple[str | Path, str | Path]:
    places = tuple(where) if isinstance(where, list | tuple) else ()
    if len(places) != 2:
        raise ProbeError(
            "pair",
            expected="two models, the AR model first",
            found=f"{len(places)}" if isinstance(where, list | tuple) else type(where).__name__,
            remedy="load_pair((AR, DIFFUSION))",
        )
    return places


class TwoAutoregressiveWarning(UserWarning):
    """Warn of a pair whose second model is also autoregressive, as far as its files say."""


def _warn_of_two_alike(ar: Model, other: Model) -> None:
    warnings.warn(
        f"Both {ar.name!r} and {other.name!r} are taken for autoregressive models: nothing in the second one's files "
        "declares a paradigm. If it is a diffusion model, declare it: load_pair((AR, DIFFUSION), paradigm='masked', "
        "mask_id=…). To compare two AR models, pass paradigm='autoregressive'.",
        TwoAutoregressiveWarning,
        stacklevel=3,
    )


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
    if ar.has_tokenizer and other.has_tokenizer:
        _refuse_other_words(ar, other)


def _refuse_other_words(ar: Model, other: Model) -> None:
    """Added tokens may differ (a twin's mask is one of them); ordinary tokens may not."""
    ours, theirs = (_words(model) for model in (ar, other))
    differ = sorted(token for token in ours.keys() & theirs.keys() if ours[token] != theirs[token])
    if differ:
        first = differ[0]
        raise ProbeError(
            f"pair {ar.name!r}, {other.name!r}",
            expected="one vocabulary",
            found=f"{len(differ)} ids with two meanings, {first} being {ours[first]!r} and {theirs[first]!r}",
            remedy="Check that both folders have the tokenizer of their own family.",
        )


def _words(model: Model) -> dict[int, str]:
    """The words of text by id."""
    added = {*model.tokenizer.added_tokens_decoder, *model.tokenizer.all_special_ids}
    return {token: word for word, token in model.tokenizer.get_vocab().items() if token not in added}
