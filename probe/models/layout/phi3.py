"""Phi-3: LLaMA's parts, with q, k and v in one projection and gate and up in another."""

from __future__ import annotations

from dataclasses import replace

from probe.models.layout.llama import LLAMA

PHI3 = replace(
    LLAMA,
    model_type="phi3",
    causal_lm="Phi3ForCausalLM",
    family="Phi-3",
    query="self_attn.qkv_proj",
    key="self_attn.qkv_proj",
    value="self_attn.qkv_proj",
    mlp_up="mlp.gate_up_proj",
    mlp_gate="mlp.gate_up_proj",
    takes=("partial_rotary_factor",),
)
