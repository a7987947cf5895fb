"""The tuned lens: one affine map per layer and model, from the residual stream there towards the final one.

The logit lens unembeds a middle state as if it were the last layer's. But a model may write its middle states in
another basis, and training on another objective may change that basis. The logit lens then shows nonsense, and "this
twin decides earlier" may only say that its basis is nearer to the last layer's. The tuned lens removes this difference:
before unembedding, the state h of layer l becomes h + A_l h + b_l, with A_l and b_l trained to bring the belief as near
to the model's final one as possible.

A map starts as the identity, at which the tuned lens *is* the logit lens. The map kept is the best on held-out examples
among those that are not worse than the identity on any task's answers or text, under any reading. A layer without such
a map keeps the identity.

    tuned = lens.train(model, batches)              # batches of the tasks' train split
    tuned.save(folder); TunedLens.open(folder, model)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.errors import ProbeError
from probe.models.model import Model
from probe.tracing import fingerprint

FILE = "tuned_lens.safetensors"


@dataclass(frozen=True, eq=False)
class TunedLens:
    """`weight` (layer, feature, feature) and `bias` (layer, feature): added to the state that *enters* a layer.

    The state after the last layer needs no map. `about` has the hash of the model's weights, the training data, and the
    held-out KL to the final belief by group of slots and layer, before and after.
    """

    weight: Tensor
    bias: Tensor
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def identity(cls, model: Model) -> TunedLens:
        layers, d = model.n_layers, model.d_model
        return cls(torch.zeros(layers, d, d, device=model.device), torch.zeros(layers, d, device=model.device))

    def __call__(self, states: Tensor) -> Tensor:
        """States that enter the layers (question × layer × feature), translated."""
        states = states.to(self.weight.device, self.weight.dtype)
        return states + torch.einsum("qlf,lfg->qlg", states, self.weight) + self.bias

    def save(self, folder: str | Path) -> Path:
        """Save it into a folder, usually the model's own, as `tuned_lens.safetensors`."""
        from safetensors.torch import save_file

        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in ("weight", "bias")}
        save_file(tensors, path, metadata={"about": json.dumps(dict(self.about))})
        return path

    @classmethod
    def open(cls, folder: str | Path, model: Model) -> TunedLens:
        """The lens saved in a folder; refused unless it was trained on exactly these weights."""
        from safetensors import SafetensorError, safe_open

        from probe.jobs.stages.stage import UNIT

        path = Path(folder) / FILE
        if not path.is_file():
            raise ProbeError(
                f"tuned lens of {model.name!r}",
                expected=f"{FILE} in {folder}",
                found="none",
                remedy="Make it: lens.train(model, batches).save(folder).",
            )
        try:
            with safe_open(path, framework="pt") as file:
                about = UNIT.object_of((file.metadata() or {}).get("about", "{}"), path)
                weight, bias = (file.get_tensor(name).to(model.device) for name in ("weight", "bias"))
        except (SafetensorError, ValueError) as problem:
            raise ProbeError(
                f"file {path}", expected="a tuned lens", found=str(problem), remedy="Train it again."
            ) from None
        made = cls(weight, bias, about)
        made._refuse_other_weights(model, path)
        layers, d = model.n_layers, model.d_model
        if (tuple(weight.shape), tuple(bias.shape)) != ((layers, d, d), (layers, d)) or not _finite(weight, bias):
            raise ProbeError(
                f"tuned lens {path}",
                expected=f"finite maps for {layers} layers of {d} features",
                found=f"weight {tuple(weight.shape)}, bias {tuple(bias.shape)}",
                remedy="Train it again.",
            )
        return made

    def _refuse_other_weights(self, model: Model, path: Path) -> None:
        if self.about.get("weights") != fingerprint.of_weights(model):
            raise ProbeError(
                f"tuned lens {path}",
                expected=f"one trained on the weights of {model.name!r}",
                found=f"one of {self.about.get('model')!r}, whose weights differ",
                remedy="Train one for this model: another model's maps lead to another basis.",
            )


def _finite(*tensors: Tensor) -> bool:
    return all(bool(one.isfinite().all()) for one in tensors)
