"""Sliding windows: layers in which a token sees only what stands near it.

A Qwen2 or Qwen3 may have layers that look no further back than some hundred places, and says so in its configuration
alone. The stock class applies the window where it makes the mask itself; handed an explicit mask, as it always is here,
it takes that mask for the whole truth and drops the window without a word. So a window is a part of visibility:

    a query at place i sees the key at place j where the attention allows it and, in a layer of window w, |i - j| < w

Under causal attention this is the stock class's own rule. Under any other attention (full, blocks, masks last, inserted
blocks, a mask of the user's own) it holds in both directions. Places count, not slots: what is inserted behind an
anchor is as near to the text as its position says. A kind of layer that is not known here is refused by its name.

    windows_of(config)              # (None, None, 16, 16): the upper two layers have one
    masks(canvas, windows, dtype)   # one additive mask, or one for each kind of layer, as the stock class asks for them

It costs one more mask where a text is longer than the window, and nothing anywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.errors import CheckpointError
from probe.paradigms import visibility
from probe.paradigms.canvas import Canvas

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Windows = tuple[int | None, ...]
"""Each layer's window, None where a layer sees all that its attention allows."""

FULL, SLIDING = "full_attention", "sliding_attention"  # transformers' words for the kinds of layers


def windows_of(config: PretrainedConfig) -> Windows:
    """The windows of a configuration's layers."""
    # What a class does not declare it does not apply, whatever stands in the file.
    width = getattr(config, "sliding_window", None) if hasattr(type(config), "sliding_window") else None
    if width is not None and width < 1:
        raise _refused("sliding_window", "a whole number of at least 1", repr(width))
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
        remedy="Attention of another kind would be computed wrong, so it is refused.",
    )


def allowed(canvas: Canvas, window: int | None) -> Tensor:
    """Who sees whom (batch or 1, queries, keys) in a layer with this window."""
    if window is None or _furthest(canvas) < window:
        return canvas.allowed
    distance = canvas.places[:, :, None] - _key_places(canvas)[:, None, :]
    return canvas.allowed & (distance.abs() < window)


def masks(canvas: Canvas, windows: Windows, dtype: torch.dtype = torch.float32) -> Tensor | dict[str, Tensor]:
    """The additive mask that a stock class is handed for a canvas, or one for each kind of layer where they differ."""
    different = set(windows)
    if all(window is None or _furthest(canvas) < window for window in different):
        return visibility.additive(canvas.allowed, dtype)
    by_kind = {
        FULL if window is None else SLIDING: visibility.additive(allowed(canvas, window), dtype) for window in different
    }
    return by_kind if len(by_kind) > 1 else by_kind[SLIDING]


def _key_places(canvas: Canvas) -> Tensor:
    """Where the keys stand: the canvas's own slots, or those of a cache that it is a part of."""
    return canvas.places if canvas.key_places is None else canvas.key_places


def _furthest(canvas: Canvas) -> int:
    """No two places are further apart."""
    return max(int(canvas.places.max()), int(_key_places(canvas).max()))
