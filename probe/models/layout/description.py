"""The description of an architecture: where its parts are, and how they are combined.

A model here is an embedding, layers that each add attention's and an MLP's output to the residual stream, a final norm
and an unembedding. Architectures differ in the names of their modules, and in a few ways of combining them, each a
field of `Layout`:

    attention_norm, mlp_norm             a norm before a part reads the stream; None if there is none (OLMo 2)
    attention_post_norm, mlp_post_norm   a norm between a part's computation and the stream (Gemma)
    parallel                             the MLP has the same input as attention, without attention's output (GPT-NeoX)
    packed                               how one joint projection holds q, k and v: side by side, or head by head
    logit_cap, attention_cap             the settings that cap logits and attention scores (Gemma 2)
    embed_norm, head                     layers between the embedding and the stream, and between the final norm and the
                                         unembedding (ModernBERT)
    encoder                              a class whose own attention is full (ModernBERT)
    mlp_down                             None if there is no single down projection: a mixture of experts

The rest of Twinprobe uses *parts* by their function. `attention_write` and `mlp_write` are the modules whose output is
added to the stream, `attention_read` and `mlp_read` those that read it, and the output of `embed_write` is where the
stream begins, whatever modules an architecture has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Columns = slice | Tensor
"""Columns of a projection's output: a slice, or indices."""


@dataclass(frozen=True)
class Layout:
    """The names of one architecture's parts. Paths of layer parts are relative to the layer."""

    model_type: str  # as in config.json
    causal_lm: str  # the stock transformers class that carries the weights
    trunk: str  # everything but the unembedding
    embed: str
    layers: str
    final_norm: str
    unembed: str
    attention: str
    query: str
    key: str
    value: str
    output: str
    mlp: str
    mlp_up: str | None = None
    mlp_down: str | None = None
    mlp_gate: str | None = None
    attention_norm: str | None = None
    attention_post_norm: str | None = None
    mlp_norm: str | None = None
    mlp_post_norm: str | None = None
    experts: str | None = None  # in a mixture, the module that runs them
    embed_norm: str | None = None  # a norm of the embeddings, before the stream begins
    head: str | None = None  # layers between the final norm and the unembedding
    place_embed: str | None = None  # a learned position table; None if positions are rotary
    rotary: str | None = None
    packed: Literal["side by side", "by head"] = "side by side"  # where q, k and v are one projection
    joint_query_norm: bool = False  # q and k are normed over all heads together, not head by head
    encoder: bool = False  # whether the class, left to itself, sees both sides; it then takes no cache
    parallel: str | None = None  # the setting for attention and MLP in parallel
    logit_cap: str | None = None  # the setting that caps logits
    attention_cap: str | None = None  # the setting that caps attention scores, which SDPA does not support
    takes: tuple[str, ...] = ()  # settings that the class applies although its configuration does not declare them
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # values that a declared setting may have
    family: str = ""  # in words, for a list of families
    obsolete: str = r"$^"  # a pattern of keys in old checkpoints for values that the class now computes

    @property
    def fused(self) -> bool:
        """Whether q, k and v are one projection's output."""
        return self.query == self.key

    @property
    def by_head(self) -> bool:
        """Whether that projection holds each head's q, k and v together (GPT-NeoX)."""
        return self.fused and self.packed == "by head"

    @property
    def attention_read(self) -> str:
        """The module that reads the stream for attention."""
        return self.attention_norm or self.query

    @property
    def attention_write(self) -> str:
        """The module whose output attention adds to the stream."""
        return self.attention_post_norm or self.output

    @property
    def embed_write(self) -> str:
        """The module whose output is the embeddings' part in the stream."""
        return self.embed_norm or self.embed

    @property
    def mlp_read(self) -> str:
        return self.mlp_norm or self.mlp

    @property
    def mlp_write(self) -> str:
        return self.mlp_post_norm or self.mlp_down or self.mlp

    def part(self, backbone: nn.Module, name: str) -> nn.Module:
        """A part of the model itself: trunk, embed, embed_write, final_norm, head, unembed, place_embed, rotary."""
        return backbone.get_submodule(getattr(self, name))

    def blocks(self, backbone: nn.Module) -> list[nn.Module]:
        return list(backbone.get_submodule(self.layers).children())

    def of_block(self, block: nn.Module, name: str) -> nn.Module:
        """A part of one layer: attention_norm, attention, query, key, value, output, mlp_norm, mlp, mlp_write, …"""
        return block.get_submodule(getattr(self, name))

    def columns(self, n_heads: int, n_kv_heads: int, d_head: int) -> dict[str, Columns]:
        """The columns of queries ("q"), keys and values in their projections' outputs, head after head."""
        if not self.fused:
            return dict.fromkeys("qkv", slice(None))
        if self.packed == "by head":
            numbers = torch.arange(3 * n_heads * d_head).view(n_heads, 3, d_head)
            return {kind: numbers[:, turn].flatten() for turn, kind in enumerate("qkv")}
        queries, others = n_heads * d_head, n_kv_heads * d_head
        starts = {"q": (0, queries), "k": (queries, others), "v": (queries + others, others)}
        return {kind: slice(start, start + width) for kind, (start, width) in starts.items()}

    def runs_parallel(self, config: PretrainedConfig) -> bool:
        """Whether attention and MLP run in parallel in a model of this configuration."""
        return self.parallel is not None and bool(getattr(config, self.parallel))
