"""Files of a dictionary's tensors: safetensors alone, whose tensors are named beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from probe.outside_files import FileKind, cut, is_file

FILE = FileKind("dictionary", remedy="Train it again, or get it again from where it came.", finite=False)
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".npz", ".ckpt")


def read_tensors(path: Path, names: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The named tensors of a safetensors file, and its metadata."""
    from safetensors import SafetensorError, safe_open

    if path.suffix in PICKLES:
        raise FILE.refuse(path, "safetensors", f"{path.suffix}, which is read by unpickling: that can run code",
                          "Ask its author for safetensors.")  # fmt: skip
    if not is_file(path):
        raise FILE.refuse(path, "a file", "none there")
    wanted = tuple(names)
    try:
        with safe_open(path, framework="pt") as file:
            there = set(file.keys())
            missing = [name for name in wanted if name not in there]
            tensors = {name: file.get_tensor(name) for name in wanted if name in there}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as problem:
        raise FILE.refuse(path, "a whole safetensors file", cut(" ".join(str(problem).split()))) from None
    if missing:
        raise FILE.refuse(path, f"tensors {', '.join(wanted)}", f"none called {', '.join(missing)}")
    for name, tensor in tensors.items():
        if not torch.is_floating_point(tensor):
            raise FILE.refuse(path, f"{name} in floating point", str(tensor.dtype).removeprefix("torch."))
    return tensors, metadata
