"""The skip-effect matrix against layers skipped one at a time, and where effects can and cannot go."""

from __future__ import annotations

import pytest
import torch

import probe
from analyses.depth import layer_skipping
from probe.paradigms import Autoregressive, Masked
from tests.analyses.planted import relay
from tests.probe.tiny import MASK, model_of, tokens_of

SLOTS = 9


def updates(model, canvas):
    trace = probe.record(model, canvas, ["resid_pre", "resid_post"])
    return torch.tensor((trace.resid_post - trace.resid_pre).values)  # row × layer × slot × feature


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3"])
@pytest.mark.parametrize("paradigm", [Autoregressive(mask_id=MASK), Masked(mask_id=MASK)])
def test_it_is_what_skipping_layers_one_by_one_gives(variant, paradigm):
    model = model_of(variant, paradigm)
    canvas = model.canvas(tokens_of(3, SLOTS, masked=0.2))
    at = torch.tensor([[4], [1], [8]])
    found = layer_skipping.effect(model, canvas, at)
    whole = updates(model, canvas)
    for skipped in range(model.n_layers):
        with probe.edit(model, probe.skip(skipped)):
            change = (updates(model, canvas) - whole).norm(dim=-1) / whole.norm(dim=-1)
        for row, slot in enumerate(at[:, 0].tolist()):
            of_row = change[row]
            expected = {"all": of_row, "left": of_row[:, :slot], "right": of_row[:, slot + 1 :]}
            for side, (name, part) in enumerate(expected.items()):
                want = part.amax(-1) if part.shape[-1] else torch.full((model.n_layers,), torch.nan)
                torch.testing.assert_close(
                    found[row, skipped, :, side], want, equal_nan=True, atol=2e-5, rtol=1e-4, msg=name
                )


def test_what_flows_across_a_border_is_what_skipping_one_side_does_to_the_other():
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    canvas = model.canvas(tokens_of(2, SLOTS))
    found = layer_skipping.flow(model, canvas, torch.full((2, 1), 4))
    whole = updates(model, canvas)
    sides = {0: (range(4, SLOTS), slice(0, 4)), 1: (range(4), slice(4, SLOTS))}
    for skipped in range(model.n_layers):
        for way, (left_out, looked_for) in sides.items():
            edits = [probe.zero(site, layer=skipped, position=list(left_out)) for site in ("attn_out", "mlp_out")]
            with probe.edit(model, edits):
                change = (updates(model, canvas) - whole).norm(dim=-1) / whole.norm(dim=-1)
            torch.testing.assert_close(
                found[:, skipped, :, way], change[..., looked_for].amax(-1), atol=2e-5, rtol=1e-4
            )


def test_nothing_flows_left_under_a_causal_mask_and_nothing_back_in_depth():
    canvas = model_of("llama-gqa").canvas(tokens_of(4, SLOTS))
    causal = layer_skipping.flow(model_of("llama-gqa"), canvas, torch.full((4, 1), 4))
    assert not causal[..., 0].any()
    assert bool((causal[:, 0, 1, 1] > 0).all())
    full = model_of("llama-gqa", Masked(mask_id=MASK))
    both = layer_skipping.flow(full, full.canvas(tokens_of(4, SLOTS)), torch.full((4, 1), 4))
    assert bool((both[:, 0, 1] > 0).all())
    everywhere = layer_skipping.effect(full, full.canvas(tokens_of(4, SLOTS)), torch.full((4, 1), 4))
    assert not everywhere[:, 1, 0].any()  # layer 1 left out changes nothing in layer 0
    assert bool((everywhere[:, 1, 1, 0] == 1).all())  # and all of itself


def test_pieces_change_nothing(monkeypatch):
    model = model_of("qwen2", Masked(mask_id=MASK))
    canvas = model.canvas(tokens_of(5, SLOTS))
    whole = layer_skipping.effect(model, canvas, torch.full((5, 1), 4))
    monkeypatch.setattr(layer_skipping, "SLOTS_AT_ONCE", 2 * SLOTS)  # one row beside one variant
    torch.testing.assert_close(layer_skipping.effect(model, canvas, torch.full((5, 1), 4)), whole, atol=1e-5, rtol=1e-4)


def test_a_planted_circuit_has_one_strong_cell_and_the_rest_none():
    planted = relay(n_layers=6, first=1)
    table = layer_skipping.skip_effects(planted.model, planted.batch, reading="ar").table
    later = table[(table["side"] == "all") & (table["layer"] > table["skipped"])].set_index(["skipped", "layer"])
    assert later["estimate"].idxmax() == (1, 2)
    assert later.loc[(1, 2), "low"] > 0.5
    assert later["estimate"].drop((1, 2)).max() == 0


def test_a_pair_stands_in_one_table_with_its_differences():
    pair = probe.load_pair("zoo:masked", controls=False)
    batch = probe.task("ioi").examples(pair, 8, seed=0)
    result = layer_skipping.skip_effects(pair, batch, flows=True)
    table = result.table
    assert set(table["role"]) == {"ar", "diffusion", "diffusion − ar"}
    assert set(table["side"]) == {"all", "left", "right", "←", "→"}
    leftwards = table[table["side"] == "←"].groupby("role")["estimate"].max()
    assert leftwards["ar"] == 0 < leftwards["diffusion"]
    assert result.figure().data
