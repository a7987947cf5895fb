"""GPT-NeoX (Pythia): attention and MLP in parallel, q, k and v head by head in one projection, partial rotary
positions.

`use_parallel_residual: false`, which a few Pythias have, is a setting of the same class.
"""

from __future__ import annotations

from probe.models.layout.description import Layout

GPT_NEOX = Layout(
    model_type="gpt_neox",
    causal_lm="GPTNeoXForCausalLM",
    family="Pythia, GPT-NeoX",
    trunk="gpt_neox",
    embed="gpt_neox.embed_in",
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    unembed="lm_head",
    rotary="gpt_neox.rotary_emb",
    attention_norm="input_layernorm",
    attention="attention",
    query="attention.query_key_value",
    key="attention.query_key_value",
    value="attention.query_key_value",
    packed="by head",
    output="attention.dense",
    mlp_norm="post_attention_layernorm",
    mlp="mlp",
    mlp_up="mlp.dense_h_to_4h",
    mlp_down="mlp.dense_4h_to_h",
    parallel="use_parallel_residual",
    takes=("rotary_pct", "partial_rotary_factor"),
    obsolete=r"\.attention\.((masked_)?bias|rotary_emb\.inv_freq)$",
)
