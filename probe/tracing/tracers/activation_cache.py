"""A trace as TransformerLens's `ActivationCache`, and back.

    from probe.tracing import from_activation_cache, to_activation_cache

    cache = to_activation_cache(trace)       # cache["blocks.0.attn.hook_z"]
    trace = from_activation_cache(cache)

The two differ in names and in where the head axis stands; the numbers are the same. A site without a name in
TransformerLens is left out on the way there; a name without a site here is left out on the way back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.errors import TraceError
from probe.installed import optional
from probe.tracing.sites import SITES, Site

if TYPE_CHECKING:
    import xarray

_NAMES = {
    "resid_pre": "hook_resid_pre",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "z": "attn.hook_z",
    "head_out": "attn.hook_result",
    "attn_out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "mlp_hidden": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
# `hook_embed` is the token's embedding without the learned position; a trace's `embed` is what enters the first layer.
_ONCE = {"embed": "blocks.0.hook_resid_pre", "final_norm": "ln_final.hook_out", "logits": "unembed.hook_out"}


def lens_name(one: Site, layer: int) -> str:
    """A site's name in TransformerLens."""
    return f"blocks.{layer}.{_NAMES[one.name]}" if one.layered else _ONCE[one.name]


def view_of_lens(one: Site, found: Tensor) -> Tensor:
    """TransformerLens keeps positions before heads (but for patterns); a trace keeps heads first."""
    return found.transpose(1, 2) if one.heads and one.name != "pattern" else found


def to_activation_cache(trace: xarray.Dataset, model: Any = None) -> Any:
    """A trace of one step as an `ActivationCache`. `model` is a TransformerLens bridge, which some methods of the cache
    need (`cache.logit_attrs`, for example)."""
    lens = optional("transformer_lens", "tracers", "an ActivationCache")
    if "step" in trace.dims:
        raise TraceError(
            "trace",
            expected="one step: an ActivationCache has no step axis",
            found=f"{trace.sizes['step']} steps",
            remedy="Choose one with trace.sel(step=…).",
        )
    tensors: dict[str, Tensor] = {}
    for name in (name for name in SITES if name in trace):
        one, array = SITES[name], trace[name]
        layers = array["layer"].values.tolist() if one.layered else [0]
        for layer in layers:
            values = array.sel(layer=layer).values if one.layered else array.values
            tensors[lens_name(one, layer)] = view_of_lens(one, torch.from_numpy(values))
    return lens.ActivationCache(tensors, model)


def from_activation_cache(cache: Mapping[str, Tensor]) -> xarray.Dataset:
    """An `ActivationCache` (or a dict of its names) as a trace; names that are no site of a trace are left out."""
    import numpy as np
    import xarray

    found: dict[str, dict[int, Tensor]] = {}
    for key, tensor in cache.items():
        known = _site_of(key)
        if known is not None and isinstance(tensor, Tensor):
            found.setdefault(known[0], {})[known[1]] = view_of_lens(SITES[known[0]], tensor).detach().cpu().float()
    if not found:
        raise TraceError(
            "activation cache",
            expected="names such as 'blocks.0.hook_resid_post'",
            found=", ".join(list(cache)[:3]) or "nothing",
            remedy="Pass what run_with_cache returned.",
        )
    layers = sorted({layer for name, by_layer in found.items() if SITES[name].layered for layer in by_layer})
    variables = {}
    for name, by_layer in found.items():
        one = SITES[name]
        if not one.layered:
            variables[name] = (("example", *one.dims), by_layer[0].numpy())
            continue
        first = next(iter(by_layer.values()))
        blank = torch.full_like(first, torch.nan)  # a layer that was not kept for this site
        stacked = torch.stack([by_layer.get(layer, blank) for layer in layers], dim=1)
        variables[name] = (("example", "layer", *one.dims), stacked.numpy())
    return xarray.Dataset(variables, {"layer": np.asarray(layers)} if layers else {}, {"tracer": "transformer_lens"})


def _site_of(name: str) -> tuple[str, int] | None:
    """The site and layer that a TransformerLens name stands for."""
    for site_name, full in _ONCE.items():
        if name == full and site_name != "embed":  # the same name as the first resid_pre
            return site_name, 0
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if match is None:
        return None
    for site_name, rest in _NAMES.items():
        if rest == match[2]:
            return site_name, int(match[1])
    return None
