"""The source of a model: its files, its declaration and its tokenizer, before a weight is read.

Loading needs it, a job needs it to name its units, and a report to describe its models. A `Source` is made once per
model and looks up each property once:

    source = Source("zoo:masked")
    source.folder, source.entry        # where its files are, and their declaration
    source.paradigm                    # the paradigm that `load` will give it, with its mask and attention
    source.tokenizer()                 # without the weights

It reads only the headers of the weight files. Looked-up properties are cached but not pickled: a copy in another
process (a job's worker, maybe on another machine) looks them up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import CheckpointError, ProbeError, nearest
from probe.models.catalog import (
    OWN_ENTRY,
    Asked,
    Entry,
    entries,
    entry_for,
    entry_of_format,
    entry_of_unmarked,
    is_named,
    validated,
)
from probe.models.checkpoint import CONFIG, FILE, Checkpoint, open_checkpoint
from probe.models.config_check import refuse_contradictions
from probe.models.formats import Format, format_of
from probe.models.tokenizers import load_tokenizer
from probe.outside_files import cut, is_file, is_folder
from probe.paradigms import Paradigm, named
from probe.zoo import shipped, zoo_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Declared:
    """The caller's declaration of a model, which overrides the catalog's; None leaves it to the catalog.

    paradigm    a name, or a Paradigm
    mask_id     the id of the mask token
    shift       whether the slot before a hidden token predicts it
    attention   "causal", "full", "block:4", "masks_last"
    """

    paradigm: str | Paradigm | None = None
    mask_id: int | None = None
    shift: bool | None = None
    attention: str | None = None

    def __post_init__(self) -> None:
        """Refuse values of another type: further in, a mask of 2.5 would be a traceback, and a shift of "no" a True."""
        kinds = {"paradigm": (str, Paradigm), "mask_id": Integral, "shift": bool, "attention": str}
        for name, kind in kinds.items():
            value = getattr(self, name)
            flag = name == "mask_id" and isinstance(value, bool)
            if value is not None and (flag or not isinstance(value, kind)):
                raise ProbeError(
                    f"{name}={cut(repr(value), 60)}",
                    expected=_MEANT[name],
                    found=type(value).__name__,
                    remedy="Leave it out for what is declared of the model.",
                )


_MEANT = {
    "paradigm": "a paradigm's name, or a Paradigm",
    "mask_id": "the id of a token, a whole number",
    "shift": "True or False",
    "attention": "the name of a kind of attention, such as 'full'",
}


@dataclass(frozen=True)
class Source:
    """A model that is not loaded yet: `zoo:NAME`, a folder (or GGUF file), or a name in the catalog or on the Hub."""

    where: str
    catalog: str | Path | None = None  # the user's own rows, before the shipped ones
    declared: Declared = Declared()

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Its files, all complete; for adapters those of their base, and the adapters."""
        return _opened(resolve(self.where, self.catalog), self.catalog)

    @property
    def folder(self) -> Path:
        """Its own folder, with its declaration."""
        return self.checkpoint.own

    @cached_property
    def format(self) -> Format | None:
        """The format of its keys and fields; None for a GGUF, which declares its architecture itself."""
        files = self.checkpoint
        if files.gguf:
            return None
        published = format_of(files.config, list(files.shapes))
        refuse_contradictions(files.folder / CONFIG, files.config, files.shapes, published)
        return published

    @cached_property
    def entry(self) -> Entry | None:
        """Its declaration: by its own folder, by the catalog under its name, or common to its format."""
        own, published = self.folder / OWN_ENTRY, self.format
        if own.is_file():
            return validated(FILE.object(own), str(own))
        rows = entries(self.catalog)
        by_name = entry_for(self.where, rows)
        if by_name is not None or published is None:
            return by_name
        kind, mask = self.declared.paradigm, self.declared.mask_id
        kind = kind.name if isinstance(kind, Paradigm) else kind
        config = self.checkpoint.config
        by_format = entry_of_format(
            self.where, published.name, rows, paradigm=kind, mask_id=_config_mask(config) if mask is None else mask
        )
        return by_format or entry_of_unmarked(self.where, config, rows, Asked(kind, mask))

    @cached_property
    def paradigm(self) -> Paradigm:
        """Its paradigm: the entry's declaration, with the caller's overrides."""
        own = {name: getattr(self.declared, name) for name in ("mask_id", "shift", "attention")}
        return replace(self._paradigm(), **{name: value for name, value in own.items() if value is not None})

    def _paradigm(self) -> Paradigm:
        asked, entry = self.declared.paradigm, self.entry
        if isinstance(asked, Paradigm):
            return asked
        mask = self.declared.mask_id
        mask = self._declared_mask() if mask is None else mask
        if entry is not None and asked in (None, entry.paradigm):
            return entry.to_paradigm(mask)
        if asked is None:
            self._refuse_undeclared_diffusion()
        # A paradigm other than the declared one brings its own attention and shift.
        return named(asked or "autoregressive")(mask_id=mask)

    def _refuse_undeclared_diffusion(self) -> None:
        """Refuse to guess the paradigm of a model whose own configuration shows that it is not a plain AR model."""
        config = self.checkpoint.config
        signs = {"is_causal": False, "use_bidirectional_attention": True}
        said = [f"{name}: {value}" for name, value in signs.items() if config.get(name) is value]
        if _config_mask(config) is not None:
            said.append(f"mask_token_id: {_config_mask(config)}")
        if said:
            raise CheckpointError(
                f"checkpoint {self.where}",
                expected="paradigm=, or a catalog row with its paradigm",
                found=f"neither, and {', '.join(said)} in its config.json, which plain AR models do not have",
                remedy="Pass paradigm='masked' (or 'block', …) with mask_id=, shift= and attention=, or "
                "paradigm='autoregressive'.",
            )

    def _declared_mask(self) -> int | None:
        """The mask token declared by the entry or by config.json."""
        entry, in_config = self.entry, _config_mask(self.checkpoint.config)
        if entry is None:
            return in_config
        if entry.mask_id == "config" and in_config is None:
            raise CheckpointError(
                f"model {entry.name!r}",
                expected="mask_token_id in its config.json, where this family keeps it",
                found="none",
                remedy="Pass mask_id=, as documented by its publisher.",
            )
        if entry.mask_id == "config" or in_config is None:
            return in_config if entry.mask_id == "config" else entry.mask_id
        if in_config == entry.mask_id or entry.mask_id is None:
            return in_config
        if not (is_named(entry, self.where) or (self.folder / OWN_ENTRY).is_file()):
            return in_config  # another repository of the same family, or one of the same name
        raise CheckpointError(
            f"model {entry.name!r}",
            expected=f"mask token {entry.mask_id}, as the catalog declares",
            found=f"{in_config} in its config.json",
            remedy="Pass the right one as mask_id=.",
        )

    def tokenizer(self, asked: str | Path | bool = True) -> PreTrainedTokenizerBase | None:
        """Its own tokenizer, that of another folder, or (`False`) none."""
        if asked is False:
            return None
        if asked is not True and not isinstance(asked, str | Path):
            raise ProbeError(
                f"tokenizer={cut(repr(asked), 60)}",
                expected="True for its own, False for none, or a folder",
                found=type(asked).__name__,
                remedy="Leave it out for its own.",
            )
        architecture = self.format.architecture(self.checkpoint.config) if self.format else ""
        if asked is True:
            return load_tokenizer(self.checkpoint.folder, architecture, self.checkpoint.gguf)
        return load_tokenizer(Path(asked), architecture)


def _opened(place: Path, catalog: str | Path | None) -> Checkpoint:
    """The checkpoint at a place; if adapters are declared there, that of their base, with the adapters."""
    own = place / OWN_ENTRY
    entry = validated(FILE.object(own), str(own)) if place.is_dir() and own.is_file() else None
    if entry is None or entry.adapters is None:
        return open_checkpoint(place)
    if entry.base is None:
        raise CheckpointError(
            f"adapters {place}",
            expected=f"'base' in its {OWN_ENTRY}, the model whose weights they belong to",
            found="none",
            remedy="Add it: a folder, zoo:NAME, or a name in the catalog.",
        )
    return replace(_opened(resolve(entry.base, catalog), catalog), adapters=place)


def resolve(where: str, catalog: str | Path | None = None) -> Path:
    """The folder (or GGUF file) that `where` means."""
    if where.startswith("zoo:"):
        return zoo_folder(where.removeprefix("zoo:"))
    path = Path(where).expanduser()
    if is_folder(path) or (path.suffix == ".gguf" and is_file(path)):
        return path
    known = [row.name for row in entries(catalog)]
    if where in known or (where.count("/") == 1 and not where.startswith((".", "/", "~"))):
        return _from_hub(where, known)
    raise CheckpointError(
        f"model {where!r}",
        expected="zoo:NAME, a folder, or a name in the catalog",
        found="no such folder or name",
        remedy=nearest(where, [*known, *(f"zoo:{name}" for name in shipped())]),
    )


def _from_hub(name: str, known: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.txt", "tokenizer.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as problem:  # offline, not found, gated: the hub's errors share no base class
        raise CheckpointError(
            f"model {name!r}",
            expected="a checkpoint in the local cache or on the Hub",
            found=f"neither ({type(problem).__name__})",
            remedy="Download it on a machine with a network and pass its folder. " + nearest(name, known),
        ) from None


def _config_mask(config: Mapping[str, Any]) -> int | None:
    """The mask token that a config.json names."""
    found = config.get("mask_token_id")
    return found if isinstance(found, int) and not isinstance(found, bool) else None
