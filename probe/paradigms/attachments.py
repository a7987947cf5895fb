"""Attachments: small modules that a twin has besides its stock backbone, each in a file of its own.

A backbone is a plain transformers model, so that every tool for those works with it. What a paradigm adds (FLUID's
horizon head, the embedding of a flow's time) is not part of it: it is saved with the weights as `NAME.safetensors`, and
in memory is `model.attachments[NAME]`. The paradigm defines the possible names and how each is built
(`Paradigm.attaches`); a model has those that were trained and saved in its folder.

    model.attachments["horizon"] = Horizon(model.d_model)
    save_attachments(model, folder)           # folder/horizon.safetensors
    load(folder).attachments["horizon"]       # the same numbers
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from probe.errors import CheckpointError, ProbeError

if TYPE_CHECKING:
    from probe.paradigms.protocols import ModelLike


def load_attachments(model: ModelLike, folder: Path) -> None:
    """Load into a model the attachments of its paradigm that its folder has."""
    for name, kind in model.paradigm.attaches.items():
        file = _file(folder, name)
        if file.is_file():
            module = kind(model).to(model.device, model.dtype)
            _fill(module, file)
            model.attachments[name] = module.eval().requires_grad_(False)


def save_attachments(model: ModelLike, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a model's attachments into a folder, by default in half precision."""
    from safetensors.torch import save_file

    for name, module in model.attachments.items():
        state = {key: value.detach().to(dtype).cpu().contiguous() for key, value in module.state_dict().items()}
        save_file(state, _file(folder, name), metadata={"format": "pt"})


def attached(model: ModelLike, name: str) -> nn.Module:
    """A required attachment, or an error if the model does not have it."""
    try:
        return model.attachments[name]
    except KeyError:
        raise ProbeError(
            f"model {model.name!r}",
            expected=f"the attachment {name!r}, saved with its weights as {name}.safetensors",
            found=", ".join(model.attachments) or "no attachments",
            remedy="Train one with a recipe, or choose an option that works without.",
        ) from None


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _fill(module: nn.Module, file: Path) -> None:
    """Load a module's state, refused unless every name and shape is the module's own."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file)
    except (SafetensorError, OSError) as problem:
        raise CheckpointError(
            f"attachment {file}",
            expected="a whole safetensors file",
            found=f"a truncated or corrupt one ({problem})",
            remedy="Download it again.",
        ) from None
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if wanted != found:
        differ = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
        raise CheckpointError(
            f"attachment {file}",
            expected=", ".join(f"{key} {wanted.get(key, 'absent')}" for key in differ),
            found=", ".join(f"{key} {found.get(key, 'absent')}" for key in differ),
            remedy="Is it this model's? An attachment belongs to the weights that it was trained with.",
        )
    endless = [key for key, value in state.items() if not value.isfinite().all()]
    if endless:
        raise CheckpointError(
            f"attachment {file}",
            expected="finite numbers",
            found=f"NaN or infinity in {', '.join(endless)}",
            remedy="Download it again.",
        )
    module.load_state_dict(state)
