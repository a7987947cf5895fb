"""Attention whose pattern can be replaced between the softmax and the values.

No hook reaches that point, so while a pattern is edited the model uses an attention function of this project, entered
in transformers' own table of them. It computes the same as the eager one, for grouped queries too, and then applies the
edits of the current layer.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

NAME = "twinprobe"

Change = Callable[[Tensor], Tensor]

_changes: WeakKeyDictionary[nn.Module, list[Change]] = WeakKeyDictionary()


def add(attention: nn.Module, change: Change) -> Callable[[], None]:
    """Change a layer's pattern; the returned function removes the change."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    _changes.setdefault(attention, []).append(change)
    return lambda: _changes[attention].remove(change)


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
    """Attention as the eager functions of transformers compute it, with the layer's edits."""
    group = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(group, dim=1) for states in (key, value))
    pattern = pattern_of(query, query @ key.transpose(-1, -2), attention_mask, scaling, softcap)
    for change in tuple(_changes.get(module, ())):
        pattern = change(pattern)
    mixed = nn.functional.dropout(pattern, p=dropout, training=module.training) @ value
    return mixed.transpose(1, 2).contiguous(), pattern


def pattern_of(
    query: Tensor, products: Tensor, attention_mask: Tensor | None, scaling: float | None, softcap: float | None
) -> Tensor:
    """The softmax of query-key products, scaled, capped and masked as the eager functions of transformers do it."""
    scores = products * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
