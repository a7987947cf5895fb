"""Residual contributions: known sizes and directions, and the model's own sums."""

from __future__ import annotations

import pytest
import torch

import probe
from analyses.activations import residual_contributions
from analyses.activations.answer_states import answer_states
from probe.paradigms import Masked
from tests.analyses.planted import batch_of, relay
from tests.probe.tiny import MASK, model_of

ALONG, ACROSS = torch.tensor([3.0, 4.0]), torch.tensor([-4.0, 3.0])


@pytest.mark.parametrize(
    ("a", "m", "expected"),
    [
        (2 * ALONG, ALONG, [2, 1 / 3, 3, 1, 1, 1]),  # both amplify
        (-0.5 * ALONG, 0 * ALONG, [0.5, 0, 0.5, -1, 0, -1]),  # attention erases, the MLP is silent
        (ACROSS, -ACROSS, [1, 0.5**0.5, 0, 0, -(0.5**0.5), 0]),  # something new, taken back at once
    ],
)
def test_sizes_and_directions(a, m, expected):
    found = residual_contributions.sizes_and_directions(ALONG[None], a[None], m[None])
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)


def texts():
    clean = torch.randint(0, 40, (9, 6), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % 40
    return batch_of(clean, corrupt, 5, (clean[:, 5] + 1) % 40)


@pytest.mark.parametrize("variant", ["gpt2", "qwen3"])
@pytest.mark.parametrize("shift", [True, False])
def test_they_are_of_the_slot_that_answers(variant, shift):
    """By another way: everything recorded, and the slot picked by hand."""
    model, batch = model_of(variant, Masked(mask_id=MASK, shift=shift)), texts()
    trace = probe.record(model, batch, ["resid_pre", "attn_out", "mlp_out"], reading="prefix")
    h, a, m = (torch.tensor(trace[name].values)[:, :, 5 - shift] for name in ("resid_pre", "attn_out", "mlp_out"))
    table = residual_contributions.contributions(model, batch).table.set_index(["measure", "layer"])["estimate"]
    for layer in range(model.n_layers):
        size = (m[:, layer].norm(dim=-1) / (h + a)[:, layer].norm(dim=-1)).double().mean()
        assert table["‖m‖/‖h+a‖", layer] == pytest.approx(size.item(), rel=1e-5)
        angle = torch.cosine_similarity((a + m)[:, layer], h[:, layer]).double().mean()
        assert table["cos(a+m, h)", layer] == pytest.approx(angle.item(), abs=1e-5)


def test_a_layer_that_is_left_out_contributes_nothing():
    model, batch = model_of("llama-gqa", Masked(mask_id=MASK)), texts()
    with probe.edit(model, probe.skip(1)):
        states = answer_states(model, batch)
    table = residual_contributions.contributions(model, batch, states=states).table.set_index(["measure", "layer"])[
        "estimate"
    ]
    assert table["‖a+m‖/‖h‖", 1] == 0
    assert table["‖a+m‖/‖h‖", 0] > 0.1


def test_only_the_layers_of_a_planted_circuit_contribute():
    planted = relay(n_layers=6, first=2)
    table = residual_contributions.contributions(planted.model, planted.batch, reading="ar").table
    sizes = table[table["measure"] == "‖a+m‖/‖h‖"].set_index("layer")["estimate"]
    assert sizes.drop([2, 3]).max() < 1e-6
    assert sizes[3] > 0.5
    assert residual_contributions.contributions(planted.model, planted.batch, reading="ar").figure().data
