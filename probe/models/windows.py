"""Sliding windows: layers in which a token sees only nearby tokens.

A Qwen2 or Qwen3 may have layers that see only some hundred positions back, declared only in its configuration. The
stock class applies the window if it makes the mask itself; with an explicit mask, as always here, it silently drops the
window. So a window is a part of visibility:

    a query at place i sees the key at place j if the attention allows it and, in a layer of window w, |i - j| < w

Under causal attention this is the stock class's own rule. Under any other attention (full, blocks, masks last, inserted
blocks, a mask of the user's own) it holds in both directions. Places count, not slots: tokens inserted after an anchor
have the distance of their position ids. An encoder's window (ModernBERT's) includes the place at its very distance, so
its w is one more than its `sliding_window`. An unknown kind of layer is refused by name.

    windows_of(config)              # (None, None, 16, 16): the last two layers have one
    masks(canvas, windows, dtype)   # one additive mask, or one for each kind of layer, as the stock class expects them

The cost is one more mask if a text is longer than the window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.errors import CheckpointError
from probe.models.layout import layout_of
from probe.paradigms import visibility
from probe.paradigms.canvas import Canvas

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Windows = tuple[int | None, ...]
"""Each layer's window, None for a layer without one."""

FULL, SLIDING = "full_attention", "sliding_attention"  # transformers' names for the kinds of layers


def windows_of(config: PretrainedConfig) -> Windows:
    """The windows of a configuration's layers."""
    # A class does not apply what it does not declare, whatever the file says.
    width = getattr(config, "sliding_window", None) if hasattr(type(config), "sliding_window") else None
    if width is not None and width < 1:
        raise _refused("sliding_window", "a whole number of at least 1", repr(width))
    if width is not None and layout_of(config).encoder:
        width += 1
    kinds = getattr(config, "layer_types", None) if hasattr(type(config), "layer_types") else None
    if kinds is None:
        return (width,) * config.num_hidden_layers
    unknown = sorted(set(kinds) - {FULL, SLIDING})
    if unknown:
        raise _refused("layer_types", f"layers of the kinds {FULL} and {SLIDING}", ", ".join(unknown))
    if width is None and SLIDING in kinds:
        raise _refused("sliding_window", f"the width of the {SLIDING} layers in its layer_types", "none")
    return tuple(width if kind == SLIDING else None for kind in kinds)


def _refused(name: str, expected: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"config field {name!r}",
        expected=expected,
        found=found,
        remedy="Attention of another kind would be computed wrongly, so it is refused.",
    )


def allowed(canvas: Canvas, window: int | None) -> Tensor:
    """Visibility (batch or 1, queries, keys) in a layer with this window."""
    if window is None or _furthest(canvas) < window:
        return canvas.allowed
    distance = canvas.places[:, :, None] - _key_places(canvas)[:, None, :]
    return canvas.allowed & (distance.abs() < window)


def masks(canvas: Canvas, windows: Windows, dtype: torch.dtype = torch.float32) -> Tensor | dict[str, Tensor]:
    """The additive mask of a canvas for a stock class, or one for each kind of layer if they differ."""
    different = set(windows)
    if all(window is None or _furthest(canvas) < window for window in different):
        return visibility.additive(canvas.allowed, dtype)
    by_kind = {
        FULL if window is None else SLIDING: visibility.additive(allowed(canvas, window), dtype) for window in different
    }
    return by_kind if len(by_kind) > 1 else by_kind[SLIDING]


def _key_places(canvas: Canvas) -> Tensor:
    """The keys' places: those of the canvas's own slots, or of the whole cache."""
    return canvas.places if canvas.key_places is None else canvas.key_places


def _furthest(canvas: Canvas) -> int:
    """The largest distance between two places."""
    return max(int(canvas.places.max()), int(_key_places(canvas).max()))
