"""OLMo 2: no norm before attention or MLP, one after each; queries and keys normalised over all heads together."""

from __future__ import annotations

from dataclasses import replace

from probe.models.layout.llama import LLAMA

OLMO2 = replace(
    LLAMA,
    model_type="olmo2",
    causal_lm="Olmo2ForCausalLM",
    family="OLMo 2",
    attention_norm=None,
    attention_post_norm="post_attention_layernorm",
    mlp_norm=None,
    mlp_post_norm="post_feedforward_layernorm",
    joint_query_norm=True,
)
