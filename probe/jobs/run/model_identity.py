"""The models of a pair and the exact files of each, found without loading weights.

The hash of a unit must distinguish checkpoints. So the identity of a model is the SHA-256 of the files in its folder
(weights, configuration, tokenizer, declarations) and of the catalog's declaration, without its path. Hashing reads
every byte once. `HashCache` keeps a file's hash until the file changes.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError, nearest
from probe.jobs.atomic import write_atomically
from probe.jobs.run.code_hash import code_of
from probe.models.experts import active_parameters
from probe.outside_files import FileKind, is_file

if TYPE_CHECKING:
    from probe.jobs.spec.model import PairSpec
    from probe.models.catalog import Entry
    from probe.models.checkpoint import Checkpoint
    from probe.models.source import Source
    from probe.paradigms import Paradigm

FILE = FileKind("file")
RECIPE = "recipe.yaml"  # training records in a model's folder
SETTLED = 2_000_000_000  # nanoseconds after which a file's times show a change


@dataclass(frozen=True)
class ModelIdentity:
    """One model of a pair, as it is on disk."""

    role: str
    source: Source
    sha256: str
    parameters: int
    shape: Mapping[str, int]  # layers, heads, width, vocabulary
    paradigm: str
    active: int  # parameters that work for one token: all, but of experts only those that it is sent to
    facts: Mapping[str, Any] = field(default_factory=dict)  # further facts for a manifest

    @property
    def place(self) -> str:
        return self.source.where


@dataclass(frozen=True)
class PairIdentity:
    """The models of a pair by role, and the spec's declaration of the diffusion model."""

    name: str
    models: Mapping[str, ModelIdentity]
    settings: Mapping[str, Any]

    def identity(self, roles: Iterable[str]) -> dict[str, Any]:
        """Identifies some models of this pair; the twin's mask is included, since it affects every model's input."""
        concerned = sorted({*roles, "diffusion"}) if roles else []
        return {"weights": {role: self.models[role].sha256 for role in concerned}, "settings": dict(self.settings)}


@dataclass
class HashCache:
    """The hashes of files, remembered until a file changes.

    A program can set a file's size and modification time, but not its status-change time, and a replacement has another
    inode. A file that changed within the last seconds is hashed again the next time, since a further change might have
    the same times.
    """

    known: dict[str, tuple[list[int], str]] = field(default_factory=dict)

    def sha256(self, file: Path) -> str:
        stat, place = file.stat(), str(file.resolve())
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
        if place in self.known and self.known[place][0] == mark:
            return self.known[place][1]
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED:
            self.known[place] = (mark, digest)
        return digest

    def save(self, file: Path) -> None:
        """Save it with its own hash, so that a flipped bit in it cannot pass for other weights."""
        write_atomically(file, json.dumps({"sha256": _of_known(self.known), "known": self.known}))

    @classmethod
    def open(cls, file: Path) -> HashCache:
        try:
            found = FILE.object(file)
            known = {path: (list(mark), str(digest)) for path, (mark, digest) in found["known"].items()}
        except (OSError, KeyError, ValueError, AttributeError, TypeError):
            return cls()  # only a cache: without it, files are read again
        return cls(known) if found.get("sha256") == _of_known(known) else cls()


def _of_known(known: Mapping[str, tuple[list[int], str]]) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def pair_identity(pair: PairSpec, catalog: str | None, hashes: HashCache) -> PairIdentity:
    """A pair's identity, without loading it."""
    from probe.models.source import Declared, Source

    place = str(pair.pair or pair.diffusion)
    diffusion = Source(place, catalog, Declared(**pair.settings))
    entry = diffusion.entry
    ar = pair.ar or (entry.ar if entry else None)
    if ar is None:
        raise ProbeError(
            f"pair {pair.label!r}",
            expected="a diffusion model whose AR twin is known",
            found="no AR twin declared for it",
            remedy="Give both: {ar: …, diffusion: …}. " + _declared_pairs(place, catalog),
        )
    declared = dict(entry.controls) if entry is not None and pair.controls is True else {}
    controls = pair.controls if isinstance(pair.controls, dict) else declared
    others = {role: Source(where, catalog) for role, where in controls.items()}
    sources = {"ar": Source(ar, catalog), "diffusion": diffusion, **others}
    if len(sources) < 2 + len(controls):
        raise ProbeError(
            f"pair {pair.label!r}",
            expected="controls with other names",
            found="one called 'ar' or 'diffusion'",
            remedy="Rename it.",
        )
    return PairIdentity(
        pair.label,
        {role: _model_identity(role, source, hashes) for role, source in sources.items()},
        pair.settings,
    )


def _declared_pairs(place: str, catalog: str | None) -> str:
    from probe.models.catalog import entries

    return nearest(place, [row.name for row in entries(catalog) if row.ar])


def _model_identity(role: str, source: Source, hashes: HashCache) -> ModelIdentity:
    checkpoint, entry, paradigm = source.checkpoint, source.entry, source.paradigm
    files = {file.name: hashes.sha256(file) for file in checkpoint.identifying_files()}
    declared = entry.model_dump(mode="json", exclude={"note", "checked"}) if entry else {}
    identity = hashlib.sha256(
        json.dumps([files, declared, code_of(type(paradigm))], sort_keys=True).encode()
    ).hexdigest()
    parameters, shape = _parameters(checkpoint), _shape(checkpoint.config)
    active = active_parameters(checkpoint.config, checkpoint.shapes, parameters)
    facts = {
        "described": _described(checkpoint, shape, (parameters, active), paradigm),
        **_made(checkpoint, entry),
        "files": files,
    }
    return ModelIdentity(role, source, identity, parameters, shape, paradigm.name, active, facts)


def _described(
    checkpoint: Checkpoint, shape: Mapping[str, int], parameters: tuple[int, int], paradigm: Paradigm
) -> str:
    """A model's description in one line; `parameters`: how many, and how many work for one token."""
    in_all, active = parameters
    counted = f"{in_all:,} parameters" + (f" ({active:,} at work for a token)" if active != in_all else "")
    kind = str(checkpoint.config.get("model_type") or "a GGUF")
    sizes = {"layers": "{:,} layers", "heads": "{:,} heads", "width": "d {:,}"}
    parts = [kind, *(words.format(shape[name]) for name, words in sizes.items() if shape[name])]
    writes = [paradigm.name, f"{paradigm.attention} attention", "shift" if paradigm.shift else "no shift"]
    writes += [f"mask {paradigm.mask_id}"] if paradigm.mask_id is not None else []
    return f"{', '.join(parts)}, {counted}; {', '.join(writes)}"


def _made(checkpoint: Checkpoint, entry: Entry | None) -> dict[str, str]:
    """A model's origin, as declared."""
    recipe = checkpoint.own / RECIPE
    facts = {"note": entry.note if entry else "", "made_from": (entry.ar if entry else None) or ""}
    facts["recipe"] = FILE.text(recipe) if is_file(recipe) else ""
    return {name: words for name, words in facts.items() if words}


def _parameters(checkpoint: Checkpoint) -> int:
    if checkpoint.shapes:
        tied = bool(checkpoint.config.get("tie_word_embeddings"))  # tied weights count once, however they are stored
        again = ("lm_head.weight", "decoder.weight") if tied else ()
        counted = (shape for name, shape in checkpoint.shapes.items() if not name.endswith(again))
        return sum(map(math.prod, counted))
    return int(checkpoint.files[0].stat().st_size * 8 / 4.5)  # a GGUF's shapes would have to be read; most have 4 bits


_CALLED = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "vocabulary": ("vocab_size", "embedding_size"),
}


def _shape(config: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that memory depends on, under any of their published names; 0 if unknown."""
    nested = config.get("model") if isinstance(config.get("model"), dict) else {}
    both = {**(nested or {}), **config}
    return {ours: next((int(both[name]) for name in names if name in both), 0) for ours, names in _CALLED.items()}
