"""An exponential moving average of the weights, which a flow is sampled with.

A denoiser's last steps wander around the weights that sample best; their average does not. The average is updated
during training (decay min(d, (1+n)/(10+n)) after n steps, so that a short run also forgets its beginning), is written
before every checkpoint so that an interrupted training resumes with it, and replaces the weights at the end and in
snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback


class Ema(TrainerCallback):
    """The average of one module's parameters."""

    def __init__(self, module: nn.Module, decay: float, folder: Path):
        self.module, self.decay, self.folder = module, decay, folder
        self._kept: dict[str, Tensor] = {}

    def on_train_begin(self, args, state, control, **_unused) -> None:
        if state.global_step:
            kept = load_file(self._file(state.global_step))
            self._kept = {name: kept[name].to(value) for name, value in self.module.named_parameters()}
        else:
            self._kept = {name: value.detach().clone() for name, value in self.module.named_parameters()}

    def on_step_end(self, args, state, control, **_unused) -> None:
        done = state.global_step
        rest = 1 - min(self.decay, (1 + done) / (10 + done))
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                self._kept[name].lerp_(value, rest)
        if control.should_save and state.is_world_process_zero:  # before the checkpoint, which counts once complete
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({name: value.cpu() for name, value in self._kept.items()}, self._file(done))

    def on_save(self, args, state, control, **_unused) -> None:
        if state.is_world_process_zero:
            for older in self.folder.glob("average-*.safetensors"):
                if older != self._file(state.global_step):
                    older.unlink()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module with the average as its weights."""
        own = {name: value.detach().clone() for name, value in self.module.named_parameters()}
        self._put(self._kept)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                value.copy_(values[name])

    def _file(self, step: int) -> Path:
        return self.folder / f"average-{step}.safetensors"
