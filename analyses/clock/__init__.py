"""The clock: whether a model's states encode how much is still masked, how well, and the effect of shifting it.

A model that writes in any order gets no time as input, but it can count masks. `read` measures how well each layer's
state at the answer's slot predicts the share of hidden tokens (in a flow, the time τ), by a ridge regression fitted to
other examples. Three baselines make the result meaningful. Shuffled shares show what a regression finds in noise
(dotted). The AR model's weights get the same input under the twin's own attention: weights that were never trained on
masks can count them, too. And the prediction of the model's uncertainty (the entropy of its answer) is compared with
that from *the share itself*: a gain means that the model's clock is more than a count.

`move` shifts every masked slot along the clock, as if `by` more were hidden (the slope of the state on the share), and
measures the change in the answer's confidence and entropy, and in the order of writing, compared with random directions
of the same length.

    clock.read(pair, batch).figure()
    clock.move(pair, batch, layer=2)

Cost: one forward pass per share and model for `read`; for `move` as many more per direction, and a decoding run for
each.
"""

from __future__ import annotations

from analyses.clock.hidden_share import BEYOND, CLOCK, GAIN, R2, move, read

__all__ = ["BEYOND", "CLOCK", "GAIN", "R2", "move", "read"]
