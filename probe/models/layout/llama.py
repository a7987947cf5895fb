"""LLaMA, and the architectures with the same parts and names: Mistral, Qwen2, Qwen3, SmolLM3.

They differ inside their parts (biases, norms of queries and keys, windows, layers without positions in SmolLM3), which
the stock class handles; a layout only says where the parts are.
"""

from __future__ import annotations

from dataclasses import replace

from probe.models.layout.description import Layout

LLAMA = Layout(
    model_type="llama",
    causal_lm="LlamaForCausalLM",
    family="LLaMA",
    trunk="model",
    embed="model.embed_tokens",
    layers="model.layers",
    final_norm="model.norm",
    unembed="lm_head",
    rotary="model.rotary_emb",
    obsolete=r"\.rotary_emb\.inv_freq$",
    attention_norm="input_layernorm",
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp="mlp",
    mlp_up="mlp.up_proj",
    mlp_gate="mlp.gate_proj",
    mlp_down="mlp.down_proj",
)
MISTRAL = replace(LLAMA, model_type="mistral", causal_lm="MistralForCausalLM", family="Mistral")
QWEN2 = replace(LLAMA, model_type="qwen2", causal_lm="Qwen2ForCausalLM", family="Qwen2 and 2.5")
QWEN3 = replace(LLAMA, model_type="qwen3", causal_lm="Qwen3ForCausalLM", family="Qwen3")
SMOLLM3 = replace(LLAMA, model_type="smollm3", causal_lm="SmolLM3ForCausalLM", family="SmolLM3")
