"""Mixtral and Qwen3-MoE: a router and experts in the MLP's place, all of them one MLP to the rest of Twinprobe.

Qwen3-MoE may have layers with a plain MLP among them.
"""

from __future__ import annotations

from dataclasses import replace

from probe.models.layout.llama import LLAMA

MIXTRAL = replace(
    LLAMA,
    model_type="mixtral",
    causal_lm="MixtralForCausalLM",
    mlp_up=None,
    mlp_gate=None,
    mlp_down=None,
    experts="mlp.experts",
)
QWEN3_MOE = replace(MIXTRAL, model_type="qwen3_moe", causal_lm="Qwen3MoeForCausalLM")
