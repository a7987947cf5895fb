"""The facts of a model in words: its heads, windows and mask, as notebooks and the app show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.models.windows import Windows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def heads_in_words(heads: int, kv_heads: int) -> str:
    return f"{heads} heads" + (f" ({kv_heads} for keys and values)" if kv_heads != heads else "")


def windows_in_words(windows: Windows) -> str:
    """Which layers have a sliding window, and how wide it is."""
    narrow = [str(layer) for layer, window in enumerate(windows) if window is not None]
    width = next(window for window in windows if window is not None)
    which = "every layer" if len(narrow) == len(windows) else f"layers {', '.join(narrow)}"
    return f"{which}: a token sees those nearer than {width} positions"


def mask_in_words(mask: int | None, tokenizer: PreTrainedTokenizerBase | None) -> str:
    if mask is None:
        return "no mask"
    return f"mask {mask}" + ("" if tokenizer is None else f" ({tokenizer.convert_ids_to_tokens(mask)})")
