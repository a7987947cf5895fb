"""Dials: any measure along a scale from the AR model to its twin, and the point at which it changes.

The training step of an adaptation with snapshots (`zoo:masked@100`, `@250`, …) is a dial, a block size is another.
`along` computes the same measure at every point of a dial and draws one figure: the AR model at 0, the twin at each
point. The grey band around the AR model's value is the change between seeds at the end: a change inside it may be
chance. If the whole change leaves the band, one more row gives the point at which half of it was reached, interpolated
linearly, with an interval from those of the estimates.

    steps = {100: "zoo:masked@100", 1000: "zoo:masked@1000", 4000: "zoo:masked"}
    dials.along(
        {step: probe.load_pair(name) for step, name in steps.items()},
        lambda pair: lens.depth(pair, batch),
        rows={"measure": "prediction depth", "lens": "logit"},
    ).figure()

Cost: the measure, once per point.
"""

from __future__ import annotations

from analyses.dials.half_way import HALF, TWIN, along

__all__ = ["HALF", "TWIN", "along"]
