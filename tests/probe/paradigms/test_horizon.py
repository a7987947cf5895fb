"""Elastic Horizons: targets and losses against slow definitions, and a head that learns what it is told to."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.errors import CheckpointError, ProbeError
from probe.paradigms import Autoregressive, Fluid
from probe.paradigms.attachments import attached, load_attachments, save_attachments
from probe.paradigms.horizon import (
    Horizon,
    competence,
    draw_anchors,
    horizon_loss,
    new_horizon,
    soft_target,
    stride_losses,
)
from tests.probe.tiny import MASK, model_of, stock_logits, tokens_of

LENGTH = 22
LOSSES = st.lists(st.floats(0, 8, width=32), min_size=1, max_size=16)


@given(st.lists(LOSSES, min_size=1, max_size=4), st.floats(0.1, 6))
def test_the_horizon_is_the_farthest_at_which_the_mean_loss_is_low(rows, tau):
    padded = torch.tensor([row + [math.inf] * (16 - len(row)) for row in rows], dtype=torch.float64)
    for row, found in zip(rows, competence(padded, tau).tolist(), strict=True):
        reached = [k for k in range(1, len(row) + 1) if sum(row[:k]) / k < tau]
        near = any(abs(sum(row[:k]) / k - tau) < 1e-9 for k in range(1, len(row) + 1))
        assert found == max(reached, default=1) or near


def test_the_target_is_a_bell_around_the_horizon():
    target = soft_target(torch.tensor([1, 7, 16]))
    for best, row in zip((1, 7, 16), target, strict=True):
        slow = [math.exp(-((k - best) ** 2) / (2 * 1.5**2)) for k in range(1, 17)]
        torch.testing.assert_close(row, torch.tensor([weight / sum(slow) for weight in slow]))


def slow_losses(model, text: list[int], anchor: int) -> list[float]:
    """CE_1 … of one anchor: the text up to it, then masks, each slot answering for the token after its place."""
    behind = text[anchor + 1 : anchor + 17]
    logits = stock_logits(model.backbone, torch.tensor([text[: anchor + 1] + [MASK] * (len(behind) - 1)]))[0]
    return [-float(logits[anchor + j].log_softmax(-1)[token]) for j, token in enumerate(behind)]


@pytest.mark.parametrize("variant", ["llama-gqa", "gpt2"])
def test_losses_behind_every_anchor_against_text_and_masks_alone(variant):
    model, tokens = model_of(variant, Fluid(mask_id=MASK)), tokens_of(2, LENGTH)
    anchors = draw_anchors(tokens, torch.Generator().manual_seed(1))
    losses, hidden = stride_losses(model, tokens, anchors)
    assert len(losses) == len(hidden) == anchors.sum() > 10
    for found, state, (row, anchor) in zip(losses, hidden, anchors.nonzero().tolist(), strict=True):
        slow = slow_losses(model, tokens[row].tolist(), anchor)
        torch.testing.assert_close(found[: len(slow)], torch.tensor(slow), atol=2e-5, rtol=1e-5)
        assert found[len(slow) :].isinf().all()
        alone = model.run_trunk(model.canvas(tokens[row, : anchor + 1][None]))[0, -1]
        torch.testing.assert_close(state, alone, atol=1e-5, rtol=1e-5)


def test_the_loss_is_the_mean_cross_entropy_to_the_bell_and_moves_the_head_alone():
    model, tokens, tau = model_of("llama-gqa", Fluid(mask_id=MASK)), tokens_of(2, LENGTH), 4.2
    head = new_horizon(model).requires_grad_(True)
    anchors = draw_anchors(tokens, torch.Generator().manual_seed(1))
    losses, hidden = stride_losses(model, tokens, anchors)
    slow, horizons = [], set()
    for row, state in zip(losses.tolist(), hidden, strict=True):
        left = [x for x in row if x < math.inf]
        best = max((k for k in range(1, len(left) + 1) if sum(left[:k]) / k < tau), default=1)
        horizons.add(best)
        weights = [math.exp(-((k - best) ** 2) / 4.5) for k in range(1, 17)]
        said = (head.layers(state)).log_softmax(-1).tolist()
        slow.append(-sum(w / sum(weights) * x for w, x in zip(weights, said, strict=True)))
    assert len(horizons) > 2
    loss = horizon_loss(model, tokens, anchors, tau)
    assert loss.item() == pytest.approx(sum(slow) / len(slow), rel=1e-5)
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


def test_anchors_are_half_of_the_places_before_what_is_written():
    tokens = tokens_of(500, LENGTH)
    given = torch.zeros_like(tokens, dtype=torch.bool)
    given[:, :10] = True
    everywhere, answers = (draw_anchors(tokens, torch.Generator().manual_seed(2), some) for some in (None, given))
    assert abs(everywhere[:, :-1].float().mean() - 0.5) < 0.01
    assert not everywhere[:, -1].any()
    assert not answers[:, :9].any()
    assert abs(answers[:, 9:-1].float().mean() - 0.5) < 0.02


def test_a_head_learns_what_can_be_known_from_its_anchor():
    """A language of runs: behind token 7 everything can be foretold, behind any other token nothing can."""
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    head = new_horizon(model).requires_grad_(True)
    hidden = model.run_trunk(model.canvas(tokens_of(64, 1, vocabulary=9)))[:, 0]
    best = torch.where(tokens_of(64, 1, vocabulary=9)[:, 0] == 7, 12, 2)
    optimiser = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(head(hidden), soft_target(best)).backward()
        optimiser.step()
    assert torch.equal(head.stride(hidden), best)


# As an attachment


def test_a_head_lives_beside_the_weights(tmp_path):
    model, other, ar = (model_of("llama-gqa", kind(mask_id=MASK)) for kind in (Fluid, Fluid, Autoregressive))
    new_horizon(model, seed=4)
    save_attachments(model, tmp_path)
    for one in (other, ar):
        load_attachments(one, tmp_path)
    assert not ar.attachments  # another way of writing does not know it
    for name, value in model.attachments["horizon"].state_dict().items():
        torch.testing.assert_close(other.attachments["horizon"].state_dict()[name], value.half().float())
    assert not any(parameter.requires_grad for parameter in other.attachments["horizon"].parameters())


def test_a_head_of_another_model_is_refused_by_shape_and_a_missing_one_by_name(tmp_path):
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    with pytest.raises(ProbeError, match=r"horizon\.safetensors"):
        attached(model, "horizon")
    model.attachments["horizon"] = Horizon(2 * model.d_model)
    save_attachments(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight \(8, 32\)"):
        load_attachments(model_of("llama-gqa", Fluid(mask_id=MASK)), tmp_path)
    (tmp_path / "horizon.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="truncated"):
        load_attachments(model_of("llama-gqa", Fluid(mask_id=MASK)), tmp_path)
