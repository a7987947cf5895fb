"""Mixtral, Qwen3-MoE, GLM-4 MoE: a router and experts instead of an MLP, treated as one MLP elsewhere in Twinprobe.

The latter two may have layers with a plain MLP among them; GLM-4 MoE (also LLaDA2's architecture) has experts that
every token shares, and partial rotary positions.
"""

from __future__ import annotations

from dataclasses import replace

from probe.models.layout.llama import LLAMA

MIXTRAL = replace(
    LLAMA,
    model_type="mixtral",
    causal_lm="MixtralForCausalLM",
    family="Mixtral",
    mlp_up=None,
    mlp_gate=None,
    mlp_down=None,
    experts="mlp.experts",
)
QWEN3_MOE = replace(MIXTRAL, model_type="qwen3_moe", causal_lm="Qwen3MoeForCausalLM", family="Qwen3-MoE")
GLM4_MOE = replace(
    MIXTRAL,
    model_type="glm4_moe",
    causal_lm="Glm4MoeForCausalLM",
    family="GLM-4.5 MoE",
    takes=("partial_rotary_factor",),
)
