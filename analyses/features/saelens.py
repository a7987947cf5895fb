"""SAELens' files: `cfg.json` and `sae_weights.safetensors`, as its release 6 writes them (read there in 6.54.12).

    saelens.save(dictionary, "folder")          # SAE.load_from_disk("folder") opens it
    saelens.load("folder", layer=2)             # a TopK SAE that SAELens trained

The tensors are `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_in), `b_enc` and `b_dec`. Ours are written in the stream's own
units, with decoder rows of length 1: `scale` is folded in. It reads the architecture "topk" of release 6 (with
`rescale_acts_by_decoder_norm`, which is folded in, too), and of releases 3 to 5, where `activation_fn_str` names it.
Other architectures, and states that were normalised in other ways than by a constant, are refused by name. A crosscoder
does not fit the format: one of its decoders alone is not an SAE.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from analyses.features.dictionary import Dictionary, checked
from analyses.features.weights_file import FILE, read_tensors
from probe.errors import ProbeError
from probe.outside_files import is_file

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec")
VERSION = "6.54.12"
_UNNORMALISED = ("none", None)


def save(dictionary: Dictionary, folder: str | Path) -> Path:
    """Write an SAE as SAELens does."""
    from safetensors.torch import save_file

    if len(dictionary.models) != 1:
        raise ProbeError("SAELens' format", expected="a dictionary of one model",
                         found=f"a crosscoder of {', '.join(dictionary.models)}",
                         remedy="Keep it with dictionary.save(folder).")  # fmt: skip
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    scale = dictionary.scale[0]
    tensors = {
        "W_enc": dictionary.W_enc[0], "b_enc": dictionary.b_enc * scale,
        "W_dec": dictionary.W_dec[:, 0], "b_dec": dictionary.b_dec[0] * scale,
    }  # fmt: skip
    save_file({name: one.detach().float().cpu().contiguous() for name, one in tensors.items()}, place / WEIGHTS)
    layer, names = dictionary.layer, dictionary.about.get("names")
    metadata = {
        "sae_lens_version": VERSION, "model_name": names[0] if names else None,
        "hook_name": None if layer is None else f"blocks.{layer}.hook_resid_post", "hook_head_index": None,
    }  # fmt: skip
    config = {
        "architecture": "topk", "k": dictionary.k, "rescale_acts_by_decoder_norm": False,
        "d_in": dictionary.d_model, "d_sae": dictionary.latents, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": metadata,
    }  # fmt: skip
    (place / CONFIG).write_text(json.dumps(config), "utf-8")
    return place


def load(folder: str | Path, *, layer: int | None = None) -> Dictionary:
    """A TopK SAE that SAELens (or `save`) wrote; `layer` where its hook's name does not say."""
    place = Path(folder)
    config = FILE.object(place / CONFIG) if is_file(place / CONFIG) else None
    if config is None:
        raise FILE.refuse(place / CONFIG, "SAELens' configuration", "none there")
    k = _k(config, place / CONFIG)
    path = place / WEIGHTS
    tensors, _ = read_tensors(path, TENSORS)
    for name, due in (("W_enc", 2), ("W_dec", 2), ("b_enc", 1), ("b_dec", 1)):
        if tensors[name].dim() != due:
            raise FILE.refuse(path, f"{name} with {due} axes", f"shape {tuple(tensors[name].shape)}")
    W_enc, W_dec, b_enc, b_dec = (tensors[name].float() for name in TENSORS)
    if (len(W_enc), W_enc.shape[1]) != (W_dec.shape[1], len(W_dec)) or len(b_dec) != len(W_enc):
        raise FILE.refuse(path, f"W_dec of shape {tuple(W_enc.T.shape)}, as W_enc has it", str(tuple(W_dec.shape)))
    if config.get("rescale_acts_by_decoder_norm"):
        length = W_dec.norm(dim=1)
        W_enc, b_enc, W_dec = W_enc * length, b_enc * length, W_dec / length[:, None].clamp(min=1e-12)
    if not config.get("apply_b_dec_to_input", True):
        b_enc = b_enc + b_dec @ W_enc
    ours = {"W_enc": W_enc[None], "b_enc": b_enc, "W_dec": W_dec[:, None], "b_dec": b_dec[None], "scale": torch.ones(1)}
    about = {"layer": _layer(config) if layer is None else layer, "saelens": _plain(config)}
    return checked(ours, k, ("model",), about, path)


def _k(config: Mapping[str, Any], path: Path) -> int:
    """Its k; an error if it is not a TopK SAE of unnormalised states."""
    kind = config.get("architecture", "standard")
    older = kind == "standard" and config.get("activation_fn_str", config.get("activation_fn")) == "topk"
    if kind != "topk" and not older:
        raise FILE.refuse(path, 'the architecture "topk"', repr(kind),
                          "Others choose their latents in another way; load them with SAELens itself.")  # fmt: skip
    normalised = config.get("normalize_activations", "none")
    if normalised not in _UNNORMALISED or config.get("reshape_activations", "none") not in _UNNORMALISED:
        raise FILE.refuse(path, "states as they stand in the stream", f"normalize_activations {normalised!r}",
                          "Fold the normalisation in with SAELens first.")  # fmt: skip
    k = config.get("k", (config.get("activation_fn_kwargs") or {}).get("k"))
    if not isinstance(k, int) or isinstance(k, bool):
        raise FILE.refuse(path, "k, a whole number", repr(k))
    return k


def _layer(config: Mapping[str, Any]) -> int | None:
    """The layer whose output its states are, from its hook's name."""
    metadata = config.get("metadata")
    hook = (metadata if isinstance(metadata, dict) else config).get("hook_name")
    parts = hook.split(".") if isinstance(hook, str) else []
    if len(parts) != 3 or parts[0] != "blocks" or not parts[1].isdigit():
        return None
    number = int(parts[1])
    return number if parts[2] == "hook_resid_post" else number - 1 if parts[2] == "hook_resid_pre" and number else None


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("architecture", "d_in", "d_sae", "dtype", "model_name", "hook_name", "metadata", "sae_lens_version")
    return {name: config[name] for name in kept if name in config}
