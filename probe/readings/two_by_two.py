"""The 2×2: the weights of both twins under the causal mask and under the diffusion twin's own.

Differences between columns are due to the mask, between rows to the weights. All four cells use the same view: if the
states come from a decoding run, it is the diffusion twin's.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from probe.batch import Batch
from probe.pairs import Pair
from probe.readings.reading import Reading, View
from probe.readings.registry import named


def two_by_two(
    pair: Pair, batch: Batch, reading: str | Reading = "prefix", which: str = "clean", *, view: View | None = None
) -> dict[tuple[str, str], Tensor]:
    """The answers' logits by (weights, attention): {"ar", "diffusion"} × {"causal", "native"}."""
    reading = named(reading)
    view = view or reading.view(pair.diffusion, batch)
    native = pair.diffusion.paradigm.attention
    return {
        (weights, mask): replace(reading, attention=attention).logits(model, batch, which, view=view)
        for weights, model in (("ar", pair.ar), ("diffusion", pair.diffusion))
        for mask, attention in (("causal", "causal"), ("native", native))
    }
