"""The 2×2: the weights of both twins under the causal mask and under the diffusion twin's own.

What changes between the columns is the mask's doing, between the rows the weights'.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from probe.pairs import Pair
from probe.readings.reading import Reading
from probe.readings.still import Prefix
from probe.tasks.batch import Batch


def two_by_two(
    pair: Pair, batch: Batch, reading: Reading | None = None, which: str = "clean"
) -> dict[tuple[str, str], Tensor]:
    """The answers' logits by (weights, attention): {"ar", "diffusion"} × {"causal", "native"}."""
    reading = reading or Prefix()
    native = pair.diffusion.paradigm.attention
    return {
        (weights, mask): replace(reading, attention=attention).logits(model, batch, which)
        for weights, model in (("ar", pair.ar), ("diffusion", pair.diffusion))
        for mask, attention in (("causal", "causal"), ("native", native))
    }
