"""What a plan knows of a pair before its weights are read: who belongs to it, what they are, and exactly which weights.

A unit is named by what made it, so the weights have to be told apart without loading them. A model's identity is the
SHA-256 of the files in its folder (weights, configuration, tokenizer, what is declared of it), not the path where they
lie. Hashing reads every byte once; `Weighed` remembers the hash of a file for as long as its size and time stay.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from probe.jobs.spec.model import PairSpec
    from probe.models.catalog import Entry
    from probe.models.checkpoint import Checkpoint
    from probe.paradigms import Paradigm

RECIPE = "recipe.yaml"  # what a trained model's folder keeps of its making
_PARTS = {".safetensors", ".gguf", ".json", ".txt", ".model"}


@dataclass(frozen=True)
class Twin:
    """One model of a pair, as it lies on disk."""

    role: str
    place: str
    sha256: str
    parameters: int
    shape: Mapping[str, int]  # layers, heads, width, vocabulary
    paradigm: str
    told: Mapping[str, Any] = field(default_factory=dict)  # what else a manifest says of it


@dataclass(frozen=True)
class Twins:
    """The models of a pair by role, and what the spec says of how the diffusion model writes."""

    name: str
    models: Mapping[str, Twin]
    manner: Mapping[str, Any]

    def identity(self, roles: Iterable[str]) -> dict[str, Any]:
        """What tells some models of this pair from others; the twin's mask decides what each of them is shown."""
        concerned = sorted({*roles, "diffusion"}) if roles else []
        return {"weights": {role: self.models[role].sha256 for role in concerned}, "manner": dict(self.manner)}


@dataclass
class Weighed:
    """The hashes of files, remembered by path, size and time of change."""

    known: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def sha256(self, file: Path) -> str:
        stat = file.stat()
        seen = self.known.get(str(file))
        if seen is None or tuple(seen[:2]) != (stat.st_size, stat.st_mtime_ns):
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            self.known[str(file)] = (stat.st_size, stat.st_mtime_ns, digest)
        return self.known[str(file)][2]

    @classmethod
    def open(cls, file: Path) -> Weighed:
        try:
            return cls({path: tuple(seen) for path, seen in json.loads(file.read_text()).items()})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls()  # only a memory: without it, files are read again


def twins_of(pair: PairSpec, catalog: str | None, weighed: Weighed) -> Twins:
    """What is known of a pair without loading it."""
    from probe.models.source import look

    place = str(pair.pair or pair.diffusion)
    _, _, entry = look(place, catalog, paradigm=pair.paradigm, mask_id=pair.mask_id)
    ar = pair.ar or (entry.ar if entry else None)
    if ar is None:
        raise ProbeError(
            f"pair {pair.label!r}",
            expected="a diffusion model whose AR twin is known",
            found="no AR twin declared for it",
            remedy="Name both: {ar: …, diffusion: …}. " + _declared_pairs(place, catalog),
        )
    declared = dict(entry.controls) if entry is not None and pair.controls is True else {}
    controls = pair.controls if isinstance(pair.controls, dict) else declared
    places = {"ar": ar, "diffusion": place, **controls}
    if len(places) < 2 + len(controls):
        raise ProbeError(
            f"pair {pair.label!r}",
            expected="controls with names of their own",
            found="one called 'ar' or 'diffusion'",
            remedy="Rename it.",
        )
    return Twins(
        pair.label, {role: _twin(role, where, catalog, pair, weighed) for role, where in places.items()}, pair.manner
    )


def _declared_pairs(place: str, catalog: str | None) -> str:
    from probe.models.catalog import entries

    return nearest(place, [row.name for row in entries(catalog) if row.ar])


def _twin(role: str, where: str, catalog: str | None, pair: PairSpec, weighed: Weighed) -> Twin:
    from probe.models.source import look, manner_of

    said = pair.manner if role == "diffusion" else {}
    known = {name: said[name] for name in ("paradigm", "mask_id") if name in said}
    checkpoint, _, entry = look(where, catalog, **known)
    manner = manner_of(where, catalog, **said)
    files = {file.name: weighed.sha256(file) for file in _files(checkpoint)}
    declared = entry.model_dump(mode="json", exclude={"note", "sample"}) if entry else {}
    identity = hashlib.sha256(json.dumps([files, declared], sort_keys=True).encode()).hexdigest()
    parameters, shape = _parameters(checkpoint), _shape(checkpoint.config)
    told = {"described": _described(checkpoint, shape, parameters, manner), **_made(checkpoint, entry), "files": files}
    return Twin(role, where, identity, parameters, shape, manner.name, told)


def _described(checkpoint: Checkpoint, shape: Mapping[str, int], parameters: int, manner: Paradigm) -> str:
    """What a model is, in one line."""
    kind = str(checkpoint.config.get("model_type") or "a GGUF")
    sizes = {"layers": "{:,} layers", "heads": "{:,} heads", "width": "d {:,}"}
    parts = [kind, *(words.format(shape[name]) for name, words in sizes.items() if shape[name])]
    writes = [manner.name, f"{manner.attention} attention", "shift" if manner.shift else "no shift"]
    writes += [f"mask {manner.mask_id}"] if manner.mask_id is not None else []
    return f"{', '.join(parts)}, {parameters:,} parameters; {', '.join(writes)}"


def _made(checkpoint: Checkpoint, entry: Entry | None) -> dict[str, str]:
    """Where a model comes from, as far as it is declared."""
    recipe = checkpoint.folder / RECIPE
    told = {"note": entry.note if entry else "", "made_from": (entry.ar if entry else None) or ""}
    told["recipe"] = recipe.read_text("utf-8", errors="replace") if recipe.is_file() else ""
    return {name: words for name, words in told.items() if words}


def _files(checkpoint: Checkpoint) -> list[Path]:
    beside = [file for file in checkpoint.folder.iterdir() if file.suffix in _PARTS and file.is_file()]
    if checkpoint.gguf:
        beside = [file for file in beside if file.suffix != ".gguf"]
    return sorted({*beside, *checkpoint.files})


def _parameters(checkpoint: Checkpoint) -> int:
    if checkpoint.shapes:
        tied = bool(checkpoint.config.get("tie_word_embeddings"))  # stored twice, or once, they are one
        counted = (shape for name, shape in checkpoint.shapes.items() if not (tied and name.endswith("lm_head.weight")))
        return sum(map(math.prod, counted))
    return int(checkpoint.files[0].stat().st_size * 8 / 4.5)  # a GGUF's shapes take reading it; most are of 4 bits


_CALLED = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "vocabulary": ("vocab_size", "embedding_size"),
}


def _shape(config: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that memory depends on, under any of the names that publishers give them; 0 where unknown."""
    nested = config.get("model") if isinstance(config.get("model"), dict) else {}
    both = {**(nested or {}), **config}
    return {ours: next((int(both[name]) for name in names if name in both), 0) for ours, names in _CALLED.items()}
