"""Writes: the output of each of a layer's heads and neurons to the residual stream.

A head's write is its weighted sum of values z_h times its rows of the output projection. If a norm follows the
projection (Gemma, OLMo 2), the stream gets γ ∘ (Σ_h z_h W_O[h]) · r, and r, one number per position, depends on all
heads together. With r of the current pass held fixed the output is a sum again,

    write of head h  =  (z_h · r) · W_O[h] γ            Σ_h write + biases  =  attn_out

So a write keeps a compact form: `scaled` gives z · r, `weight` the projection with the norm's fixed part. Neurons and
an MLP's norm work in the same way. Without such a norm r is 1 and W is the projection's own. The cost is one more
product with the projection if a norm follows it.

    heads = Writes.of_heads(model, layer)
    heads.scaled(z) @ heads.weight                       # the sum of all heads' writes, at every position
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
    """A projection and the norm after it."""

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
        """The projection's input (…, inner feature), times r."""
        if not self.norm.present:
            return narrow
        return narrow * self.norm.scale(self.projection.forward(narrow))[..., None].to(narrow)

    def rest(self, narrow: Tensor) -> Tensor | None:
        """The output that belongs to no head or neuron: the biases of the projection and the norm."""
        bias = bias_of(self.projection)
        if bias is None or not self.norm.present:
            return self.norm.offset if bias is None else bias
        scale = self.norm.scale(self.projection.forward(narrow))[..., None]
        written = self.norm.after(bias).to(scale) * scale
        return written if self.norm.offset is None else written + self.norm.offset
