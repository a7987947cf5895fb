"""Frozen weights in eight bits, for training adapters on a CPU.

A training with adapters spends nine tenths of its time on products with frozen weights. In eight bits those run at four
times the speed of single precision on a processor with VNNI (bfloat16 there is slower than single precision); if the
processor's int8 products overflow, they are computed in single precision, which is slower but right. The cost is noise:
the weights are rounded once, to 127 steps per row; activations are rounded at every call, token by token.

    y = W x        W ≈ diag(scale) · Q · diag(1/ease),  x·ease ≈ its own scale · q,  so that Q q is a product of bytes

Some channels of a layer's input are many times larger than the rest, and rounding would erase the others; `ease` scales
them down in x and up in W (SmoothQuant, arXiv 2211.10438). It is measured on a little text. With it a base of 135
million parameters loses 0.01 nats on text, without it 0.03. Gradients use the same int8 weights.

The adapters are trained with rounded weights and used with exact ones: rounding is undone when training ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 127.0
LOUDNESS = 0.65  # the exponent: how much of a channel's size is moved from x to W


def rounded(values: Tensor) -> tuple[Tensor, Tensor]:
    """Int8 values and one scale per row: values ≈ int8 · scale."""
    scale = values.abs().amax(-1, keepdim=True).clamp(min=1e-12) / STEPS
    return (values / scale).round().to(torch.int8), scale


def byte_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of two int8 matrices, in integers; in single precision if int8 products overflow."""
    return _int_mm(a, b) if BYTES_HOLD else a.float() @ b.float()


def _int_mm(a: Tensor, b: Tensor) -> Tensor:
    return torch._int_mm(a, b)  # type: ignore[reportPrivateImportUsage]  # torch has no public name for it yet


def _bytes_hold() -> bool:
    """Whether this processor adds int8 products without overflow. One without VNNI adds two of them in sixteen bits
    first, where two of the largest silently overflow."""
    loud = torch.full((32, 64), int(STEPS), dtype=torch.int8)
    return bool((_int_mm(loud, loud.t()) == 64 * STEPS**2).all())


BYTES_HOLD = _bytes_hold()  # checked once: compiled code treats it as a constant


class _Product(torch.autograd.Function):
    """x ↦ x Wᵀ with W in int8; only x has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, ease: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale, ease)
        flat, own = rounded(x.flatten(0, -2) * ease)
        y = byte_product(flat, weight.t()).to(x.dtype) * own * scale
        return y.view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,), (weight, scale, ease) = gradients, ctx.saved_tensors
        flat, own = rounded(gradient.flatten(0, -2) * scale)
        back = byte_product(flat, weight).to(gradient.dtype) * own * ease
        return back.view(*gradient.shape[:-1], weight.shape[1]), None, None, None


class Rounded(nn.Module):
    """A linear layer in eight bits, with an exact bias."""

    weight: Tensor
    scale: Tensor
    ease: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, loudest: Tensor):
        super().__init__()
        w = layer.weight.detach()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        quiet = loudest.clamp(min=1e-5) ** LOUDNESS / w.abs().amax(0).clamp(min=1e-5) ** (1 - LOUDNESS)
        bytes_, scale = rounded(w * quiet)
        self.register_buffer("weight", bytes_, persistent=False)
        self.register_buffer("scale", scale[:, 0], persistent=False)
        self.register_buffer("ease", 1 / quiet, persistent=False)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self.weight, self.scale, self.ease)
        return y if self.bias is None else y + self.bias


@contextmanager
def channel_ranges(layers: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The largest value of each input channel of some layers, by their names, inside the context."""
    loudest: dict[str, Tensor] = {}

    def entered(name: str, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        here = inputs[0].detach().abs().flatten(0, -2).amax(0)
        loudest[name] = here.maximum(loudest.get(name, here))

    hooks = [layer.register_forward_pre_hook(partial(entered, name)) for name, layer in layers.items()]
    try:
        yield loudest
    finally:
        for hook in hooks:
            hook.remove()
