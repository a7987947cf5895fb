"""Lenses: what the residual stream, or one component's output, predicts before the last layer.

    lens.logit_lens(pair, batch)                    beliefs after each layer: KL, entropy, rank of the target
    lens.train(model, batches) -> TunedLens         one affine map per layer, so that models can be compared
    lens.tuned_lens(pair, batch, {"ar": …, …})      the same through both lenses
    lens.jacobian(pair, batch)                      through the mean Jacobian of later layers; from which side it comes
    lens.depth(pair, batch, tuned)                  prediction depth, KL-half-depth, and their differences
    lens.component_lens(pair, batch)                what each head and MLP predicts by itself
    lens.direct(pair, batch)                        what each adds to the margin: direct logit attribution
    lens.grid(pair, batch, example=0)               one example: layer × slot, both twins side by side

All but `grid` look only at the answer's slot, under a reading; `states=` shares one forward pass among them.
"""

from __future__ import annotations

from analyses.lens.attribution import direct
from analyses.lens.components import component_lens
from analyses.lens.curves import Curves, curves
from analyses.lens.grid import Beside, before_and_after, grid
from analyses.lens.jacobian import jacobian
from analyses.lens.results import beliefs, depth, logit_lens, tuned_lens
from analyses.lens.training import train
from analyses.lens.tuned import TunedLens

__all__ = [
    "Beside",
    "Curves",
    "TunedLens",
    "before_and_after",
    "beliefs",
    "component_lens",
    "curves",
    "depth",
    "direct",
    "grid",
    "jacobian",
    "logit_lens",
    "train",
    "tuned_lens",
]
