"""Who may see whom: every attention pattern of this project as one explicit boolean matrix.

Diffusion twins differ from their AR models first of all in this matrix, and it is where public code goes wrong in
silence: a boolean mask handed to an eager attention path adds 0 and 1 instead of masking, a `config.is_causal` flag is
honoured by one backend and ignored by the next. So nothing here is a flag. `visible` spells the matrix out (queries ×
keys, True where attention is allowed), `additive` turns it into the float mask that every stock attention path adds to
its scores, and both refuse a token that would see nothing: its softmax would be uniform over what is forbidden.

Kinds, as the catalog writes them:

    causal        a token sees itself and what stands before it
    full          everything sees everything
    block:N       blocks of N tokens; full inside a block, causal between blocks
    masks_last    causal, as if all masked tokens had been moved behind the clean ones (WeDLM); clean tokens never see
                  a mask, whatever its place
"""

from __future__ import annotations

import torch
from torch import Tensor

from probe.errors import AttentionError
from probe.paradigms.canvas import places_of

KINDS = ("causal", "full", "block:N", "masks_last")
MOST_DIGITS = 9  # of N: more than any text is long
_FORBIDS = -1e4  # added to a score: its exponential is 0 in every float type


def block_size(kind: str) -> int | None:
    """N of "block:N", or None for every other kind."""
    name, colon, size = kind.partition(":")
    if name != "block" or not colon:
        return None
    if not size.isdecimal() or len(size) > MOST_DIGITS or int(size) < 1:
        raise AttentionError(
            f"attention {kind[:60]!r}",
            expected="block:N with N a whole number from 1 to 999,999,999",
            found=f"N = {size[:40]!r}",
            remedy="Write for example 'block:4'.",
        )
    return int(size)


def refuse_unknown(kind: object) -> None:
    """Refuse what is not an attention kind."""
    if not isinstance(kind, str) or (kind not in KINDS and block_size(kind) is None) or kind == "block:N":
        raise AttentionError(
            f"attention {kind!r}",
            expected="one of " + ", ".join(KINDS) + ", or a 4D additive float mask",
            found=repr(kind),
            remedy="Name one of these kinds.",
        )


def visible(kind: str, tokens: Tensor, *, mask_id: int | None = None, padding: Tensor | None = None) -> Tensor:
    """The boolean matrix (batch or 1, queries, keys) of an attention kind over `tokens` (batch, length)."""
    rank = order(kind, tokens, mask_id=mask_id, padding=padding)
    allowed = rank[:, None, :] <= rank[:, :, None]
    return allowed if padding is None else without_padding(allowed, padding)


def order(kind: str, tokens: Tensor, *, mask_id: int | None = None, padding: Tensor | None = None) -> Tensor:
    """What every kind is, an order: the rank (batch or 1, length) of each token, which sees the keys whose rank is not
    above its own."""
    refuse_unknown(kind)
    place = places_of(tokens, padding)  # so that padding moves no border between blocks
    size = block_size(kind)
    if kind == "causal":
        return place
    if kind == "full":
        return torch.zeros_like(place)
    return place // size if size is not None else _masks_last(tokens, place, mask_id)


def settled(kind: str, unchanged: Tensor, tokens: Tensor, mask_id: int | None = None) -> Tensor:
    """How many leading tokens (batch) have the keys and values that they had, when the first `unchanged` (batch) of
    them are the tokens that stood there before and anything may have been written behind those.

    Whole blocks of them; none at all under full attention, where each token sees all that is still to be written. A
    mask that comes last sees what is written behind it, too.
    """
    size = block_size(kind)
    if size is not None:
        return unchanged // size * size
    if kind == "full":
        return torch.zeros_like(unchanged)
    if kind == "masks_last":
        return unchanged.minimum(((tokens != mask_id).cumprod(1)).sum(1))
    return unchanged


def seen_by(kind: str, first: Tensor, length: int) -> Tensor:
    """How many leading tokens of `length` the `first` (batch) ones see."""
    size = block_size(kind)
    if size is not None:
        return (-(-first // size) * size).clamp(max=length)
    return first if kind == "causal" else torch.full_like(first, length)


def _masks_last(tokens: Tensor, place: Tensor, mask_id: int | None) -> Tensor:
    if mask_id is None:
        raise AttentionError(
            "attention 'masks_last'",
            expected="a model with a mask token",
            found="no mask id",
            remedy="Give the model its mask_id, or choose another attention.",
        )
    return place + tokens.shape[1] * (tokens == mask_id)


def refuse_misread_padding(padding: Tensor, tokens: Tensor) -> None:
    """Refuse padding that is not boolean: transformers' own attention_mask says the opposite, in whole numbers."""
    if padding.dtype != torch.bool or padding.shape != tokens.shape:
        raise AttentionError(
            "the padding",
            expected=f"booleans of the tokens' shape {tuple(tokens.shape)}, True on padded tokens",
            found=f"{padding.dtype}, shape {tuple(padding.shape)}",
            remedy="From a tokenizer's attention_mask it is `attention_mask == 0`.",
        )


def without_padding(allowed: Tensor, padding: Tensor) -> Tensor:
    """Hide padded keys (`padding` is True on them). A padded query keeps only itself, so that no row is empty."""
    itself = torch.eye(allowed.shape[-1], dtype=torch.bool, device=allowed.device)
    return torch.where(padding[:, :, None], itself, allowed & ~padding[:, None, :])


def annealed(allowed: Tensor, places: Tensor, open_rate: float, generator: torch.Generator) -> Tensor:
    """`allowed` on its way from causal: keys up to the query's place stay, those after it come in at `open_rate`."""
    causal = places[:, None, :] <= places[:, :, None]
    let_in = torch.rand(allowed.shape, generator=generator, device=allowed.device) < open_rate
    return allowed & (causal | let_in)


def additive(allowed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The 4D float mask (batch or 1, 1, queries, keys): 0 where allowed, the dtype's lowest value elsewhere."""
    if allowed.dtype != torch.bool:
        raise AttentionError(
            "the visibility matrix",
            expected="booleans, True where attention is allowed",
            found=str(allowed.dtype),
            remedy="Pass the matrix that probe.paradigms.visibility.visible returns.",
        )
    blind = ~allowed.any(dim=-1)
    if blind.any():
        where = tuple(blind.nonzero()[0].tolist())
        raise AttentionError(
            "the visibility matrix",
            expected="at least one visible token in every row",
            found=f"row {where} (example, query) sees nothing",
            remedy="Let every token see at least itself.",
        )
    lowest = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, lowest)[:, None]


def allowed_by(mask: Tensor, tokens: Tensor) -> Tensor:
    """The boolean matrix behind a 4D additive float mask that a user passed, refusing what would be misread."""
    if mask.dim() != 4:
        raise AttentionError(
            "the attention mask",
            expected="four axes: batch or 1, 1, queries, keys",
            found=f"shape {tuple(mask.shape)}",
            remedy="Use probe.paradigms.visibility.additive(allowed) to make one.",
        )
    if not mask.is_floating_point():
        raise AttentionError(
            "the attention mask",
            expected="an additive float mask (0 where allowed, a very negative number elsewhere)",
            found=f"{mask.dtype}; eager attention would add its 0s and 1s to the scores and mask nothing",
            remedy="Use probe.paradigms.visibility.additive(allowed) to make one.",
        )
    batch, length = tokens.shape
    if mask.shape[0] not in (1, batch) or mask.shape[1] != 1 or mask.shape[2:] != (length, length):
        raise AttentionError(
            "the attention mask",
            expected=f"shape ({batch} or 1, 1, {length}, {length}) for tokens of shape {tuple(tokens.shape)}",
            found=str(tuple(mask.shape)),
            remedy="Make the mask for these very tokens.",
        )
    forbidden = mask[:, 0] <= _FORBIDS
    between = ~forbidden & (mask[:, 0] != 0)
    if between.any():
        value = mask[:, 0][between][0].item()
        raise AttentionError(
            "the attention mask",
            expected=f"0 where attention is allowed and at most {_FORBIDS:g} (or -inf) where it is not",
            found=f"the value {value:g}",
            remedy="A bias on attention scores is not a mask; use an edit of the site 'pattern' instead.",
        )
    return ~forbidden
