"""The table of heads: planted heads are found in real models, and nothing that should not matter does."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest
import torch

import probe
from analyses import attention
from analyses.attention.heads import COLUMNS, measured, scored
from analyses.result import Result
from probe.paradigms import Autoregressive, Masked
from tests.analyses.planted import permuted_heads
from tests.probe.readings.handmade import reads
from tests.probe.tiny import MASK, model_of, tokens_of

WORD = 20  # past the special tokens of the shipped vocabulary


def texts(rows: int = 12, length: int = 10, seed: int = 0) -> torch.Tensor:
    return WORD + torch.randint(0, 200, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("says", "paradigm", "measure", "offset"),
    [
        (-1, Masked(mask_id=2, shift=False), "previous", -0.9),  # the first token has none before it, and stays
        (1, Masked(mask_id=2, shift=False), "next", 0.0),  # nine look one ahead, the last one nine back
        (0, Masked(mask_id=2, shift=False), "same", 0.0),
        (-2, Autoregressive(), "previous", -0.9),  # with shift the slot that answers is one to the left
        (-1, Masked(mask_id=2), "same", 0.0),
        (30, Masked(mask_id=2, shift=False), "sink", -4.5),  # that place is not there: all look at the first token
    ],
)
def test_planted_heads_are_found(says, paradigm, measure, offset):
    row = attention.heads(reads(says, paradigm), texts()).table.iloc[0]
    assert row[measure] > 0.99 if measure == "sink" else row[measure] == pytest.approx(1.0)
    others = {"previous", "next", "same", "sink"} - {measure}
    assert all(row[name] < 0.25 for name in others), row[list(others)]
    assert row["entropy"] < 1e-3
    assert row["offset"] == pytest.approx(offset)


def test_nothing_is_seen_ahead_under_a_causal_mask():
    table = attention.heads(model_of("llama-gqa"), tokens_of(8, 12)).table
    assert (table["next"] == 0).all()
    assert (table["reverse_induction"] == 0).all()
    assert (table["offset"] <= 0).all()
    full = attention.heads(model_of("llama-gqa"), tokens_of(8, 12), attention="full").table
    assert (full["next"] > 0).all()


def test_an_induction_head_is_found_both_ways():
    """Heads whose pattern is written by an edit: whoever measures sees what the model would use."""
    model = model_of("llama-mha", Masked(mask_id=MASK))
    half = tokens_of(8, 6, seed=3, vocabulary=40)
    half[:] = torch.stack([torch.randperm(40, generator=torch.Generator().manual_seed(row))[:6] for row in range(8)])
    tokens = torch.cat([half, half], 1)
    slots = torch.arange(12)
    forward, backward = (torch.eye(12)[(slots + way).clamp(0, 11)].expand(8, 2, 1, -1, -1) for way in (-5, 5))
    edits = [
        probe.patch("pattern", forward[:, :1, 0], layer=1, head=2),
        probe.patch("pattern", backward[:, :1, 0], layer=0, head=1),
    ]
    with probe.edit(model, edits):
        table = attention.heads(model, tokens).table.set_index(["layer", "head"])
    assert table["induction"].idxmax() == (1, 2)
    assert table["induction"].max() == pytest.approx(1.0)
    assert table["reverse_induction"].idxmax() == (0, 1)
    assert table["reverse_induction"].max() == pytest.approx(1.0)


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(variant, side):
    model = model_of(variant, Masked(mask_id=MASK))
    tokens = tokens_of(8, 9, masked=0.2)
    blank = torch.full((8, 3), 5)
    row = torch.cat([blank, tokens] if side == "left" else [tokens, blank], 1)
    padding = torch.zeros_like(row, dtype=torch.bool)
    padding[:, :3] = side == "left"
    padding[:, 9:] |= side == "right"
    bare = measured(model, model.canvas(tokens))
    padded = measured(model, model.canvas(row, padding=padding))
    torch.testing.assert_close(padded, bare, equal_nan=True, atol=1e-5, rtol=1e-4)


def test_batches_and_what_stands_beside_a_text_change_nothing(monkeypatch):
    model = model_of("llama-gqa")
    tokens = tokens_of(9, 8)
    together = measured(model, model.canvas(tokens))
    monkeypatch.setattr(import_module("analyses.attention.heads"), "SLOTS_AT_ONCE", 16)
    torch.testing.assert_close(measured(model, model.canvas(tokens)), together, equal_nan=True)


def test_permuting_heads_permutes_rows():
    model = model_of("gpt2")
    ours, theirs = (attention.heads(each, tokens_of(8, 10)).table for each in (model, permuted_heads(model, seed=1)))
    for layer in range(model.n_layers):
        of_layer = [table[table["layer"] == layer].sort_values("entropy")["entropy"] for table in (ours, theirs)]
        assert list(of_layer[0]) == pytest.approx(list(of_layer[1]), abs=1e-5)


def test_the_table_is_as_promised(tmp_path):
    result = attention.heads(model_of("llama-gqa"), tokens_of(24, 10, vocabulary=12))
    long = result.long.set_index(["measure", "layer", "head"])
    assert len(long) == len(result.table) * len(COLUMNS)
    wide = result.table.set_index(["layer", "head"])
    assert (
        long.loc[("same", 1, 0), ["estimate", "low", "high"]].tolist()
        == wide.loc[(1, 0), ["same", "same_low", "same_high"]].tolist()
    )
    table = result.table
    assert table.notna().all(axis=None)
    assert len(table) == 2 * 4
    assert {"layer", "head", "previous", "next", "same", "induction", "reverse_induction", "sink", "entropy"} <= {
        *table
    }
    for name in COLUMNS:
        whole = table.dropna(subset=[name, f"{name}_low"])
        assert (whole[f"{name}_low"] <= whole[name] + 1e-9).all()
        assert (whole[name] <= whole[f"{name}_high"] + 1e-9).all()
    again = Result.open(result.save(tmp_path))
    assert again.figure().to_json() == result.figure().to_json()


def test_what_a_pair_differs_in_is_paired_by_example():
    pair = probe.load_pair("zoo:masked", controls=False)
    batch = probe.task("ioi").examples(pair, 12, seed=0)
    table = attention.heads(pair, batch, reading="prefix", resamples=200).table.set_index(["role", "layer", "head"])
    difference = table.loc["diffusion"]["next"] - table.loc["ar"]["next"]
    assert list(table.loc["diffusion − ar"]["next"]) == pytest.approx(list(difference), abs=1e-6)
    assert table.loc["diffusion − ar"]["next_q"].between(0, 1).all()


def test_the_two_by_two_parts_the_mask_from_the_weights():
    pair = probe.load_pair("zoo:masked", controls=False)
    batch = probe.task("ioi").examples(pair, 8, seed=0)
    for how in ({"reading": "prefix"}, {}):
        ahead = attention.heads(pair, batch, square=True, resamples=20, **how).table.groupby("role")["next"].max()
        assert ahead["ar"] == ahead["diffusion, causal mask"] == 0
        assert ahead["diffusion"] > 0
        assert ahead["ar, native mask"] > 0
    closed = attention.heads(pair.diffusion, batch, reading="prefix", attention="causal").table
    assert (closed["next"] == 0).all()
    with pytest.raises(probe.ProbeError, match="a reading makes its own canvas"):
        attention.heads(pair.diffusion, batch, reading="prefix", attention=torch.zeros(1, 1, 4, 4))


def test_watching_sees_every_pass_that_others_make():
    """One forward pass serves recording and attention; a decoding run is watched step by step."""
    model = probe.load("zoo:masked")
    batch = probe.task("ioi").examples(model, 6, seed=0)
    with attention.watched(model) as seen:
        trace = probe.record(model, batch, "resid_post", reading="prefix")
    canvas = probe.readings.named("prefix").canvas(model, batch)
    torch.testing.assert_close(scored(seen), measured(model, canvas), equal_nan=True)
    unwatched = probe.record(model, batch, "resid_post", reading="prefix")
    assert abs(trace.resid_post - unwatched.resid_post).max() < 1e-4
    assert model.attention_override is None
    assert not model.before_run
    with attention.watched(model) as seen:
        run = probe.decode(model, batch.clean[:, :8], 3)
    assert len(seen.passes) == run.forward_passes


def test_the_future_has_no_gradient_under_a_causal_mask():
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    tokens = tokens_of(2, 9, masked=0.3)
    embedded = model.embedding(tokens).detach().requires_grad_()
    for attention_kind, ahead in (("causal", False), ("full", True)):
        logits = model.run(model.canvas(tokens, attention_kind), inputs_embeds=embedded)
        (gradient,) = torch.autograd.grad(logits[:, 4].square().sum(), embedded)
        assert bool((gradient[:, 5:] != 0).any()) is ahead
        assert bool((gradient[:, :5] != 0).any(-1).all())


def test_sinks_follow_a_run():
    """A head that looks at one place keeps its sink; what it looks at is a mask until it is written."""
    model = reads(30, Masked(mask_id=2, shift=False))  # everything looks at the first token
    tokens = texts(4, 3)
    run = probe.decode(model, tokens, 3, sampler="left_to_right")
    table = attention.sinks(model, run).table.pivot_table(index="step", columns="measure", values="estimate")
    assert (table["mass"] > 0.99).all()
    assert (table["place"] == 0).all()
    assert (table["share on a mask"] == 0).all()
    assert (table["share that moved"].dropna() == 0).all()
    hidden = run.states.clone()
    hidden[:, :2, 0] = 2  # the first token stays hidden for two steps, which a sink does not care about
    moved = attention.sinks(model, replace(run, states=hidden)).table
    assert list(moved[moved["measure"] == "share on a mask"]["estimate"]) == [1, 1, 0]


def test_sinks_of_an_autoregressive_run_are_of_what_is_written():
    model = probe.load("zoo:ar")
    run = probe.decode(model, texts(4, 5), 3)
    result = attention.sinks(model, run, by_head=True)
    assert set(result.table["step"]) == {0, 1, 2}
    assert len(result.table) == 3 * model.n_layers * model.n_heads * 4
    assert result.table.dropna()["estimate"].ge(0).all()
    result.figure()
