"""Tiny seeded models, and checkpoints of them written as publishers write theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PretrainedConfig,
    PreTrainedModel,
)

from probe.models.layout import LAYOUTS, layout_of
from probe.models.model import Model
from probe.paradigms import Autoregressive, Paradigm

VOCABULARY, MASK = 48, 47

GROUPED = {
    **{"n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5},
    **{"moe_intermediate_size": 24, "first_k_dense_replace": 1, "use_qk_norm": True, "head_dim": 8},
}
# Every way in which the architectures differ: heads that share keys, tied embeddings, biases; norms behind parts, parts
# side by side, joint projections, caps, several rotaries, layers without positions, experts.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "llama-mha": ("llama", {"num_key_value_heads": 4}),
    "llama-gqa": ("llama", {"num_key_value_heads": 2}),
    "llama-mqa": ("llama", {"num_key_value_heads": 1}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-biased": ("llama", {"attention_bias": True}),
    "qwen2": ("qwen2", {}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "qwen3-wide-heads-tied": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "mistral": ("mistral", {"sliding_window": 64}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
    "olmo2": ("olmo2", {}),
    "phi3": ("phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    "gemma2": ("gemma2", {"head_dim": 8, "query_pre_attn_scalar": 12, "final_logit_softcapping": 9.0}),
    "gemma3": ("gemma3_text", {"head_dim": 16, "query_pre_attn_scalar": 12, "tie_word_embeddings": True}),
    "gpt-neox": ("gpt_neox", {}),
    "gpt-neox-serial": ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False}),
    "mixtral": ("mixtral", {"num_local_experts": 4}),
    "qwen3-moe": (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 8},
    ),
    "glm4-moe": ("glm4_moe", GROUPED),
    "qwen3-moe-mixed": ("qwen3_moe", {"num_experts": 3, "num_experts_per_tok": 1, "mlp_only_layers": [0]}),
    "modernbert": ("modernbert", {"tie_word_embeddings": True, "attention_bias": True, "norm_bias": True}),
}
DECODERS = tuple(variant for variant, (architecture, _) in VARIANTS.items() if not LAYOUTS[architecture].encoder)
"""Those whose classes write text by themselves, and take keys and values of earlier passes."""


def config_of(architecture: str, **other: Any) -> PretrainedConfig:
    """2 layers, d 32, 4 heads over 2 key and value heads."""
    if architecture == "gpt2":
        shape = {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
        unused = {"bos_token_id": None, "eos_token_id": None}
        return CONFIG_MAPPING["gpt2"](**{**shape, **unused, **other})
    nobody = {"cls_token_id": None, "sep_token_id": None}
    own = {"gpt_neox": {}, "modernbert": nobody}.get(architecture, {"num_key_value_heads": 2})
    shape = {
        **own,
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    return CONFIG_MAPPING[architecture](**{**shape, **other})


def backbone_of(architecture: str, *, seed: int = 0, **other: Any) -> PreTrainedModel:
    """Seeded weights in which every parameter matters: fresh biases are 0 and fresh norms 1, which hides mistakes."""
    torch.manual_seed(seed)
    config = config_of(architecture, **other)
    kind = AutoModelForMaskedLM if architecture == "modernbert" else AutoModelForCausalLM
    backbone = kind.from_config(config).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return backbone.requires_grad_(False)


def model_of(variant: str = "llama-gqa", paradigm: Paradigm | None = None, *, seed: int = 0) -> Model:
    architecture, other = VARIANTS[variant]
    return Model(backbone_of(architecture, seed=seed, **other), paradigm or Autoregressive(mask_id=MASK))


def tokens_of(rows: int, length: int, *, seed: int = 0, masked: float = 0.0, vocabulary: int = MASK) -> Tensor:
    """Seeded ordinary tokens, of which a share is masked."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, vocabulary, (rows, length), generator=generator)
    return tokens.masked_fill(torch.rand(rows, length, generator=generator) < masked, MASK)


def stock_logits(backbone: PreTrainedModel, tokens: Tensor, allowed: Tensor | None = None, **how: Any) -> Tensor:
    """What the stock class says, asked as transformers asks it: an additive 4D float mask, or none at all."""
    kernel = how.pop("kernel", "eager") if backbone._supports_sdpa else "eager"
    backbone.set_attn_implementation(kernel)
    mask = None
    if allowed is not None:
        mask = torch.where(allowed, 0.0, -float("inf"))[:, None].to(backbone.dtype)
    with torch.no_grad():
        return backbone(input_ids=tokens, attention_mask=mask, use_cache=False, **how).logits


def state_of(backbone: PreTrainedModel) -> dict[str, Tensor]:
    """The parameters by stock key, each once (what is tied is left out, as publishers leave it out)."""
    state = {key: tensor.clone().contiguous() for key, tensor in backbone.state_dict().items()}
    if backbone.config.tie_word_embeddings:
        del state[f"{layout_of(backbone.config).unembed}.weight"]
    return state


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, shards: int = 1
) -> Path:
    """A folder with config.json and safetensors, in one file or in shards with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    weight_map = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[shard::shards]}
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_stock(folder: Path, backbone: PreTrainedModel, *, shards: int = 1) -> Path:
    """A plain transformers checkpoint."""
    config = {**backbone.config.to_dict(), "architectures": [type(backbone).__name__]}
    return write_checkpoint(folder, config, state_of(backbone), shards=shards)
