"""A state makes another run write what the model keeps in it and uses, and nothing else."""

from __future__ import annotations

import pytest
import torch

from analyses import lookahead
from analyses.lookahead.patchscope import BY_CHANCE, GAIN, PATCHED, hosts_of
from probe.errors import ProbeError
from probe.pairs import Pair
from tests.analyses.lookahead.masked_run import masked_run
from tests.analyses.planted import relay, two_tokens


def gains(planted) -> dict[tuple[int, int], tuple[float, float]]:
    """Of each distance and layer: the estimate, and the lower end of its interval."""
    table = lookahead.patchscope(planted.model, planted.batch, ahead=[0, 1]).table
    rows = table[table["measure"] == GAIN]
    return {
        (int(ahead), int(layer)): (estimate, low)
        for ahead, layer, estimate, low in zip(rows["ahead"], rows["layer"], rows["estimate"], rows["low"], strict=True)
    }


def test_the_next_token_is_carried_from_the_layer_that_finds_it():
    found = gains(two_tokens(plans=True))
    assert abs(found[0, 0][0]) < 0.05  # the input of layer 0 is the word alone
    assert found[0, 1][1] > 0.5


def test_a_plan_that_the_model_writes_from_is_carried():
    found = gains(two_tokens(plans=True, uses=True))
    assert found[1, 1][1] > 0.5
    assert abs(found[1, 0][0]) < 0.05
    assert abs(found[1, 2][0]) < 0.05  # layer 1 has read the host's own plan by then


def test_a_plan_that_nothing_reads_is_not():
    """A probe reads it off (`test_probes`), and the model makes nothing of it."""
    found = gains(two_tokens(plans=True))
    assert max(low for (ahead, _), (_, low) in found.items() if ahead == 1) <= 0


def test_the_planted_models_write_what_they_were_built_to():
    planted = two_tokens(plans=True, uses=True)
    table = lookahead.patchscope(planted.model, planted.batch, ahead=[1]).table.set_index(["measure", "layer"])
    truth = planted.batch.clean[:, 5]
    same = (truth == truth[hosts_of(len(truth), 0)]).float().mean().item()
    assert table.loc[(BY_CHANCE, 0), "estimate"] == pytest.approx(same)
    assert table.loc[(PATCHED, 1), "estimate"] > 0.9


def test_twins_are_compared_on_the_same_examples():
    used, idle = two_tokens(plans=True, uses=True), two_tokens(plans=True)
    table = lookahead.patchscope(Pair(used.model, idle.model, name="one uses it"), used.batch, ahead=[1]).table
    row = table[(table["role"] == "diffusion − ar") & (table["layer"] == 1) & (table["measure"] == GAIN)].iloc[0]
    assert row["high"] < 0
    assert row["p"] < 0.05


def test_a_masked_slot_is_patched_until_its_own_token_is_written():
    """Of a model without shift: the state at the slot that is written itself, whose input of layer 0 is a mask in
    source and host alike, so that nothing is carried."""
    model, batch = masked_run()
    table = lookahead.patchscope(model, batch, ahead=[0, 1], layers=[0]).table
    assert table[table["measure"] == GAIN]["estimate"].abs().max() == 0


def test_no_source_is_its_own_host():
    for count in (2, 3, 17, 100):
        hosts = hosts_of(count, seed=1)
        assert sorted(hosts.tolist()) == list(range(count))
        assert not (hosts == torch.arange(count)).any()


@pytest.mark.parametrize("ahead", [[], [-1], [2]])
def test_distances_that_the_task_does_not_have_are_refused(ahead):
    planted = two_tokens(plans=False)
    with pytest.raises(ProbeError, match="distances from 0 to 1"):
        lookahead.patchscope(planted.model, planted.batch, ahead=ahead)


def test_few_examples_are_refused():
    planted = relay(n=8)
    with pytest.raises(ProbeError, match="at least 16"):
        lookahead.patchscope(planted.model, planted.batch, ahead=[0])
