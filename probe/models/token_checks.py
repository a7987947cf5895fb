"""Tokens that a model cannot take, each refused with a sentence before a forward pass fails or answers nonsense.

Token ids beyond the embedding, texts of unequal length, a text that contains the mask token, a place beyond learned
positions. A model calls these wherever tokens come in; each costs microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.errors import TokenError
from probe.models.settings import steady_length

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def refuse_odd_tokens(name: str, tokens: Any, vocabulary: int) -> None:
    """Refuse what is not a tensor (batch, length) of ids of the embedding."""
    if not isinstance(tokens, Tensor) or tokens.dim() != 2 or not _whole(tokens) or tokens.numel() == 0:
        found = f"{tokens.dtype}, shape {tuple(tokens.shape)}" if isinstance(tokens, Tensor) else type(tokens).__name__
        raise TokenError(
            f"tokens for model {name!r}",
            expected="a tensor of token ids, batch × length",
            found=found,
            remedy="Use model.encode(texts), or torch.tensor([ids]).",
        )
    low, high = (int(value) for value in tokens.aminmax())
    if low < 0 or high >= vocabulary:
        raise TokenError(
            f"tokens for model {name!r}",
            expected=f"ids from 0 to {vocabulary - 1}",
            found=f"the id {low if low < 0 else high}",
            remedy="Encode the text with this model's own tokenizer.",
        )


def _whole(tokens: Tensor) -> bool:
    return tokens.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)


def refuse_unequal_lengths(name: str, rows: list[list[int]]) -> None:
    """Refuse texts that are of several lengths in tokens."""
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise TokenError(
            f"texts for model {name!r}",
            expected="texts of one length in tokens",
            found=f"lengths {sorted(lengths)}",
            remedy="Encode them one by one, or choose words of equal length.",
        )


def refuse_mask(name: str, tokens: Tensor, mask: int, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Refuse text that contains the mask token: DiffuGPT and DiffuLLaMA use an ordinary word as mask."""
    if not (tokens == mask).any():
        return
    example, place = (int(index) for index in (tokens == mask).nonzero()[0])
    shown = "" if tokenizer is None else tokenizer.decode([mask])
    raise TokenError(
        f"text {example} for model {name!r}",
        expected=f"text without the mask token {mask} ({shown!r})",
        found=f"it is at position {place}",
        remedy="Leave out such texts: the model would take that word for a mask.",
    )


def refuse_unlearned_places(name: str, furthest: int, learned: int | None, config: PretrainedConfig) -> None:
    """Refuse places beyond a learned position table (GPT-2's), which inserted blocks can reach; and those from which
    rotary frequencies depend on a text's length."""
    if learned is None:
        _refuse_unsteady(name, furthest, config)
    elif furthest >= learned:
        raise TokenError(
            f"tokens for model {name!r}",
            expected=f"places from 0 to {learned - 1}, for which it has learned positions",
            found=f"place {furthest}",
            remedy="Shorten the text.",
        )


def _refuse_unsteady(name: str, furthest: int, config: PretrainedConfig) -> None:
    unsteady = steady_length(config)
    if unsteady is None or furthest < unsteady[1]:
        return
    kind, steady = unsteady
    raise TokenError(
        f"tokens for model {name!r}",
        expected=f"at most {steady} places, within which its rotary positions of type {kind!r} are fixed",
        found=f"place {furthest}",
        remedy="Shorten the text: beyond that, logits depend on the model's earlier inputs.",
    )
