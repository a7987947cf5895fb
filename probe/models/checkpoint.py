"""A checkpoint on disk, inspected before anything is loaded.

Everything that names and headers show is checked here, so that a wrong folder costs milliseconds and its error names
the file: the kind of weights (safetensors or GGUF; pickles are refused, because unpickling runs code), whether every
shard is there and complete, and the names and shapes of the tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probe.errors import CheckpointError
from probe.models.gguf_header import read_header
from probe.outside_files import FileKind, cut, is_file

FILE = FileKind("file", CheckpointError, "Download it again.", most_keys=2_000_000)  # of a vocabulary, or an index
CONFIG = "config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_UNREAD = {".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".md", ".csv", ".png", ".svg", ".log"}
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"  # the names that transformers reads


@dataclass(frozen=True)
class Checkpoint:
    """The weight files of one folder, their tensors' shapes by published key, and the unchanged config.json; and the
    folder of adapters to fold in, if there is one."""

    folder: Path
    files: tuple[Path, ...]
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    adapters: Path | None = None

    @property
    def own(self) -> Path:
        """The model's own folder, with its declaration and its attachments."""
        return self.adapters or self.folder

    @property
    def gguf(self) -> Path | None:
        return self.files[0] if self.files[0].suffix == ".gguf" else None

    def identifying_files(self) -> list[Path]:
        """Every file that defines this model: weights, configuration, tokenizer, declarations."""
        beside = [
            file
            for folder in {self.folder, self.own}
            for file in folder.iterdir()
            if file.suffix not in _UNREAD and file.name[0] != "." and file.is_file()
        ]
        if self.gguf:
            beside = [file for file in beside if file.suffix != ".gguf"]
        return sorted({*beside, *self.files})


def open_checkpoint(path: Path) -> Checkpoint:
    """A folder of safetensors, a folder with one GGUF, or a GGUF file."""
    if path.suffix == ".gguf":
        return _gguf(path)
    shards = _shards(path)
    if shards:
        shapes = {key: shape for shard in shards for key, shape in _header(shard).items()}
        return Checkpoint(path, tuple(shards), _config(path), shapes)
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return _gguf(ggufs[0])
    if ggufs:
        raise CheckpointError(
            f"folder {path}",
            expected="one GGUF file",
            found=", ".join(file.name for file in ggufs),
            remedy="Pass the path of the file you mean.",
        )
    raise _no_weights(path)


def _gguf(file: Path) -> Checkpoint:
    read_header(file)  # which refuses anything else
    return Checkpoint(file.parent, (file,), {})


def _no_weights(path: Path) -> CheckpointError:
    unlisted = sorted(file.name for file in path.glob("*.safetensors"))
    if unlisted:
        return CheckpointError(
            f"folder {path}",
            expected=f"{SINGLE}, or shards and the {INDEX} that lists them",
            found=", ".join(unlisted[:5]) + (" …" if len(unlisted) > 5 else ""),
            remedy=f"Download {INDEX} as well, or rename a single file to {SINGLE}.",
        )
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    if pickles:
        return CheckpointError(
            f"folder {path}",
            expected="weights as safetensors or GGUF",
            found="only pickles (" + ", ".join(pickles[:3]) + "), which can run code when they are opened",
            remedy="If you trust their source, convert them: read the state dict with torch.load and weights_only, "
            "write it with safetensors.torch.save_file; many publishers also offer a safetensors revision.",
        )
    return CheckpointError(
        f"folder {path}",
        expected=f"{SINGLE}, its shards, or one *.gguf",
        found="neither",
        remedy="Is this the folder with config.json and the weights?",
    )


def _shards(path: Path) -> list[Path]:
    index, single = path / INDEX, path / SINGLE
    if single.is_file():
        return [single]
    if not index.is_file():
        return []
    weight_map = FILE.object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"file {index}",
            expected="a 'weight_map' from keys to shards",
            found=type(weight_map).__name__,
            remedy="Download it again.",
        )
    names = sorted(set(map(str, weight_map.values())))
    missing = [name for name in names if not is_file(path / name)]
    if missing:
        raise CheckpointError(
            f"checkpoint {path}",
            expected=f"the {len(names)} shards that {INDEX} lists",
            found="no " + ", ".join(map(cut, missing[:5])) + (" …" if len(missing) > 5 else ""),
            remedy="Download the missing shards.",
        )
    return [path / name for name in names]


def _header(shard: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a shard; opening it checks that the file is as long as its header says."""
    from safetensors import safe_open

    with whole_safetensors(shard, "weights"), safe_open(shard, framework="pt") as tensors:
        return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118  (no mapping)


@contextmanager
def whole_safetensors(file: Path, what: str) -> Iterator[None]:
    """Inside, a file that is missing, truncated or corrupt is a CheckpointError that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError) as problem:
        size = f"a truncated or corrupt one of {file.stat().st_size:,} bytes" if file.is_file() else "none"
        raise CheckpointError(
            f"{what} {file}",
            expected="a whole safetensors file",
            found=f"{size} ({problem})",
            remedy="Download it again.",
        ) from None


def _config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.is_file():
        raise CheckpointError(
            f"checkpoint {path}", expected="config.json", found="none", remedy="Copy it beside the weights."
        )
    return FILE.object(file)
