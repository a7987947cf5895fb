"""Dials: any measure along the way from the AR model to its twin, and where on that way it changes.

Adaptation is a dial with snapshots on it (`zoo:masked@100`, `@250`, …), a block size is another. `along` asks the same
question at every place of a dial and puts the answers into one figure: the AR model at 0, the twin at each place.
Beside the AR model's value lies what another seed of the same recipe changes at the end (grey): inside that band a
change is no change. Where the whole change leaves it, one row more says at which place half of it was reached, by
straight line between places, with an interval from those of the estimates.

    steps = {100: "zoo:masked@100", 1000: "zoo:masked@1000", 4000: "zoo:masked"}
    dials.along(
        {step: probe.load_pair(name) for step, name in steps.items()},
        lambda pair: lens.depth(pair, batch),
        rows={"measure": "prediction depth", "lens": "logit"},
    ).figure()

Cost: the measure, once a place.
"""

from __future__ import annotations

from analyses.dials.half_way import HALF, TWIN, along

__all__ = ["HALF", "TWIN", "along"]
