"""The clock: whether a model keeps how much is still masked, how well it reads, and what moving it does.

A model that writes in any order is not told how far along it is; it can see it, since masks are tokens. `read` asks
from which layer on the share that is hidden can be read off the slot that answers, by a ridge regression fitted to
other examples; of a flow, the time τ. Three things keep the answer honest. Shares that were shuffled give what a
regression finds in noise (dotted). The AR model's weights are shown the very same canvases under the twin's own
attention: a count of masks is easily seen by weights that were never taught to care. And what the reading tells of the
model's own uncertainty (the entropy of its answer) is held against *the share itself*: a gain says that the model's
clock is more than a count.

`move` pushes every masked slot along the clock, as if `by` more were hidden (the slope of the state on the share), and
says what that does to the answer's confidence and entropy, and to the order in which a text is written, beside random
directions as long.

    clock.read(pair, batch).figure()
    clock.move(pair, batch, layer=2)

Cost: one forward pass a share and model for `read`; for `move` as many more as it takes directions, and a decoding run
for each.
"""

from __future__ import annotations

from analyses.clock.hidden_share import BEYOND, CLOCK, GAIN, R2, move, read

__all__ = ["BEYOND", "CLOCK", "GAIN", "R2", "move", "read"]
