"""Training batches against slow definitions, their rates, and where their randomness comes from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Fluid, Masked, Paradigm, TrainingBatch
from probe.paradigms.fluid import ANCHOR_RATE, RANDOM_RATE
from probe.paradigms.masked import CLIP, noise_levels
from probe.paradigms.paradigm import NO_LABEL
from probe.training.recipe import Recipe
from tests.probe.tiny import MASK, model_of, stock_logits, tokens_of

PARADIGMS = {
    "ar": Autoregressive(),
    "masked": Masked(mask_id=MASK),
    "masked 1/t": Masked(mask_id=MASK, weighting="1/t"),
    "masked, no shift": Masked(mask_id=MASK, shift=False),
    "block": Block(mask_id=MASK, attention="block:3"),
    "block, no shift": Block(mask_id=MASK, attention="block:4", shift=False),
    "fluid": Fluid(mask_id=MASK, longest=4),
}
LENGTH = 10


def training_batch_of(
    paradigm: Paradigm, rows: int = 3, length: int = LENGTH, seed: int = 0
) -> tuple[Tensor, TrainingBatch]:
    tokens = tokens_of(rows, length, seed=seed)
    return tokens, paradigm.training_batch(tokens, torch.Generator().manual_seed(seed))


def nll(logits: Tensor, token: int) -> float:
    return -logits.double().log_softmax(-1)[token].item()


@pytest.mark.parametrize("name", PARADIGMS)
def test_every_draw_comes_from_the_generator(name):
    torch.manual_seed(1)
    _, one = training_batch_of(PARADIGMS[name], seed=5)
    before = torch.random.get_rng_state()
    torch.manual_seed(2)
    _, same = training_batch_of(PARADIGMS[name], seed=5)
    for part in ("tokens", "allowed", "places", "block"):
        assert torch.equal(getattr(one.canvas, part), getattr(same.canvas, part))
    assert torch.equal(one.labels, same.labels)
    assert torch.equal(one.weights, same.weights)
    torch.manual_seed(1)
    training_batch_of(PARADIGMS[name], seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    if name != "ar":
        tokens = tokens_of(3, LENGTH, seed=5)
        other = PARADIGMS[name].training_batch(tokens, torch.Generator().manual_seed(6))
        assert other.canvas.tokens.shape != one.canvas.tokens.shape or not torch.equal(
            other.canvas.tokens, one.canvas.tokens
        )


@pytest.mark.parametrize("name", PARADIGMS)
def test_a_training_batch_is_of_one_shape_and_learns_something(name):
    model = model_of("llama-gqa", PARADIGMS[name])
    _, batch = training_batch_of(model.paradigm)
    assert batch.labels.shape == batch.weights.shape == batch.canvas.tokens.shape
    with model.trainable():
        batch.loss(model.run(batch.canvas)).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.backbone.parameters() if p.grad is not None)
        assert model.embedding.weight.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())


def test_autoregression_is_the_mean_over_next_tokens():
    model = model_of("llama-gqa")
    tokens, batch = training_batch_of(Autoregressive())
    logits = stock_logits(model.backbone, tokens)
    slow = [nll(logits[row, i - 1], tokens[row, i]) for row in range(3) for i in range(1, LENGTH)]
    assert batch.loss(model.run(batch.canvas)).item() == pytest.approx(sum(slow) / len(slow), abs=1e-5)


@pytest.mark.parametrize("name", ["masked", "masked, no shift", "masked 1/t"])
def test_masked_diffusion_is_the_weighted_mean_over_hidden_tokens(name):
    paradigm = PARADIGMS[name]
    model = model_of("llama-gqa", paradigm)
    tokens, batch = training_batch_of(paradigm)
    shown = batch.canvas.tokens
    logits = stock_logits(model.backbone, shown, torch.ones(3, LENGTH, LENGTH, dtype=torch.bool))
    slow = []
    for row in range(3):
        weight = batch.weights[row, 0].item()
        assert weight == 1 if "1/t" not in name else 1 <= weight <= 1000
        assert (batch.weights[row] == weight).all()  # one noise level an example
        for i in range(LENGTH):
            if shown[row, i] != MASK:
                assert shown[row, i] == tokens[row, i]
            elif not paradigm.shift:
                slow.append(weight * nll(logits[row, i], tokens[row, i]))
            elif i > 0:  # the leftmost is never asked
                slow.append(weight * nll(logits[row, i - 1], tokens[row, i]))
    assert len(slow) > 5
    assert batch.loss(model.run(batch.canvas)).item() == pytest.approx(sum(slow) / len(slow), rel=1e-5)


@pytest.mark.parametrize("name", ["block", "block, no shift"])
def test_block_diffusion_is_masked_diffusion_of_each_block_behind_clean_ones(name):
    paradigm = PARADIGMS[name]
    model, size = model_of("llama-gqa", paradigm), paradigm.block_size
    tokens, batch = training_batch_of(paradigm)
    noised = batch.canvas.tokens[:, :LENGTH]
    assert torch.equal(batch.canvas.tokens[:, LENGTH:], tokens)
    slow = []
    for row in range(3):
        for start in range(0, LENGTH, size):
            end = min(start + size, LENGTH)
            shown = torch.cat([tokens[row, :start], noised[row, start:end]])[None]
            allowed = torch.tensor([[[key // size <= query // size for key in range(end)] for query in range(end)]])
            logits = stock_logits(model.backbone, shown, allowed)[0]
            for i in range(start, end):
                hidden = noised[row, i] == MASK
                if hidden and not (paradigm.shift and i == 0):
                    slow.append(nll(logits[i - 1 if paradigm.shift else i], tokens[row, i]))
    assert len(slow) > 5
    assert batch.loss(model.run(batch.canvas)).item() == pytest.approx(sum(slow) / len(slow), abs=1e-5)


def test_fluid_is_one_mean_over_the_text_and_what_is_inserted():
    paradigm = PARADIGMS["fluid"]
    model = model_of("llama-gqa", paradigm)
    tokens, batch = training_batch_of(paradigm, seed=4)
    canvas, slow, blocks = batch.canvas, [], 0
    for row in range(3):
        text = stock_logits(model.backbone, tokens[row][None])[0]
        slow += [nll(text[i - 1], tokens[row, i]) for i in range(1, LENGTH)]
        for anchor in range(LENGTH):
            mine = canvas.block[row] == anchor + 1
            if not mine.any():
                continue
            blocks += 1
            copies = canvas.tokens[row, mine]
            assert canvas.places[row, mine].tolist() == list(range(anchor + 1, anchor + 1 + len(copies)))
            straight = torch.cat([tokens[row, : anchor + 1], copies])[None]
            logits = stock_logits(model.backbone, straight)[0, anchor + 1 :]
            slow += [nll(logits[o], tokens[row, anchor + o + 2]) for o in range(len(copies))]
    assert blocks > 4
    assert batch.loss(model.run(batch.canvas)).item() == pytest.approx(sum(slow) / len(slow), abs=1e-5)


def test_noise_levels_are_uniform_and_hide_as_many():
    tokens = tokens_of(400, 100)
    batch = Masked(mask_id=MASK, weighting="1/t").training_batch(tokens, torch.Generator().manual_seed(0))
    t = 1 / batch.weights[:, 0]
    assert t.min() >= 1e-3 * (1 - 1e-4)
    assert t.max() <= 1
    assert abs(t.mean() - 0.5) < 0.05
    assert abs(t.std() - math.sqrt(1 / 12)) < 0.03
    share = (batch.canvas.tokens == MASK).float().mean(1)
    assert ((share - t) / (t * (1 - t) / 100).sqrt().clamp(min=0.01)).abs().mean() < 1.2


def test_every_block_has_a_noise_level_of_its_own():
    tokens = tokens_of(400, 64)
    batch = Block(mask_id=MASK, attention="block:32", shift=False).training_batch(
        tokens, torch.Generator().manual_seed(0)
    )
    share = (batch.canvas.tokens[:, :64] == MASK).float().view(400, 2, 32).mean(-1)
    assert abs(share.mean() - 0.5) < 0.05
    assert abs(torch.corrcoef(share.T)[0, 1]) < 0.15
    assert share.std() > 0.25


def test_fluid_rates():
    length, longest = 60, 16
    tokens = tokens_of(200, length)
    batch = Fluid(mask_id=MASK).training_batch(tokens, torch.Generator().manual_seed(0))
    canvas = batch.canvas
    far = length - 2 - longest  # an anchor up to here has room for the longest block
    counts = torch.stack([(canvas.block == anchor + 1).sum(1) for anchor in range(far)], 1)
    assert abs((counts > 0).float().mean() - ANCHOR_RATE) < 0.02
    lengths = counts[counts > 0].float()
    assert (lengths.min(), lengths.max()) == (1, longest)
    assert abs(lengths.mean() - (longest + 1) / 2) < 0.2
    inserted = canvas.block > 0
    assert (canvas.places[inserted] <= length - 2).all()  # each has a token to answer for
    true = tokens.gather(1, canvas.places.clamp(max=length - 1))
    restored = inserted & (canvas.tokens != MASK)
    assert abs(restored[inserted].float().mean() - 0.5) < 0.02  # the mean of a uniform rate
    wrong = restored & (canvas.tokens != true)
    by_chance = 1 - 1 / MASK
    assert abs(wrong[restored].float().mean() - RANDOM_RATE * by_chance) < 0.01
    assert (canvas.tokens[restored] < MASK).all()
    rates = torch.stack([(restored & (canvas.block == anchor + 1)).sum(1) for anchor in range(far)], 1) / counts
    assert rates[counts >= 12].std() > 0.25  # one rate an anchor, uniform: .29 and not the .14 of single draws


@pytest.mark.parametrize("shift", [True, False])
def test_clipped_weights_are_1_over_t_up_to_the_clip(shift):
    tokens = tokens_of(200, 40)
    how = {"mask_id": MASK, "shift": shift}
    plain, clipped = (
        Masked(weighting=weighting, **how).training_batch(tokens, torch.Generator().manual_seed(2)).weights
        for weighting in ("1/t", "1/t clipped")
    )
    assert (plain > CLIP).any()
    assert torch.equal(clipped, plain.clamp(max=CLIP))


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("weighting", ["uniform", "1/t", "1/t clipped"])
def test_a_block_weighs_its_tokens_by_its_own_noise(shift, weighting):
    """Token by token: its block's t is the first thing that is drawn, and its loss counts 1, 1/t, or that clipped."""
    tokens = tokens_of(40, LENGTH)
    paradigm = Block(mask_id=MASK, attention="block:4", shift=shift, weighting=weighting)
    model = model_of("llama-gqa", paradigm)
    batch = paradigm.training_batch(tokens, torch.Generator().manual_seed(5))
    t = noise_levels((40, -(-LENGTH // 4)), torch.Generator().manual_seed(5), tokens.device)
    logits, slow, weights = model.run(batch.canvas), [], set()
    for row, slot in (batch.labels != NO_LABEL).nonzero().tolist():
        place = slot % LENGTH + shift
        level = float(t[row, place // 4])
        weight = {"uniform": 1.0, "1/t": 1 / level, "1/t clipped": min(1 / level, CLIP)}[weighting]
        assert batch.weights[row, slot].item() == pytest.approx(weight, rel=1e-5)
        weights.add(weight)
        slow.append(weight * nll(logits[row, slot], tokens[row, place]))
    assert (max(weights) > CLIP) == (weighting == "1/t")
    assert (len(weights) == 1) == (weighting == "uniform")
    assert batch.loss(logits).item() == pytest.approx(sum(slow) / len(slow), rel=1e-5)


def test_a_block_knows_no_weights_by_its_neighbourhood():
    with pytest.raises(ProbeError, match="1/t clipped"):
        Block(mask_id=MASK, weighting="context")
    recipe = {"name": "t", "start": "zoo:ar", "tasks": {"ioi": 1.0}, "steps": 1, "paradigm": "block"}
    with pytest.raises(ValueError, match="1/t clipped"):
        Recipe.model_validate({**recipe, "weighting": "context"})
    assert Recipe.model_validate({**recipe, "weighting": "1/t"}).paradigm_settings()["weighting"] == "1/t"


@pytest.mark.parametrize("shift", [True, False])
def test_context_weights_count_near_clean_tokens_by_the_slow_definition(shift):
    tokens, batch = training_batch_of(Masked(mask_id=MASK, weighting="context", shift=shift), rows=6)
    hidden = batch.canvas.tokens == MASK
    asked = 0
    for row, slot in (batch.labels != NO_LABEL).nonzero().tolist():
        place = slot + shift
        slow = sum(0.5 * 0.3 * 0.7 ** (abs(place - clean) - 1) for clean in range(LENGTH) if not hidden[row, clean])
        assert batch.weights[row, slot].item() == pytest.approx(slow, rel=1e-5)
        assert batch.labels[row, slot] == tokens[row, place]
        asked += 1
    assert asked > 10
