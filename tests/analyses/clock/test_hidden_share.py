"""The clock where masks are counted by a planted head, where nothing can count them, and where it is moved."""

from __future__ import annotations

import pytest
import torch

from analyses import clock
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Masked
from tests.analyses.planted import MASK, WORDS, balance, batch_of, blank
from tests.probe.tiny import model_of

PLACES, COUNT, SURE = 12, WORDS + 1, WORDS + 2


def counting(attention: str, *, counts: bool = True) -> Model:
    """A head that looks everywhere alike and brings how many masks it saw; an MLP that is the surer the fewer."""
    backbone = blank(3, 1, 32, WORDS + 1, PLACES)
    with torch.no_grad():
        trunk = backbone.transformer
        trunk.wte.weight[:, : WORDS + 1] = torch.eye(WORDS + 1)
        if counts:
            trunk.h[0].attn.c_attn.weight[MASK, 64] = 1.0  # the first coordinate of the value
            trunk.h[0].attn.c_proj.weight[0, COUNT] = 1.0
        trunk.h[2].mlp.c_fc.weight[COUNT, 0] = -4.0
        trunk.h[2].mlp.c_fc.bias[0] = 4.0
        trunk.h[2].mlp.c_proj.weight[0, SURE] = 1.0
        backbone.lm_head.weight[0, SURE] = 1.0
        balance(backbone)
    return Model(backbone, Masked(mask_id=MASK, shift=False, attention=attention), name="counting")


def batch(n: int = 32):
    clean = torch.randint(0, WORDS, (n, PLACES), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % WORDS
    return batch_of(clean, corrupt, 6, (clean[:, 6] + 1) % WORDS)


def test_a_count_that_is_planted_reads_from_the_layer_that_makes_it():
    table = clock.read(counting("full"), batch()).table
    found = table[table["measure"] == clock.R2].set_index("layer")
    assert found.loc[-1, "estimate"] < 0.05  # every mask is embedded alike
    assert (found.loc[0:, "low"] > 0.95).all()
    assert (found["null"] < 0.1).all()


def test_where_nothing_counts_nothing_reads():
    table = clock.read(counting("full", counts=False), batch()).table
    assert (table[table["measure"] == clock.R2]["estimate"] < 0.05).all()
    gains = table[table["measure"] == clock.GAIN]
    assert not (gains["low"] > 0).any()


def test_a_causal_count_is_of_the_left_alone_and_so_reads_worse():
    full, causal = (
        clock.read(counting(how), batch()).table.set_index(["measure", "layer"]) for how in ("full", "causal")
    )
    assert causal.loc[(clock.R2, 1), "high"] < full.loc[(clock.R2, 1), "low"]


def test_moving_the_count_makes_it_less_sure_and_random_directions_do_not():
    """Fewer masks, surer: as if half more were hidden, the first word loses."""
    table = clock.move(counting("full"), batch(), layer=0).table.set_index(["of", "measure"])
    assert table.loc[("entropy (nats)", clock.BEYOND), "low"] > 0
    assert table.loc[("confidence", clock.BEYOND), "high"] < 0
    still = clock.move(counting("full", counts=False), batch(), layer=0).table
    assert still[still["measure"] == clock.CLOCK]["estimate"].abs().max() < 1e-6


def test_models_that_hide_nothing_and_few_examples_are_refused():
    with pytest.raises(ProbeError, match="writes from left to right"):
        clock.read(model_of("llama-gqa"), batch())
    with pytest.raises(ProbeError, match="at least 16 examples"):
        clock.read(counting("full"), batch(8))
