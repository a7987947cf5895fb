"""Access to weights, wherever they are stored.

A model that is larger than memory stores some of its weights elsewhere: accelerate's offload leaves a tensor on the
meta device, which has a shape but no values, and fetches the values during the module's own call. Code that reads the
parameter directly gets only the shape; arithmetic with it raises in some places and gives 1e37 in others. So code reads
parameters through these functions:

    weight_of(projection)            # the parameter itself, or the copy kept by accelerate's hook
    weight_of(norm, "bias")
    device_of(embedding)             # where the module computes, even if its weight is elsewhere

A weight that no hook can fetch is refused by name, and so is code that would write into an offloaded one
(`refuse_absent`). Weights in memory cost nothing, others one temporary copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import CheckpointError


def weight_of(module: nn.Module, name: str = "weight") -> Tensor:
    """A module's own parameter or buffer, on the device where the module computes."""
    found = getattr(module, name)
    if not isinstance(found, Tensor):
        raise AttributeError(f"{type(module).__name__} has no {name!r}")
    return found if not found.is_meta else _fetched(module, name)


def bias_of(module: nn.Module) -> Tensor | None:
    """A projection's bias, if it has one."""
    return None if getattr(module, "bias", None) is None else weight_of(module, "bias")


def inward(projection: nn.Module) -> Tensor:
    """A projection's weight, (in, out), as in GPT-2's Conv1D; a Linear's is transposed."""
    weight = weight_of(projection)
    return weight.T if isinstance(projection, nn.Linear) else weight


def widths_of(projection: nn.Module) -> tuple[int, int]:
    """A projection's widths, (in, out), whether its weight is in memory or not."""
    shape: Any = projection.weight.shape
    return (shape[1], shape[0]) if isinstance(projection, nn.Linear) else (shape[0], shape[1])


def weights_of(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
    """Every parameter within a module, as torch lists them: its name, itself, and its numbers."""
    for name, parameter in module.named_parameters():
        owner, _, own = name.rpartition(".")
        yield name, parameter, weight_of(module.get_submodule(owner), own)


def device_of(module: nn.Module, name: str = "weight") -> torch.device:
    """Where a module computes."""
    found: Tensor = getattr(module, name)
    if not found.is_meta:
        return found.device
    hook = _hook_with(module, name)
    return torch.device("meta") if hook is None else torch.device(hook.execution_device)


def refuse_absent(module: nn.Module, what: str) -> None:
    """Refuse offloaded weights, since `what` would write into them and the values would be lost."""
    absent = [name for name, parameter in module.named_parameters() if parameter.is_meta]
    if absent:
        raise CheckpointError(
            what,
            expected="weights that are in memory",
            found=f"{len(absent)} that are kept elsewhere, the first {absent[0]}",
            remedy="Load the model without offloading, on a machine with enough memory.",
        )


def _fetched(module: nn.Module, name: str) -> Tensor:
    hook = _hook_with(module, name)
    if hook is None:
        raise CheckpointError(
            f"the parameter {name!r} of a {type(module).__name__}",
            expected="values, in memory or kept by accelerate's hook on the module",
            found="none, on the meta device",
            remedy="Load the weights (probe.load), or offload each module by itself (accelerate's cpu_offload and "
            "disk_offload without preload_module_classes).",
        )
    return hook.weights_map[name].to(hook.execution_device)


def _hook_with(module: nn.Module, name: str) -> Any:
    """The hook of accelerate's on a module that keeps a parameter of its own; None where there is none."""
    outer = getattr(module, "_hf_hook", None)
    for hook in (outer, *getattr(outer, "hooks", ())):
        kept = getattr(hook, "weights_map", None)
        if kept is not None and _holds(kept, name):
            return hook
    return None


def _holds(kept: Any, name: str) -> bool:
    try:
        return kept[name] is not None
    except KeyError:
        return False
