"""Adapters saved without their base: a twin of a large model in a few megabytes.

A folder whose `twinprobe.json` declares adapters has no other weights. It names the model that they belong to (`base`),
and has `adapters.safetensors`: two thin matrices for every adapted matrix W of the layers, and the mask's row of the
embedding.

    W' = W + (alpha / rank) · up · down          embedding'[mask] = the mask's row

Both matrices are stored as int8, with one scale for each of the `rank` directions. This rounds a change of weights to
half a percent, which is negligible, and a twin of 135 million parameters takes 5 MB.

Loading reads the base and folds them in, so that the model is a stock one like any other. Only declared adapters are
applied, not other adapter files in a folder of weights.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.errors import CheckpointError
from probe.models.checkpoint import whole_safetensors
from probe.models.weights import refuse_absent
from probe.outside_files import cut

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from probe.models.catalog import AdaptersOf

ADAPTERS = "adapters.safetensors"
MASK_ROW = "mask"
SCALE, STEPS = ".scale", 127


class StrayAdapters(UserWarning):
    """A folder of weights also has PEFT adapters, which are not part of the model."""


STRAY = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")


def note_stray(folder: Path, where: str) -> tuple[str, ...]:
    """A note on PEFT's files in a model's folder, which transformers would apply unasked; also given as a warning."""
    found = [name for name in STRAY if (folder / name).is_file()]
    if not found:
        return ()
    note = f"LoRA adapters in its folder are not applied ({', '.join(found)})"
    warnings.warn(
        f"model {where}: {note}. Remove the files, or merge them into the weights first (peft's merge_and_unload) "
        "and load the result.",
        StrayAdapters,
        stacklevel=3,
    )
    return (note,)


def save_adapters(state: dict[str, Tensor], folder: Path) -> None:
    """Write NAME.up (out × rank) and NAME.down (rank × in) of each matrix, and the mask's row, into a folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Tensor] = {}
    for name, value in state.items():
        whole = value.detach().float().cpu()
        if name == MASK_ROW:
            kept[name] = whole
            continue
        scale = whole.abs().amax(_across(name), keepdim=True).clamp(min=1e-12) / STEPS
        kept[name] = (whole / scale).round().to(torch.int8)
        kept[name + SCALE] = scale
    save_file({name: value.contiguous() for name, value in kept.items()}, folder / ADAPTERS, metadata={"format": "pt"})


def _across(name: str) -> int:
    """The axis of a matrix that is not the rank's."""
    return 0 if name.endswith(".up") else 1


def read_adapters(folder: Path) -> dict[str, Tensor]:
    """The adapters that were saved, up to rounding."""
    kept = _read(folder / ADAPTERS)
    scales = {name.removesuffix(SCALE): kept.pop(name) for name in list(kept) if name.endswith(SCALE)}
    for name, value in kept.items():
        _refuse_unreadable(folder / ADAPTERS, name, value, scales.get(name))
    return {name: value.float() * scales[name] if name in scales else value for name, value in kept.items()}


def _refuse_unreadable(file: Path, name: str, value: Tensor, scale: Tensor | None) -> None:
    """Refuse a tensor that is not a matrix (or row), whose scale does not fit, or that is not finite."""
    shape, axes = tuple(value.shape), 1 if name == MASK_ROW else 2
    across = [1 if axis == _across(name) else size for axis, size in enumerate(shape)]
    if len(shape) != axes or (scale is not None and list(scale.shape) != across):
        expected, found = f"{name} of {axes} dimensions", f"shape {shape}"
        found += f", scale {tuple(scale.shape)}" if scale is not None else ""
    elif not all(bool(part.isfinite().all()) for part in (value, scale) if part is not None):
        expected, found = f"numbers in {name}", "NaN or infinity"
    else:
        return
    raise CheckpointError(f"adapters {file}", expected=cut(expected), found=found, remedy="Download them again.")


@torch.no_grad()
def apply_adapters(backbone: PreTrainedModel, folder: Path, declared: AdaptersOf, mask_id: int | None) -> None:
    """Fold a folder's adapters into the base that they were trained with."""
    refuse_absent(backbone, f"folding in the adapters {folder / ADAPTERS}")
    state = read_adapters(folder)
    row = state.pop(MASK_ROW, None)
    table: Tensor = backbone.get_input_embeddings().weight  # type: ignore[assignment]  # an Embedding's
    if row is not None and row.shape != table.shape[1:]:
        raise CheckpointError(
            f"adapters {folder / ADAPTERS}",
            expected=f"a row of {table.shape[1]} numbers for the mask",
            found=f"{row.shape[0]}",
            remedy="Do they belong to this base? Download them again.",
        )
    matrices = {name.rpartition(".")[0] for name in state}
    for name in sorted(matrices):
        up, down = state.get(f"{name}.up"), state.get(f"{name}.down")
        weight = _weight(backbone, name, folder)
        fits = up is not None and down is not None and (up.shape[0], down.shape[1]) == tuple(weight.shape)
        if up is None or down is None or not fits or up.shape[1] != declared.rank or down.shape[0] != declared.rank:
            found = [tuple(part.shape) if part is not None else "absent" for part in (up, down)]
            raise CheckpointError(
                f"adapters {folder / ADAPTERS}",
                expected=f"two matrices of rank {declared.rank} for {name} {tuple(weight.shape)}",
                found=f"up {found[0]}, down {found[1]}",
                remedy="Do they belong to this base? Download them again.",
            )
        weight += declared.alpha / declared.rank * (up @ down).to(weight)
    if row is not None and mask_id is not None:
        table[mask_id] = row.to(table)


def _weight(backbone: PreTrainedModel, name: str, folder: Path) -> Tensor:
    try:
        return backbone.get_submodule(name).weight  # type: ignore[return-value]  # a Linear's
    except AttributeError:
        raise CheckpointError(
            f"adapters {folder / ADAPTERS}",
            expected="matrices of layers that its base has",
            found=f"one for {cut(name)}",
            remedy="Do they belong to this base? See `base` in its twinprobe.json.",
        ) from None


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with whole_safetensors(file, "adapters"):
        return load_file(file)
