"""Mixtures of experts: how much of a model works for one token, and how much lies in memory.

A router sends each token to a few of a layer's experts. Time goes with those, memory with all: a Mixtral-8x7B holds 47
billion parameters and uses 13 billion of them for a token. Names of the settings differ between architectures, and a
layer may have a plain MLP instead.

    mlp_widths(config)                   # of a layer's MLP, a mean over layers: at work for a token, and in memory
    at_work({"num_experts": 64, "num_experts_per_tok": 8})       # 1/8: the share of the experts' weights
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NUMBER = ("num_local_experts", "num_experts", "n_routed_experts")
CHOSEN = "num_experts_per_tok"
INSIDE = ".experts."  # in the names of the experts' weights; those that every token uses are shared_experts


def at_work(config: Mapping[str, Any]) -> float:
    """The share of the experts' weights that works for one token; 1 without experts."""
    number = _number(config)
    chosen = config.get(CHOSEN)
    return chosen / number if number and isinstance(chosen, int) and 0 < chosen <= number else 1.0


def active_parameters(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], counted: int) -> int:
    """How many of the counted parameters work for one token, from the shapes of the weights by name."""
    share = at_work(config)
    idle = sum(math.prod(shape) for name, shape in shapes.items() if INSIDE in name) * (1 - share)
    return counted - round(idle)


def mlp_widths(config: PretrainedConfig) -> tuple[float, float]:
    """A layer's width between its up and its down projections, at work for a token and in memory, a mean over
    layers."""
    fields = config.to_dict()
    plain = fields.get("intermediate_size") or fields.get("n_inner") or 4 * config.hidden_size
    number = _number(fields)
    if not number:
        return plain, plain
    each = fields.get("moe_intermediate_size") or plain
    shared = each * (fields.get("n_shared_experts") or 0)
    mixed = sum(_mixed(fields, layer) for layer in range(config.num_hidden_layers)) / config.num_hidden_layers
    working = round(at_work(fields) * number) * each + shared
    return mixed * working + (1 - mixed) * plain, mixed * (number * each + shared) + (1 - mixed) * plain


def _number(config: Mapping[str, Any]) -> int:
    return next((config[name] for name in NUMBER if isinstance(config.get(name), int)), 0)


def _mixed(config: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer has experts."""
    if layer in (config.get("mlp_only_layers") or ()) or layer < (config.get("first_k_dense_replace") or 0):
        return False
    return (layer + 1) % (config.get("decoder_sparse_step") or 1) == 0
