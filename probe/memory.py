"""How much memory is free, how much a value holds, and bytes as people read them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def available_memory() -> int:
    """Bytes available without swapping."""
    import psutil  # comes with accelerate

    return psutil.virtual_memory().available


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device: the system's, and what torch keeps of it for the next tensor."""
    if device.type != "cuda":
        return available_memory()
    import torch

    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reusable


def free_cache() -> None:
    """Have torch give back what it keeps of GPUs' memory for the next tensor."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def readable(size: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"


def bytes_held(value: Any) -> int:
    """The bytes that a value holds: of arrays, tensors and tables, in whatever containers and dataclasses they lie.

    What several parts share is counted once. What is mapped from a file is not counted, nor what a lazily opened
    dataset has not read yet.
    """
    total, seen, waiting = 0, dict[int, Any](), [value]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one  # and is kept alive, so that no other has its id
        if isinstance(one, Mapping) and not hasattr(one, "data_vars"):  # a dataset of xarray is a mapping, too
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif is_dataclass(one):
            waiting += vars(one).values() if hasattr(one, "__dict__") else ()
        else:
            held, inner = _of_library(one)
            total += held
            waiting += inner
    return total


def _of_library(one: Any) -> tuple[int, Iterable[Any]]:
    """The bytes of something that is no container, and what else it holds."""
    if hasattr(one, "data_vars"):  # xarray's; a variable that was not read yet has no array
        arrays = [variable for variable in one.variables.values() if getattr(variable, "_in_memory", True)]
        return 0, [variable.values for variable in arrays]
    if hasattr(one, "memory_usage"):  # pandas'
        used = one.memory_usage(index=True, deep=True)
        return int(used.sum() if hasattr(used, "sum") else used), ()
    if hasattr(one, "untyped_storage"):  # torch's
        return one.untyped_storage().nbytes(), ()
    if hasattr(one, "nbytes") and hasattr(one, "base"):  # numpy's
        return _of_array(one)
    return sys.getsizeof(one), ()


def _of_array(array: Any) -> tuple[int, Iterable[Any]]:
    """A view holds what it is a view of."""
    if isinstance(array.base, mmap):
        return 0, ()
    return (0, (array.base,)) if hasattr(array.base, "nbytes") and hasattr(array.base, "base") else (array.nbytes, ())
