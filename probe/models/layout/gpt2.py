"""GPT-2: learned positions, LayerNorm, q, k and v as three thirds of one projection."""

from __future__ import annotations

from probe.models.layout.description import Layout

GPT2 = Layout(
    model_type="gpt2",
    causal_lm="GPT2LMHeadModel",
    family="GPT-2",
    trunk="transformer",
    embed="transformer.wte",
    place_embed="transformer.wpe",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    unembed="lm_head",
    attention_norm="ln_1",
    attention="attn",
    query="attn.c_attn",
    key="attn.c_attn",
    value="attn.c_attn",
    output="attn.c_proj",
    mlp_norm="ln_2",
    mlp="mlp",
    mlp_up="mlp.c_fc",
    mlp_down="mlp.c_proj",
    obsolete=r"\.attn\.(masked_)?bias$",
)
