"""ModernBERT: an encoder with a decoder's residual stream, and a prediction head before its unembedding.

Its norms are before attention and MLP, as in a decoder (the first layer has none, as the embeddings are normalised),
unlike BERT's, which are applied to the stream itself. So its stream is a sum. Two layers of every three have a window
that reaches to both sides. Its logits are those of the head's output, which is not linear in the stream: lenses go
through the head, and direct attribution to the logits is refused.
"""

from __future__ import annotations

from probe.models.layout.description import Layout

MODERNBERT = Layout(
    model_type="modernbert",
    causal_lm="ModernBertForMaskedLM",
    family="ModernBERT",
    trunk="model",
    embed="model.embeddings.tok_embeddings",
    embed_norm="model.embeddings.norm",
    layers="model.layers",
    final_norm="model.final_norm",
    head="head",
    unembed="decoder",
    rotary="model.rotary_emb",
    encoder=True,
    attention_norm="attn_norm",
    attention="attn",
    query="attn.Wqkv",
    key="attn.Wqkv",
    value="attn.Wqkv",
    output="attn.Wo",
    mlp_norm="mlp_norm",
    mlp="mlp",
    mlp_up="mlp.Wi",
    mlp_gate="mlp.Wi",
    mlp_down="mlp.Wo",
)
