"""A dictionary of directions: each state is a sum of a few of them; of one model (an SAE) or of several.

A state x of the residual stream is approximated by a sparse sum of directions:

    f = the k largest of (x / scale − b_dec) W_enc + b_enc, where they are positive;   x̂ = scale · (f W_dec + b_dec)

A dictionary of several models that see the same tokens is a crosscoder (Lindsey et al. 2024): the latents f read the
states of all models, and each model has a decoder of its own. A latent that only one model needs has length 0 in the
other's decoder. `scale` brings streams of different size to the same one, so that each model has equal weight. Each
latent's direction has length 1 over all models together, so that f is its amount.

    dictionary.encode(states)                  # … × model × feature (of one model: … × feature) to … × latent
    dictionary.decode(latents)                 # the states rebuilt from them, in their shape
    dictionary.direction(17, "diffusion")      # of latent 17, as the stream has it: for probe.add, for steering

Saved as safetensors with a few facts as JSON; loading checks the shapes and never unpickles.
Encoding a state costs models × feature × latent products, and decoding it as many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analyses.features.weights_file import FILE, read_tensors
from probe.errors import ProbeError, nearest
from probe.outside_files import is_folder

NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "scale")
DICTIONARY = "dictionary.safetensors"
_KEY = "twinprobe"


@dataclass(frozen=True, eq=False)
class Dictionary:
    """`W_enc` (model, feature, latent), `b_enc` (latent), `W_dec` (latent, model, feature), `b_dec` (model, feature),
    `scale` (model). `models` are the roles that its states come from, in that order; `about` says what it was trained
    on, and how."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    scale: Tensor
    k: int
    models: tuple[str, ...] = ("model",)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def latents(self) -> int:
        return len(self.b_enc)

    @property
    def d_model(self) -> int:
        return self.b_dec.shape[-1]

    @property
    def layer(self) -> int | None:
        """The layer whose output its states are."""
        return self.about.get("layer")

    def __repr__(self) -> str:
        of, layer = " and ".join(self.models), "" if self.layer is None else f", after layer {self.layer}"
        return f"Dictionary({self.latents} latents of {of}, {self.k} at a time, d {self.d_model}{layer})"

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in NAMES}

    def to(self, device: str | torch.device) -> Dictionary:
        """The same with its tensors on a device."""
        return replace(self, **{name: one.detach().to(device) for name, one in self.tensors.items()})

    def scaled(self, states: Tensor) -> Tensor:
        """States in the dictionary's own units (… × model × feature)."""
        whole = states[..., None, :] if len(self.models) == 1 and states.shape[-2:] != self.b_dec.shape else states
        if whole.shape[-2:] != self.b_dec.shape:
            raise ProbeError(
                "states for a dictionary",
                expected=f"… × {len(self.models)} ({', '.join(self.models)}) × {self.d_model}",
                found=" × ".join(map(str, states.shape)),
                remedy="Give it the states of the models it was trained on, in their order.",
            )
        return whole.to(self.scale) / self.scale[:, None]

    def before(self, scaled: Tensor) -> Tensor:
        """Each latent before the k largest are chosen (… × latent), of states in the dictionary's units."""
        return (scaled - self.b_dec).flatten(-2) @ self.W_enc.flatten(0, 1) + self.b_enc

    def chosen(self, before: Tensor) -> Tensor:
        """The k largest, where they are positive; 0 elsewhere."""
        values, at = before.topk(self.k, dim=-1)
        return torch.zeros_like(before).scatter(-1, at, values.relu())

    def encode(self, states: Tensor) -> Tensor:
        """The latents of states in the stream's units."""
        return self.chosen(self.before(self.scaled(states)))

    def parts(self, latents: Tensor) -> Tensor:
        """The sum of latents' directions in the dictionary's units, without b_dec (… × model × feature)."""
        return (latents @ self.W_dec.flatten(1)).unflatten(-1, self.b_dec.shape)

    def decode(self, latents: Tensor) -> Tensor:
        """The states that latents stand for (… × model × feature; of one model … × feature)."""
        made = (self.parts(latents.to(self.W_dec)) + self.b_dec) * self.scale[:, None]
        return made[..., 0, :] if len(self.models) == 1 else made

    def role(self, name: str | None = None) -> int:
        """The index of a model in `models`; without a role, that of the only one."""
        if name is None and len(self.models) == 1:
            return 0
        if name not in self.models:
            raise ProbeError("a dictionary's model", expected="one of " + ", ".join(self.models), found=repr(name),
                             remedy=nearest(str(name), self.models))  # fmt: skip
        return self.models.index(name)

    def direction(self, latent: int, model: str | None = None) -> Tensor:
        """What one unit of a latent adds to a model's stream: a vector for `probe.add` and `steering`."""
        if not 0 <= latent < self.latents:
            raise ProbeError("latent", expected=f"a number from 0 to {self.latents - 1}", found=str(latent),
                             remedy="Latents are counted from 0.")  # fmt: skip
        at = self.role(model)
        return self.W_dec[latent, at] * self.scale[at]

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder, as `dictionary.safetensors`."""
        from safetensors.torch import save_file

        path = Path(folder) / DICTIONARY
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: one.detach().float().cpu().contiguous() for name, one in self.tensors.items()}
        facts = {"k": self.k, "models": list(self.models), "about": dict(self.about)}
        save_file(tensors, path, metadata={_KEY: json.dumps(facts, ensure_ascii=False, default=str)})
        return path

    @classmethod
    def open(cls, folder: str | Path) -> Dictionary:
        """The dictionary that was saved into a folder."""
        path = Path(folder)
        path = path / DICTIONARY if is_folder(path) else path
        tensors, metadata = read_tensors(path, NAMES)
        facts = FILE.object_of(metadata.get(_KEY, "{}"), path)
        k, models, about = facts.get("k"), facts.get("models"), facts.get("about")
        if not isinstance(k, int) or not isinstance(models, list) or not isinstance(about, dict):
            raise FILE.refuse(
                path, "a dictionary that Dictionary.save wrote", "no k, models and about beside the tensors"
            )
        return checked(tensors, k, tuple(map(str, models)), about, path)


def checked(
    tensors: Mapping[str, Tensor], k: int, models: tuple[str, ...], about: Mapping[str, Any], source: str | Path
) -> Dictionary:
    """A dictionary of tensors from a file, refused where their shapes do not go together."""
    count, latents = len(models), tensors["b_enc"].numel()
    d = tensors["b_dec"].shape[-1] if tensors["b_dec"].dim() else 0
    due = {"W_enc": (count, d, latents), "b_enc": (latents,), "W_dec": (latents, count, d), "b_dec": (count, d),
           "scale": (count,)}  # fmt: skip
    for name, shape in due.items():
        if tuple(tensors[name].shape) != shape or 0 in shape:
            found = f"{tuple(tensors[name].shape)}"
            raise FILE.refuse(source, f"{name} of shape {shape} for {count} models and {latents} latents", found)
        if not bool(tensors[name].isfinite().all()):
            raise FILE.refuse(source, f"finite numbers in {name}", "NaN or infinity")
    if not 1 <= k <= latents:
        raise FILE.refuse(source, f"k from 1 to {latents}", str(k))
    if not bool((tensors["scale"] > 0).all()):
        raise FILE.refuse(source, "scales above 0", str(tensors["scale"].tolist()))
    W_enc, b_enc, W_dec, b_dec, scale = (tensors[name].float() for name in NAMES)
    return Dictionary(W_enc, b_enc, W_dec, b_dec, scale, k, models, about)
