"""Remasking against a slow definition: ReMDM's transition over all tokens and the mask, as its authors' code has it."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.decoding import PassOptions, Remasking, Sampler
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Masked
from probe.paradigms.sampler import choose, trimmed
from tests.probe.tiny import MASK, model_of, tokens_of

KINDS = [
    Remasking("cap", 0.1),
    Remasking("rescale", 0.3),
    Remasking("conf"),
    Remasking("loop", 0.1, on=0.6, off=0.2, level=0.8),
]


def transition(x: int, p_x0: torch.Tensor, eta_conf: float, t: float, s: float, how: Remasking) -> torch.Tensor:
    """The distribution over tokens and the mask of one place's next state. A token that stands is its own p_x0."""
    if x != MASK:
        p_x0 = torch.nn.functional.one_hot(torch.tensor(x), len(p_x0)).double()
    time, alpha_t, alpha_s = t, 1 - t, 1 - s
    if how.kind == "loop":
        alpha_on = how.level
        if time > how.on:
            t, s = (1 - (1 - one) * alpha_on / (1 - how.on) for one in (t, s))
        elif time <= how.off:
            t, s = (one * (1 - alpha_on) / how.off for one in (t, s))
        else:
            alpha_t = alpha_s = alpha_on
        if time > how.on or time <= how.off:
            q = p_x0 * (t - s)
            q[MASK] = s
            return q / q.sum() if x == MASK else p_x0
        sigma = how.share
    else:
        most = min(1, (1 - alpha_s) / alpha_t) if alpha_t > 0 else 1
        sigma = {"cap": min(how.share, most), "rescale": how.share * most, "conf": eta_conf * most}[how.kind]
    if x != MASK:
        q = p_x0 * (1 - sigma)
        q[MASK] = sigma
        return q
    q = p_x0 * ((alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t))
    q[MASK] = (1 - alpha_s - sigma * alpha_t) / (1 - alpha_t)
    return q


@pytest.mark.parametrize("how", KINDS, ids=str)
@pytest.mark.parametrize("rule", [{"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.9}, {}], ids=str)
def test_every_step_is_the_published_transition(how, rule):
    """From the same logits and the same draws: who is written, with what, and who is taken back; pass by pass."""
    steps, rows, start, length = 20, 3, 4, 10
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK, shift=False)), tokens_of(rows, start)
    sampler = Sampler("random", steps=steps, remask=how, **rule)
    run = probe.decode(model, prompt, length, sampler=sampler, seed=3)
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([prompt, torch.full((rows, length), MASK)], 1)
    conf = torch.full((rows, length), -torch.inf)
    eps, made, changed = 1e-5, 0, torch.ones(rows, dtype=torch.bool)
    passes = torch.zeros(rows, dtype=torch.long)
    p_x0 = left = None
    for step in range(steps):
        t = 1 - (1 - eps) * step / steps
        s = t - (1 - eps) / steps
        if p_x0 is None:  # the state has changed
            assert torch.equal(run.states[:, made], x)
            logits = model.logits(x)[:, start:].float()
            logits[..., MASK] = -torch.inf
            left = trimmed(logits, sampler)
            p_x0 = (left / (sampler.temperature or 1)).softmax(-1).double()
            made, passes = made + 1, passes + changed
        assert left is not None
        drawn = choose(left, sampler.temperature, generator)
        uniform = torch.rand(rows, length, generator=generator)
        before = x.clone()
        for row in range(rows):
            etas = conf[row].softmax(-1).nan_to_num(0)
            for at in range(length):
                held = int(before[row, start + at])
                eta = 0.0 if held == MASK else float(etas[at])
                to_mask = float(transition(held, p_x0[row, at], eta, t, s, how)[MASK])
                if held == MASK and float(uniform[row, at]) < 1 - to_mask:
                    x[row, start + at] = drawn[row, at]
                    conf[row, at] = -p_x0[row, at, drawn[row, at]]
                elif held != MASK and float(uniform[row, at]) < to_mask:
                    x[row, start + at] = MASK
                    conf[row, at] = -torch.inf
        changed = (x != before).any(1)
        p_x0 = None if changed.any() else p_x0
    if (x == MASK).any():
        assert torch.equal(run.states[:, made], x)
        best = model.logits(x).float()
        best[..., MASK] = -torch.inf
        x, made, passes = torch.where(x == MASK, best.argmax(-1), x), made + 1, passes + changed
    assert torch.equal(run.tokens, x)
    assert run.forward_passes == made <= steps + 1
    assert torch.equal(run.passes, passes)
    assert bool(run.withdrawals.any())
    assert (run.committed_at[:, :start] == -1).all()


@pytest.mark.parametrize("how", KINDS, ids=str)
def test_as_many_places_are_masked_as_without_remasking(how):
    """Remasking keeps the share of masks that plain diffusion has at each time; the loop, its own."""
    masked = 1.0
    steps = 40
    for step in range(steps):
        odds = how.at(step, steps)
        assert 0 <= odds.write <= 1
        assert 0 <= odds.take_back <= 1
        back = 0.0 if how.kind == "conf" else odds.take_back  # shared among all that stand
        masked = masked * (1 - odds.write) + (1 - masked) * back
        if how.kind != "loop":
            assert masked == pytest.approx(1 - (step + 1) / steps, abs=1e-4)
    assert masked == pytest.approx(0, abs=1e-3)


def test_what_is_given_is_never_taken_back():
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    text = tokens_of(4, 14, seed=1)
    text[:, [3, 4, 8, 9, 10]] = MASK
    rule = Sampler("random", steps=30, temperature=1.0, remask=Remasking("cap", 0.3))
    run = probe.decoding.fill(model, text, sampler=rule, seed=1)
    assert torch.equal(run.tokens[text != MASK], text[text != MASK])
    assert (run.tokens != MASK).all()
    assert set(run.withdrawals.any(1).nonzero()[:, 1].tolist()) <= {3, 4, 8, 9, 10}
    assert run.withdrawals.any()
    told = probe.decoding.fill(model, text, sampler=rule, seed=1, passes=PassOptions(forward=model.run))
    assert torch.equal(told.states, run.states)


def test_a_rule_says_how_it_remasks_and_refuses_what_does_not_go_with_it():
    rule = Sampler("random", steps=8, remask="cap")
    assert rule.remask == Remasking("cap")
    assert str(rule) == "random, steps 8, remask cap η 0.008"
    assert Sampler("random", remask={"kind": "loop", "eta": 0.05}).remask == Remasking("loop", 0.05)
    for wrong in ({}, {"order": "random", "threshold": 0.9}, {"order": "random", "block": 4}):
        with pytest.raises(ProbeError, match="random order"):
            Sampler(remask="cap", **wrong)
    for wrong, told in (({"kind": "cup"}, "cap"), ({"eta": 0.0}, "above 0"), ({"kind": "loop", "eta": 0.2}, "0.111")):
        with pytest.raises(ProbeError, match=told):
            Remasking(**wrong)
    for kind, told in ((Autoregressive(mask_id=MASK), "masks"), (Block(mask_id=MASK), "blocks")):
        with pytest.raises(ProbeError, match=told):
            probe.decode(model_of("llama-gqa", kind), tokens_of(1, 3), 4, sampler=rule)
