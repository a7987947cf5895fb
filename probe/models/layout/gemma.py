"""Gemma 2 and 3: a norm before and after each part, scaled embeddings, windows in some layers, caps.

Gemma 2 caps attention scores and logits. Gemma 3 instead normalises queries and keys, and uses another rotary base in
its windowed layers; its configuration still has the cap of attention scores, which its class does not apply.
"""

from __future__ import annotations

from dataclasses import replace

from probe.models.layout.llama import LLAMA

_ONE_WAY = {"use_bidirectional_attention": (None, False)}  # attention is said to `load`, and handed over as a mask

GEMMA2 = replace(
    LLAMA,
    model_type="gemma2",
    causal_lm="Gemma2ForCausalLM",
    family="Gemma 2",
    attention_post_norm="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
    logit_cap="final_logit_softcapping",
    attention_cap="attn_logit_softcapping",
    only=_ONE_WAY,
)
GEMMA3 = replace(
    GEMMA2,
    model_type="gemma3_text",
    causal_lm="Gemma3ForCausalLM",
    family="Gemma 3, text",
    attention_cap=None,
    takes=("sliding_window_pattern",),
    only={**_ONE_WAY, "attn_logit_softcapping": (None,)},
)
