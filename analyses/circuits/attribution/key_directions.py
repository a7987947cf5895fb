"""Key directions: keys and values split by whether the query that reads them is before their position or not.

Under full attention one key serves both kinds of query, and a gradient at the key does not say which of them it comes
from. So inside `parted` every layer has its keys and values twice. A query before a key's position sees one copy, all
other queries see the other. The attention is the same, but each copy has its own gradient and can be patched by itself.

Where keys have a projection of their own, the copies are made at its output, one behind the other, as if the layer had
twice as many key-value heads: norms and rotary positions then go over both. GPT-2, which has neither, has one
projection for all three; there the copies are made within the attention function. GPT-NeoX's joint projection has its
heads one after the other, and is had twice as a whole. Keys that are turned after a joint projection of another kind
(Phi-3), or normed over all heads together (OLMo 2), can be had twice in neither place: such a model is refused by name.

Autograd would keep three patterns a layer for the gradient (at 28 layers × 28 heads, 512 tokens: 2.5 GB a row). They
are made again instead when the gradient arrives, one layer at a time, so that a row takes what it takes without
directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from probe.errors import ProbeError
from probe.models.scope import ContextValue
from probe.tracing.pattern_editing import pattern_of

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.paradigms.canvas import Canvas

NAME = "twinprobe-directions"

Copies = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Sides:
    """One layer's part in it. `split` makes two copies of GPT-2's keys and values, which arrive as one."""

    from_right: Tensor  # (rows or 1, 1, query, key), whether the query is before the key's position
    split: Callable[[Tensor, Tensor], tuple[Copies, Copies]] | None
    queries: int  # heads; if a joint projection is doubled, so are its queries, and the second ones are dropped

    def of(self, key: Tensor, value: Tensor) -> tuple[Copies, Copies]:
        if self.split is not None:
            return self.split(key, value)
        keys, values = key.chunk(2, dim=1), value.chunk(2, dim=1)
        return (keys[0], keys[1]), (values[0], values[1])


_layers: ContextValue[Mapping[nn.Module, Sides] | None] = ContextValue(None)
"""Each layer's part, for the current thread: other threads' passes use the model's own attention."""


@contextmanager
def parted(model: Model, canvas: Canvas, copies: int = 1) -> Iterator[list[Sides]]:
    """Split keys and values in every layer, for runs on (copies of) a canvas inside the context."""
    from transformers import AttentionInterface

    _refuse_edited(model)
    _refuse_inseparable(model)
    AttentionInterface.register(NAME, attend)
    places = canvas.places.to(model.device)
    from_right = (places[:, None, None, :] > places[:, None, :, None]).repeat(copies if len(places) > 1 else 1, 1, 1, 1)
    split = _aliases if model.layout.fused and not model.layout.by_head else None
    attentions = [model.layout.of_block(block, "attention") for block in model.blocks]
    layers = {attention: Sides(from_right, split, model.n_heads) for attention in attentions}
    _layers.set({**(_layers.get() or {}), **layers})
    model.attention_override = NAME
    try:
        yield [layers[attention] for attention in attentions]
    finally:
        model.attention_override = None
        others = {attention: sides for attention, sides in (_layers.get() or {}).items() if attention not in layers}
        _layers.set(others or None)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Attention as transformers computes it, from keys and values in two copies. No pattern is kept for gradients."""
    sides = (_layers.get() or {})[module]
    (key, key_right), (value, value_right) = sides.of(key, value)
    query = query[:, : sides.queries]
    given = (query, key, key_right, value, value_right)
    mix = partial(_mixed, sides.from_right, attention_mask, scaling, softcap)
    if not torch.is_grad_enabled() or not any(one.requires_grad for one in given):
        return mix(*given)
    return checkpoint(mix, *given, use_reentrant=False, preserve_rng_state=False)


def _mixed(
    at: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None,
    softcap: float | None,
    query: Tensor,
    key: Tensor,
    key_right: Tensor,
    value: Tensor,
    value_right: Tensor,
) -> tuple[Tensor, Tensor]:
    """What is attended to (rows, query, head, feature), and the pattern."""
    group = query.shape[1] // key.shape[1]
    key, key_right, value, value_right = (
        one.repeat_interleave(group, dim=1) for one in (key, key_right, value, value_right)
    )
    products = torch.where(at, query @ key_right.transpose(-1, -2), query @ key.transpose(-1, -2))
    pattern = pattern_of(query, products, attention_mask, scaling, softcap)
    mixed = pattern.masked_fill(at, 0) @ value + pattern.masked_fill(~at, 0) @ value_right
    return mixed.transpose(1, 2).contiguous(), pattern


def _aliases(key: Tensor, value: Tensor) -> tuple[Copies, Copies]:
    return (key, key), (value, value)


def _refuse_edited(model: Model) -> None:
    if model.attention_override is not None:
        raise ProbeError(
            f"attribution of {model.name!r} with directions",
            expected="a model whose attention patterns are not edited at the same time",
            found=f"the attention function {model.attention_override!r} in use",
            remedy="Leave the edit's context first, or attribute with directions=False.",
        )


def inseparable(model: Model) -> str | None:
    """Why a model's keys cannot be split by direction; None if they can."""
    layout = model.layout
    if layout.fused and not layout.by_head and layout.rotary is not None:
        return "rotary keys from one projection with queries and values"
    return "keys with one norm over all heads" if layout.joint_query_norm else None


def _refuse_inseparable(model: Model) -> None:
    reason = inseparable(model)
    if reason is not None:
        raise ProbeError(
            f"attribution of {model.name!r} ({model.layout.model_type}) with directions",
            expected="keys that can be doubled by head before norm and rotary positions",
            found=reason,
            remedy="Attribute with directions=False.",
        )
