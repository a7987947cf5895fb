"""Tiny checkpoints of AR families as their publishers write the big ones: old names of fields and keys, nulls, and
experts one by one. Each is its stock class, whatever that class's defaults are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import probe
from tests.probe.models.published import experts_apart
from tests.probe.tiny import backbone_of, state_of, stock_logits, tokens_of, write_checkpoint

SHAPE = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"vocab_size": 500, "max_position_embeddings": 64},
}
LLAMA_LIKE = {
    **{**SHAPE, "hidden_act": "silu", "rms_norm_eps": 1e-6, "attention_dropout": 0.0, "tie_word_embeddings": False},
    **{"bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16", "use_cache": True, "rope_scaling": None},
}
GEMMA = {
    **{**SHAPE, "num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "rms_norm_eps": 1e-6},
    **{"hidden_activation": "gelu_pytorch_tanh", "attention_bias": False, "cache_implementation": "hybrid"},
    **{"bos_token_id": 2, "eos_token_id": [1, 106], "pad_token_id": 0},
}
LONG = {"short_factor": [1.5] * 4, "long_factor": [3.0] * 4}


def turned(theta: float, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


def pythia_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    """The unembedding under its old name, and what the class once kept: triangles and frequencies."""
    state = state_of(backbone)
    state["embed_out.weight"] = state.pop("lm_head.weight")
    for layer in range(2):
        attention = f"gpt_neox.layers.{layer}.attention"
        state[f"{attention}.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()
        state[f"{attention}.masked_bias"] = torch.tensor(-1e9)
        state[f"{attention}.rotary_emb.inv_freq"] = torch.ones(1)
    return state


def mixtral_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    names = {".mlp.": ".block_sparse_moe.", "gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    state = experts_apart(state_of(backbone))
    for ours, theirs in names.items():
        state = {key.replace(ours, theirs) if ".mlp." in key or "moe" in key else key: state[key] for key in state}
    return state


def qwen3_moe_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    return experts_apart(state_of(backbone))


Case = tuple[str, dict[str, Any], dict[str, Any], Callable[[PreTrainedModel], dict[str, Tensor]]]
OF_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "norm_topk_prob": True}
CASES: dict[str, Case] = {
    "pythia": (
        "gpt_neox",
        {**SHAPE, **turned(1e4, partial_rotary_factor=0.25)},
        {
            **{**SHAPE, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_emb_base": 10000, "rotary_pct": 0.25},
            **{"use_parallel_residual": True, "tie_word_embeddings": False, "torch_dtype": "float16"},
        },
        pythia_keys,
    ),
    "gemma 2": (
        "gemma2",
        {**GEMMA, "tie_word_embeddings": True},
        {
            **{**GEMMA, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096},
            **{"hidden_act": "gelu_pytorch_tanh", "rope_theta": 10000.0},
        },
        state_of,
    ),
    "gemma 3": (
        "gemma3_text",
        {
            **{**GEMMA, "tie_word_embeddings": True, "sliding_window": 16, "layer_types": ["sliding_attention"] * 2},
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        {
            **{**GEMMA, "attn_logit_softcapping": None, "final_logit_softcapping": None, "sliding_window": 16},
            **{"rope_local_base_freq": 10000, "rope_theta": 1000000, "rope_scaling": None, "sliding_window_pattern": 6},
        },
        state_of,
    ),
    "mistral": (
        "mistral",
        {**SHAPE, "num_key_value_heads": 1, "sliding_window": None, **turned(1e6)},
        {**LLAMA_LIKE, "num_key_value_heads": 1, "rope_theta": 1000000.0, "sliding_window": None},
        state_of,
    ),
    "mixtral": (
        "mixtral",
        {**SHAPE, "num_key_value_heads": 1, "num_local_experts": 4, "rms_norm_eps": 1e-6, **turned(1e6)},
        {
            **{**LLAMA_LIKE, "num_key_value_heads": 1, "rope_theta": 1000000.0, "sliding_window": None},
            **{"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": False},
        },
        mixtral_keys,
    ),
    "qwen3-moe": (
        "qwen3_moe",
        {**SHAPE, **OF_EXPERTS, "num_key_value_heads": 1, "head_dim": 8, **turned(1e6)},
        {
            **{**LLAMA_LIKE, **OF_EXPERTS, "num_key_value_heads": 1, "head_dim": 8, "rope_theta": 1000000.0},
            **{"sliding_window": None, "use_sliding_window": False, "max_window_layers": 48, "attention_bias": False},
            **{"decoder_sparse_step": 1, "mlp_only_layers": []},
        },
        qwen3_moe_keys,
    ),
    "phi-3": (
        "phi3",
        {**SHAPE, "num_key_value_heads": 2, "sliding_window": 2047, "rms_norm_eps": 1e-6, "pad_token_id": 0},
        {
            **{**LLAMA_LIKE, "num_key_value_heads": 2, "rope_theta": 10000.0, "sliding_window": 2047},
            **{"embd_pdrop": 0.0, "resid_pdrop": 0.0, "original_max_position_embeddings": 64, "pad_token_id": 0},
        },
        state_of,
    ),
    "phi-3, long": (
        "phi3",
        {
            **{**SHAPE, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "pad_token_id": 0, "sliding_window": None},
            "original_max_position_embeddings": 32,
            "rope_parameters": {
                **{**LONG, "rope_type": "longrope", "rope_theta": 1e4, "factor": 2.0, "partial_rotary_factor": 1.0},
                "original_max_position_embeddings": 32,
            },
        },
        {
            **{**LLAMA_LIKE, "num_key_value_heads": 2, "rope_theta": 10000.0, "pad_token_id": 0},
            **{"sliding_window": None, "original_max_position_embeddings": 32},
            "rope_scaling": {"type": "longrope", **LONG},
        },
        state_of,
    ),
    "smollm3": (
        "smollm3",
        {**SHAPE, "num_key_value_heads": 1, "tie_word_embeddings": True, "no_rope_layers": [1, 0], **turned(5e6)},
        {
            **{**LLAMA_LIKE, "num_key_value_heads": 1, "rope_theta": 5000000.0, "tie_word_embeddings": True},
            **{"no_rope_layers": [1, 0], "no_rope_layer_interval": 4, "layer_types": ["full_attention"] * 2},
            **{"use_sliding_window": False, "sliding_window": None, "max_window_layers": 28, "pad_token_id": 4},
        },
        state_of,
    ),
    "olmo 2": (
        "olmo2",
        {**SHAPE, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, **turned(5e5)},
        {**LLAMA_LIKE, "num_key_value_heads": 2, "rope_theta": 500000, "attention_bias": False, "pad_token_id": 7},
        state_of,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_written_as_its_publisher_writes_it_is_its_stock_class(name, tmp_path):
    architecture, stock, published, keys = CASES[name]
    backbone = backbone_of(architecture, **stock)
    folder = write_checkpoint(tmp_path / "m", {"model_type": architecture, **published}, keys(backbone))
    model = probe.load(folder, tokenizer=False)
    tokens = tokens_of(2, 20)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens), atol=1e-5, rtol=0)
    assert model.selftests["rotary"].outcome == model.selftests["streams"].outcome == "pass"
