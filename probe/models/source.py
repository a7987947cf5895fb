"""Where a model comes from: its folder, what is declared of it, its tokenizer, before a weight is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import CheckpointError, nearest
from probe.models.catalog import OWN_ENTRY, Entry, entries, entry_for, entry_of_format, validated
from probe.models.checkpoint import Checkpoint, open_checkpoint, read_json
from probe.models.formats import Format, format_of
from probe.models.tokenizers import load_tokenizer
from probe.paradigms import Paradigm, named
from probe.zoo import shipped, zoo_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def look(
    where: str | Path,
    catalog: str | Path | None = None,
    *,
    paradigm: str | Paradigm | None = None,
    mask_id: int | None = None,
) -> tuple[Checkpoint, Format | None, Entry | None]:
    """What can be known of a model before its weights are read: its files, their format, what is declared of it."""
    checkpoint = open_checkpoint(resolve(str(where), catalog))
    published = None if checkpoint.gguf else format_of(checkpoint.config, list(checkpoint.shapes))
    return checkpoint, published, _declared(str(where), checkpoint, published, catalog, paradigm, mask_id)


def manner_of(where: str | Path, catalog: str | Path | None = None, **said: Any) -> Paradigm:
    """The paradigm that `load` would give a model, with its mask and attention, before its weights are read."""
    known = {name: said[name] for name in ("paradigm", "mask_id") if name in said}
    checkpoint, _, entry = look(where, catalog, **known)
    nothing = {"mask_id": None, "shift": None, "attention": None}
    return _paradigm(entry, checkpoint, said.pop("paradigm", None), **{**nothing, **said})


def words_of(where: str | Path, catalog: str | Path | None = None) -> PreTrainedTokenizerBase | None:
    """A model's tokenizer, without its weights."""
    checkpoint, published, _ = look(where, catalog)
    return _tokenizer(True, checkpoint, published)


def resolve(where: str, catalog: str | Path | None = None) -> Path:
    """The folder (or GGUF file) that `where` means."""
    if where.startswith("zoo:"):
        return zoo_folder(where.removeprefix("zoo:"))
    path = Path(where).expanduser()
    if path.is_dir() or (path.suffix == ".gguf" and path.is_file()):
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
            remedy="Download it where there is a network and pass its folder. " + nearest(name, known),
        ) from None


def _declared(
    where: str,
    checkpoint: Checkpoint,
    published: Format | None,
    catalog: str | Path | None,
    paradigm: str | Paradigm | None,
    mask_id: int | None,
) -> Entry | None:
    own = checkpoint.folder / OWN_ENTRY
    if own.is_file():
        return validated(read_json(own), str(own))
    said = paradigm.name if isinstance(paradigm, Paradigm) else paradigm
    rows = entries(catalog)
    by_name = entry_for(where, rows)
    if by_name is not None or published is None:
        return by_name
    return entry_of_format(where, published.name, rows, paradigm=said, mask_id=mask_id)


def _tokenizer(
    asked: str | Path | bool, checkpoint: Checkpoint, published: Format | None
) -> PreTrainedTokenizerBase | None:
    if asked is False:
        return None
    architecture = published.architecture(checkpoint.config) if published else ""
    if asked is True:
        return load_tokenizer(checkpoint.folder, architecture, checkpoint.gguf)
    return load_tokenizer(Path(asked), architecture)


def _paradigm(
    entry: Entry | None,
    checkpoint: Checkpoint,
    asked: str | Paradigm | None,
    *,
    mask_id: int | None,
    shift: bool | None,
    attention: str | None,
) -> Paradigm:
    """What is declared, with what the caller says on top."""
    if isinstance(asked, Paradigm):
        manner = asked
    else:
        own_mask = _declared_mask(entry, checkpoint) if mask_id is None else mask_id
        if asked is None:
            manner = entry.to_paradigm(own_mask) if entry else named("autoregressive")(mask_id=own_mask)
        elif entry is not None and entry.paradigm == named(asked).name:
            manner = entry.to_paradigm(own_mask)
        else:  # another way of writing than the declared one brings its own attention and shift
            manner = named(asked)(mask_id=own_mask)
    said = {"mask_id": mask_id, "shift": shift, "attention": attention}
    return replace(manner, **{name: value for name, value in said.items() if value is not None})


def _declared_mask(entry: Entry | None, checkpoint: Checkpoint) -> int | None:
    in_config = checkpoint.config.get("mask_token_id")
    if entry is None:
        return in_config
    if entry.mask_id == "config" and in_config is None:
        raise CheckpointError(
            f"model {entry.name!r}",
            expected="mask_token_id in its config.json, where this family keeps it",
            found="none",
            remedy="Pass mask_id=, as its publisher states it.",
        )
    if isinstance(entry.mask_id, int) and in_config not in (None, entry.mask_id):
        raise CheckpointError(
            f"model {entry.name!r}",
            expected=f"mask token {entry.mask_id}, as the catalog declares",
            found=f"{in_config} in its config.json",
            remedy="Say which is right with mask_id=.",
        )
    return in_config if entry.mask_id == "config" else entry.mask_id
