"""Tiny checkpoints as their publishers write the big ones: key names, config.json, real vocabularies and mask ids.

Each entry starts from a stock backbone whose logits are known, and renames by hand what the publisher renamed; none of
it looks at `probe.models.formats`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.probe.tiny import backbone_of, state_of, write_checkpoint

SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
REMOTE = {"AutoConfig": "configuration_published.Config", "AutoModel": "modeling_published.Model"}


@dataclass(frozen=True)
class Published:
    """One family: its stock backbone, how its files say it, and what must be declared of it."""

    folder: str  # the last part of its published name
    architecture: str
    stock: dict[str, Any]  # the stock configuration
    config: dict[str, Any]  # config.json
    paradigm: str
    mask_id: int | None
    shift: bool
    attention: str
    sampler: str | None
    clean_shift: bool | None = None
    tensors: Callable[[PreTrainedModel], dict[str, Tensor]] = field(default=state_of)

    def backbone(self) -> PreTrainedModel:
        return backbone_of(self.architecture, **self.stock)

    def write(self, folder: Path, backbone: PreTrainedModel, *, shards: int = 1) -> Path:
        return write_checkpoint(folder, self.config, self.tensors(backbone), shards=shards)


def _diffugpt_keys(backbone: PreTrainedModel, *, with_unembedding: bool = True) -> dict[str, Tensor]:
    state = state_of(backbone)
    renamed = {key.replace("transformer.", "denoise_model."): tensor for key, tensor in state.items()}
    embedding = renamed.pop("denoise_model.wte.weight")
    renamed["embed_tokens.weight"] = embedding
    if with_unembedding:
        renamed["lm_head.weight"] = embedding.clone()
    for layer in range(backbone.config.n_layer):  # the causal buffers of an older GPT-2
        triangle = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()
        renamed[f"denoise_model.h.{layer}.attn.bias"] = triangle
        renamed[f"denoise_model.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    return renamed


def _diffugpt_bare_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    keys = _diffugpt_keys(backbone, with_unembedding=False)
    return {key: tensor for key, tensor in keys.items() if not key.endswith((".attn.bias", ".attn.masked_bias"))}


def _diffullama_renamed_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    state = {key.replace("model.", "denoise_model.", 1): tensor for key, tensor in state_of(backbone).items()}
    state["embed_tokens.weight"] = state.pop("denoise_model.embed_tokens.weight")
    return state


def _llada_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    state = state_of(backbone)
    outside = {"model.embed_tokens": "wte", "model.norm": "ln_f", "lm_head": "ff_out"}
    inside = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "q_proj",
        "self_attn.k_proj": "k_proj",
        "self_attn.v_proj": "v_proj",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "ff_norm",
        "mlp.gate_proj": "ff_proj",
        "mlp.up_proj": "up_proj",
        "mlp.down_proj": "ff_out",
    }
    renamed = {f"model.transformer.{theirs}.weight": state[f"{ours}.weight"] for ours, theirs in outside.items()}
    for layer in range(backbone.config.num_hidden_layers):
        for ours, theirs in inside.items():
            tensor = state[f"model.layers.{layer}.{ours}.weight"]
            renamed[f"model.transformer.blocks.{layer}.{theirs}.weight"] = tensor
    assert len(renamed) == len(state)
    return renamed


def experts_apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each expert's own three matrices, as publishers write them."""
    apart = {}
    for key, tensor in state.items():
        if key.endswith("experts.gate_up_proj"):
            for number, joint in enumerate(tensor):
                for name, half in zip(("gate_proj", "up_proj"), joint.chunk(2), strict=True):
                    apart[key.replace("gate_up_proj", f"{number}.{name}.weight")] = half.contiguous()
        elif key.endswith("experts.down_proj"):
            for number, down in enumerate(tensor):
                apart[key.replace("down_proj", f"{number}.down_proj.weight")] = down.contiguous()
        else:
            apart[key] = tensor
    return apart


def _llada_moe_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    return experts_apart(state_of(backbone))


def _llada2_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    state = experts_apart(state_of(backbone))
    state["model.word_embeddings.weight"] = state.pop("model.embed_tokens.weight")
    for layer in range(backbone.config.num_hidden_layers):
        ours, theirs = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.attention"
        joint = torch.cat([state.pop(f"{ours}.{part}_proj.weight") for part in "qkv"])
        state[f"{theirs}.query_key_value.weight"] = joint
        for own, other in {"o_proj": "dense", "q_norm": "query_layernorm", "k_norm": "key_layernorm"}.items():
            state[f"{theirs}.{other}.weight"] = state.pop(f"{ours}.{own}.weight")
        bias = state.pop(f"model.layers.{layer}.mlp.gate.e_score_correction_bias", None)
        if bias is not None:
            state[f"model.layers.{layer}.mlp.gate.expert_bias"] = bias
    return state


def _pangu_keys(backbone: PreTrainedModel) -> dict[str, Tensor]:
    state = state_of(backbone)
    assert "model.layers.0.self_attn.o_proj.bias" in state
    for layer in range(backbone.config.num_hidden_layers):
        state[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    return state


def _qwen_like(model_type: str, cls: str, vocabulary: int, *, kv: int = 1, tie: bool = False, **more: Any) -> dict:
    """The fields that the Qwen-shaped families publish."""
    fields = {
        **SHAPE,
        "num_key_value_heads": kv,
        "vocab_size": vocabulary,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
        "tie_word_embeddings": tie,
        "use_cache": False,
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": 2,
        "attention_dropout": 0.0,
        "bos_token_id": 3,
        "eos_token_id": 3,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.2",
    }
    return {**fields, "model_type": model_type, "architectures": [cls], "auto_map": REMOTE, **more}


def _stock(config: dict[str, Any]) -> dict[str, Any]:
    """The same shape in the stock class's words."""
    taken = ("num_key_value_heads", "vocab_size", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings")
    own = {name: config[name] for name in (*SHAPE, *taken)}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": config["rope_theta"]}}
    return {**own, **rope, **({"head_dim": config["head_dim"]} if "head_dim" in config else {})}


def _gpt2(rows: int) -> dict[str, Any]:
    return {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 64, "vocab_size": rows}


_GPT2 = {**_gpt2(50257), "model_type": "gpt2", "architectures": ["DiscreteDiffusionModel"], "n_ctx": 64}
_LLAMA2 = _qwen_like("llama", "LlamaForCausalLM", 32000, kv=2, rms_norm_eps=1e-5, rope_theta=10000.0)
_DREAM = _qwen_like(
    "Dream", "DreamModel", 152064, use_mrope=False, mask_token_id=151666, pad_token_id=151643, full_attn_only=True
)
_DREAM_SAMPLER = "entropy, T 0.2, top_p 0.95"
_DIFFUCODER = {**_DREAM, "eos_token_id": 151643}
_LLADA = {
    "model_type": "llada",
    "architectures": ["LLaDAModelLM"],
    "auto_map": REMOTE,
    "activation_type": "silu",
    "alibi": False,
    "attention_dropout": 0.0,
    "attention_layer_norm": False,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": 16,
    "embedding_size": 126464,
    "eos_token_id": 126081,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": 126336,
    "max_sequence_length": 128,
    "mlp_hidden_size": 24,
    "mlp_ratio": 4,
    "multi_query_attention": None,
    "n_heads": 2,
    "n_kv_heads": 2,
    "n_layers": 2,
    "pad_token_id": 126081,
    "precision": "amp_bf16",
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "use_cache": False,
    "vocab_size": 126464,
    "weight_tying": False,
}
_A2D = _qwen_like("a2d-qwen3", "A2DQwen3LMHeadModel", 151936, tie=True, head_dim=8)
_SDAR = _qwen_like("sdar", "SDARForCausalLM", 151936, head_dim=8, attention_bias=False)
_SDAR_WITH_FIELDS = {**_SDAR, "block_size": 4, "mask_token_id": 151669, "fuse_cross_entropy": True}
_FAST = _qwen_like(
    "Fast_dLLM_Qwen",
    "Fast_dLLM_QwenForCausalLM",
    151936,
    tie=True,
    bd_size=32,
    layer_types=["full_attention", "full_attention"],
)
_WEDLM_8B = _qwen_like(
    "wedlm", "WeDLMForCausalLM", 151936, head_dim=8, qk_norm=True, attention_bias=False, mask_token_id=151666
)
_WEDLM_7B = _qwen_like("wedlm", "WeDLMForCausalLM", 152064, qk_norm=False, attention_bias=True, mask_token_id=151665)
_PANGU = _qwen_like(
    "PanguEmbedded", "PanguEmbeddedForCausalLM", 153376, rms_norm_eps=1e-5, rope_theta=16000000.0, bias=True
)
_LLADA_STOCK = {
    **SHAPE,
    "num_key_value_heads": 2,
    "vocab_size": 126464,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}

_A2D_QWEN2 = _qwen_like("a2d-qwen2", "A2DQwen2LMHeadModel", 151936, tie=True)
_LLADA_MQA = {**_LLADA, "n_kv_heads": None, "multi_query_attention": True}
_OF_EXPERTS = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 157184, "rms_norm_eps": 1e-5},
    **{"max_position_embeddings": 128, "tie_word_embeddings": False, "num_experts_per_tok": 2},
}
_LLADA_MOE = {
    **_OF_EXPERTS,
    **{"model_type": "llada", "architectures": ["LLaDAMoEModelLM"], "auto_map": REMOTE, "rope_theta": 50000},
    **{"attention_bias": False, "clip_qkv": None, "dense_intermediate_size": 24, "expert_intermediate_size": 12},
    **{"shared_expert_intermediate_size": None, "hidden_act": "silu", "num_experts": 4, "num_key_value_heads": 2},
    **{"norm_topk_prob": None, "qk_layernorm": True, "moe_layer_freq": [1, 0], "partial_rotary_factor": 1},
    **{"moe_router_enable_expert_bias": False, "moe_router_score_function": "softmax", "routed_scaling_factor": 1},
    **{"router_num_group": None, "router_topk_group": None, "rope_scaling": None, "pad_token_id": 156892},
}
_LLADA_MOE_STOCK = {
    **_OF_EXPERTS,
    **{"num_key_value_heads": 2, "intermediate_size": 24, "moe_intermediate_size": 12, "num_experts": 4},
    **{"norm_topk_prob": False, "mlp_only_layers": [1]},
    "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0},
}
_GROUPED = {
    **{"num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "moe_intermediate_size": 12, "n_group": 2},
    **{"topk_group": 1, "routed_scaling_factor": 2.5, "first_k_dense_replace": 1, "use_qk_norm": True},
}
_LLADA2 = {
    **{**_OF_EXPERTS, **_GROUPED, "rms_norm_eps": 1e-6},
    **{"model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"], "auto_map": REMOTE, "hidden_act": "silu"},
    **{"num_experts": 4, "num_shared_experts": 1, "use_bias": False, "use_qkv_bias": False, "norm_head": False},
    **{"partial_rotary_factor": 0.5, "rope_theta": 600000, "rope_scaling": None, "score_function": "sigmoid"},
    **{"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 20, "pad_token_id": 156892},
}
_LLADA2_STOCK = {
    **{**_OF_EXPERTS, **_GROUPED, "rms_norm_eps": 1e-6, "n_routed_experts": 4, "n_shared_experts": 1},
    "rope_parameters": {"rope_type": "default", "rope_theta": 600000.0, "partial_rotary_factor": 0.5},
}

_MODERNBERT_STOCK = {**SHAPE, "vocab_size": 50368, "tie_word_embeddings": True, "global_attn_every_n_layers": 2}
_MODERNBERT = {
    **{**SHAPE, "vocab_size": 50368, "global_attn_every_n_layers": 2, "local_attention": 128},
    **{"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"], "transformers_version": "4.56.2"},
    **{"global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "max_position_embeddings": 8192},
    **{"hidden_activation": "gelu", "classifier_activation": "gelu", "classifier_pooling": "mean"},
    **{"norm_eps": 1e-5, "layer_norm_eps": 1e-5, "norm_bias": False, "decoder_bias": True, "attention_bias": False},
    **{"position_embedding_type": "absolute", "reference_compile": None, "repad_logits_with_grad": False},
    **{"sparse_prediction": False, "pad_token_id": 50283, "cls_token_id": 50281, "sep_token_id": 50282},
}
PUBLISHED: dict[str, Published] = {
    "diffugpt-s": Published(
        "diffugpt-s", "gpt2", _gpt2(50257), _GPT2, "masked", 10541, True, "full", "random", tensors=_diffugpt_keys
    ),
    "diffugpt-s, bare": Published(
        "diffugpt-s", "gpt2", _gpt2(50257), _GPT2, "masked", 10541, True, "full", "random", tensors=_diffugpt_bare_keys
    ),
    # Its config.json still says 50257; the embedding has a row more.
    "diffugpt-m": Published(
        "diffugpt-m", "gpt2", _gpt2(50258), _GPT2, "masked", 50257, True, "full", "random", tensors=_diffugpt_keys
    ),
    "diffullama": Published("diffullama", "llama", _stock(_LLAMA2), _LLAMA2, "masked", 811, True, "full", "random"),
    "diffullama, renamed": Published(
        *("diffullama", "llama", _stock(_LLAMA2), _LLAMA2, "masked", 811, True, "full", "random"),
        tensors=_diffullama_renamed_keys,
    ),
    "dream": Published(
        "Dream-v0-Base-7B", "qwen2", _stock(_DREAM), _DREAM, "masked", 151666, True, "full", _DREAM_SAMPLER
    ),
    "diffucoder": Published(
        *("DiffuCoder-7B-cpGRPO", "qwen2", _stock(_DIFFUCODER), _DIFFUCODER, "masked", 151666, True, "full"),
        "entropy, T 0.4, top_p 0.95",
    ),
    "llada": Published(
        *("LLaDA-8B-Instruct", "llama", _LLADA_STOCK, _LLADA, "masked", 126336, False, "full"),
        "confidence, block 32",
        tensors=_llada_keys,
    ),
    "tiny-a2d mdlm": Published(
        *("Qwen3-0.6B-diffusion-mdlm-v0.1", "qwen3", _stock(_A2D), _A2D, "masked", 151669, False, "full"),
        "confidence",
    ),
    "tiny-a2d bd3lm": Published(
        *("Qwen3-0.6B-diffusion-bd3lm-v0.1", "qwen3", _stock(_A2D), _A2D, "block", 151669, False, "block:32"),
        "confidence",
    ),
    "sdar": Published(
        *("SDAR-8B-Chat", "qwen3", _stock(_SDAR), _SDAR, "block", 151669, False, "block:4"),
        "confidence, threshold 0.9",
    ),
    "sdar, with fields": Published(
        *("SDAR-1.7B-Chat", "qwen3", _stock(_SDAR), _SDAR_WITH_FIELDS, "block", 151669, False, "block:4"),
        "confidence, threshold 0.9",
    ),
    "fast-dllm-v2": Published(
        *("Fast_dLLM_v2_1.5B", "qwen2", _stock(_FAST), _FAST, "block", 151665, True, "block:32"),
        "confidence, threshold 0.95, block 8",
    ),
    "wedlm 8B": Published(
        *("WeDLM-8B-Instruct", "qwen3", _stock(_WEDLM_8B), _WEDLM_8B, "masked", 151666, False, "masks_last"),
        *("entropy", True),
    ),
    "wedlm 7B": Published(
        *("WeDLM-7B-Base", "qwen2", _stock(_WEDLM_7B), _WEDLM_7B, "masked", 151665, False, "masks_last"),
        *("entropy", True),
    ),
    "openpangu": Published(
        *("openPangu-Embedded-7B", "llama", {**_stock(_PANGU), "attention_bias": True}, _PANGU, "autoregressive"),
        *(144208, True, "causal", None),
        tensors=_pangu_keys,
    ),
    "fluid": Published(
        *("FLUID", "llama", {**_stock(_PANGU), "attention_bias": True}, _PANGU, "fluid", 144208, True, "causal", None),
        tensors=_pangu_keys,
    ),
    "modernbert": Published(
        *("ModernBERT-large-chat-v0.1", "modernbert", _MODERNBERT_STOCK, _MODERNBERT, "masked", 50284, False, "full"),
        "confidence",
    ),
    "a2d-qwen2 mdlm": Published(
        *("Qwen2.5-Coder-0.5B-Instruct-diffusion-mdlm-v0.1", "qwen2", _stock(_A2D_QWEN2), _A2D_QWEN2, "masked"),
        *(151665, False, "full", "confidence"),
    ),
    "a2d-qwen2 bd3lm": Published(
        *("Qwen2.5-Coder-0.5B-Instruct-diffusion-bd3lm-v0.1", "qwen2", _stock(_A2D_QWEN2), _A2D_QWEN2, "block"),
        *(151665, False, "block:32", "confidence"),
    ),
    "llada, multi-query": Published(
        *("LLaDA-8B-Base", "llama", {**_LLADA_STOCK, "num_key_value_heads": 1}, _LLADA_MQA, "masked", 126336, False),
        *("full", "confidence, block 32"),
        tensors=_llada_keys,
    ),
    "llada-moe": Published(
        *("LLaDA-MoE-7B-A1B-Instruct", "qwen3_moe", _LLADA_MOE_STOCK, _LLADA_MOE, "masked", 156895, False, "full"),
        "confidence, block 32",
        tensors=_llada_moe_keys,
    ),
    "llada2": Published(
        *("LLaDA2.0-mini", "glm4_moe", _LLADA2_STOCK, _LLADA2, "block", 156895, False, "block:32"),
        "confidence, threshold 0.95, block 32",
        tensors=_llada2_keys,
    ),
}
