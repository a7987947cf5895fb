"""Writes: what a layer's heads and neurons each add to the residual stream.

A head's write is its mix of values z_h times its rows of the output projection. Where a norm stands behind the
projection (Gemma, OLMo 2), the stream gets γ ∘ (Σ_h z_h W_O[h]) · r, and r, one number a position, depends on all heads
at once. But it is one number: with the r of the pass at hand the write is a sum again,

    write of head h  =  (z_h · r) · W_O[h] γ            Σ_h write + what belongs to no head  =  attn_out

So a write stays narrow: `scaled` gives z · r, `weight` the projection with the norm's fixed part. Neurons and an MLP's
norm are just the same. Without such a norm r is 1 and W is the projection's own. It costs one more product with the
projection where there is a norm behind it, and nothing where there is none.

    heads = Writes.of_heads(model, layer)
    heads.scaled(z) @ heads.weight                       # all heads' writes together, at every position
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from probe.models.norms import Norm
from probe.models.weights import bias_of, inward

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True, eq=False)
class Writes:
    """A projection and the norm behind it."""

    projection: nn.Module
    norm: Norm

    @classmethod
    def of_heads(cls, model: Model, layer: int) -> Writes:
        return cls._of(model, layer, "output", "attention_post_norm")

    @classmethod
    def of_neurons(cls, model: Model, layer: int) -> Writes:
        return cls._of(model, layer, "mlp_down", "mlp_post_norm")

    @classmethod
    def _of(cls, model: Model, layer: int, projection: str, norm: str) -> Writes:
        layout, block = model.layout, model.blocks[layer]
        behind = None if getattr(layout, norm) is None else layout.of_block(block, norm)
        return cls(layout.of_block(block, projection), Norm.of(behind))

    @property
    def weight(self) -> Tensor:
        """(inner feature, feature)."""
        return self.norm.after(inward(self.projection))

    def scaled(self, narrow: Tensor) -> Tensor:
        """What the projection takes (…, inner feature), times r."""
        if not self.norm.present:
            return narrow
        return narrow * self.norm.scale(self.projection.forward(narrow))[..., None].to(narrow)

    def rest(self, narrow: Tensor) -> Tensor | None:
        """What is written that belongs to no head or neuron: the projection's bias and the norm's."""
        bias = bias_of(self.projection)
        if bias is None or not self.norm.present:
            return self.norm.offset if bias is None else bias
        scale = self.norm.scale(self.projection.forward(narrow))[..., None]
        written = self.norm.after(bias).to(scale) * scale
        return written if self.norm.offset is None else written + self.norm.offset
