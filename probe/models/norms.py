"""Norms, as needed to decompose a sum or to pull a gradient back through them.

A norm maps x to y = γ ∘ P x · r + β, where r is one number per position and P subtracts the mean (LayerNorm) or does
nothing (RMSNorm). With r held fixed it is linear, so it maps a sum to a sum. Pulled back, a gradient g at y becomes

    r · P (γ ∘ g) - r² · (Px) · ⟨r Px, γ ∘ g⟩ / d

The first term is linear in g with fixed weights. The second depends on g only through its product with the norm's
output.

γ is found by calling the RMSNorm, since LLaMA's multiplies by its weight, Gemma's by 1 plus its weight, and other
classes may differ: x = 1 gives γ up to r, which is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from probe.errors import ProbeError
from probe.models.weights import bias_of, device_of, weight_of


@dataclass(frozen=True, eq=False)
class Norm:
    """γ, β, and how to compute r. An absent norm (Identity) has r = 1 and no second term."""

    gain: Tensor | None
    offset: Tensor | None
    epsilon: float
    centred: bool
    present: bool = True

    @classmethod
    def of(cls, module: nn.Module | None) -> Norm:
        if module is None or isinstance(module, nn.Identity):
            return cls(None, None, 0.0, centred=False, present=False)
        if isinstance(module, nn.LayerNorm):
            return cls(weight_of(module), bias_of(module), module.eps, centred=True)
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if "RMSNorm" not in type(module).__name__ or epsilon is None:
            raise ProbeError(
                f"the norm {type(module).__name__}",
                expected="a LayerNorm, an RMSNorm or an Identity, whose gradient is known in closed form",
                found=type(module).__name__,
                remedy="Add its gradient to probe/models/norms.py.",
            )
        return cls(_gain(module, float(epsilon)), None, float(epsilon), centred=False)

    def scale(self, x: Tensor) -> Tensor:
        """r of each position, in float32."""
        x = x.float()
        if not self.present:
            return x.new_ones(x.shape[:-1])
        spread = x.var(-1, correction=0) if self.centred else x.square().mean(-1)
        return torch.rsqrt(spread + self.epsilon)

    def centre_(self, found: Tensor, *, dim: int) -> Tensor:
        """P along an axis, in place."""
        return found.sub_(found.mean(dim, keepdim=True)) if self.centred else found

    def after(self, weight: Tensor) -> Tensor:
        """A projection's weight (…, feature) combined with the norm after it, without r: W P γ."""
        if not self.present:
            return weight
        weight = self.centre_(weight.clone(), dim=-1)
        return weight if self.gain is None else weight * self.gain.to(weight)


@torch.no_grad()
def _gain(module: nn.Module, epsilon: float) -> Tensor:
    width = weight_of(module).shape[-1]
    ones = torch.ones(1, width, device=device_of(module))
    return module.forward(ones)[0] * (1 + epsilon) ** 0.5
