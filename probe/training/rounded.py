"""Frozen weights in eight bits, for training adapters on a CPU.

A training with adapters spends nine tenths of its time on products with frozen weights. In eight bits those run at four
times the speed of single precision on a processor with VNNI (bfloat16 there is slower than single precision). If the
processor's int8 products overflow, they are computed in single precision, which is slower but right.

    y = W x        W ≈ diag(scale) · Q,      x ≈ its own scale · (q + r / 254),      so that Q q and Q r are of bytes

The weights are rounded once, to 127 steps per row. Activations and gradients are rounded at every call, token by token,
and to two bytes. They have a few large entries and many small ones, which one byte would round to 0, at every step the
same way: a bias, which an optimizer adds up over hundreds of steps, until the training turns and grows worse
(docs/real_twin.md has the figures).

The adapters are trained with rounded weights and used with exact ones: rounding is undone when training ends.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

STEPS = 127.0


def rounded(values: Tensor) -> tuple[Tensor, Tensor]:
    """Int8 values and one scale per row: values ≈ int8 · scale."""
    scale = values.abs().amax(-1, keepdim=True).clamp(min=1e-12) / STEPS
    return (values / scale).round().to(torch.int8), scale


def in_two_bytes(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two int8 values and one scale per row: values ≈ (coarse + fine / 254) · scale."""
    scale = values.abs().amax(-1, keepdim=True).clamp(min=1e-30) / STEPS
    coarse = (values / scale).round()
    fine = ((values / scale - coarse) * (2 * STEPS)).round()
    return coarse.to(torch.int8), fine.to(torch.int8), scale


def two_byte_product(values: Tensor, b: Tensor) -> Tensor:
    """The product of a matrix, in two bytes, with an int8 matrix."""
    coarse, fine, scale = in_two_bytes(values)
    both = byte_product(coarse, b).to(values.dtype) + byte_product(fine, b).to(values.dtype) / (2 * STEPS)
    return both * scale


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
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return (two_byte_product(x.flatten(0, -2), weight.t()) * scale).view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,), (weight, scale) = gradients, ctx.saved_tensors
        back = two_byte_product(gradient.flatten(0, -2) * scale, weight)
        return back.view(*gradient.shape[:-1], weight.shape[1]), None, None


class Rounded(nn.Module):
    """A linear layer in eight bits, with an exact bias."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight, scale = rounded(layer.weight.detach())
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("scale", scale[:, 0], persistent=False)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self.weight, self.scale)
        return y if self.bias is None else y + self.bias
