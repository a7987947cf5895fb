"""What a trajectory keeps of its changes is the whole of what happened: its text can be played again from them."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.decoding import Flowing, Sampler, Strides
from probe.decoding.places import GIVEN, KEPT, WITHDRAWN
from probe.decoding.trajectory import Log
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Flow, Fluid, Masked
from tests.probe.tiny import MASK, model_of, tokens_of

WAYS = {
    "ar": (Autoregressive(mask_id=MASK), Sampler()),
    "masked": (Masked(mask_id=MASK), Sampler("random", steps=4)),
    "block": (Block(mask_id=MASK, attention="block:4"), Sampler(threshold=0.1)),
    "fluid": (Fluid(mask_id=MASK), Strides(6)),
    "fluid, drawn": (Fluid(mask_id=MASK), Strides(4, temperature=1.0)),
    "fluid, apart": (Fluid(mask_id=MASK), Strides(6, 0.02, overlap=False)),
    "flow": (Flow(mask_id=MASK), Flowing(5)),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_text_is_what_its_changes_make_of_it(name):
    kind, rule = WAYS[name]
    run = probe.decode(model_of("llama-gqa", kind), tokens_of(3, 4), 10, sampler=rule, seed=2)
    nothing = (-1, MASK)
    standing = run.states[:, 0].clone()
    last = torch.full_like(run.committed_at, GIVEN)
    for step in range(len(run)):
        before, changed = standing.clone(), run.changes[:, step]
        standing = torch.where(changed >= 0, changed, standing).masked_fill(changed == WITHDRAWN, MASK)
        last[changed >= 0] = step
        assert torch.equal(run.commits[:, step], changed >= 0)
        shown = run.written_by_step[:, step]
        assert torch.equal(shown[shown >= 0], standing[shown >= 0])
        held = ~torch.isin(before, torch.tensor(nothing)) if name != "flow" or step else torch.zeros_like(before) > 0
        assert torch.equal(run.withdrawals[:, step], held & (standing != before) & (run.committed_at != GIVEN))
        if name != "flow" and step + 1 < len(run):
            then = run.states[:, step + 1]
            assert torch.equal(shown[then >= 0], torch.where(then == MASK, -1, then)[then >= 0])
    assert torch.equal(standing, run.tokens)
    assert torch.equal(last, run.committed_at)
    assert bool(run.withdrawals.any()) == (name in ("fluid", "fluid, drawn", "fluid, apart", "flow"))
    one = run.example(1)
    assert torch.equal(one.written_by_step, run.written_by_step[1])
    assert torch.equal(one.withdrawals, run.withdrawals[1])


def test_a_planted_history_is_told_as_it_was_planted():
    tokens, is_open = torch.tensor([[7, MASK, MASK]]), torch.tensor([[False, True, True]])
    log, sure = Log(tokens, is_open), torch.zeros(1, 3)
    no = torch.zeros_like(is_open)
    log.step(tokens, sure, torch.tensor([[False, True, False]]))
    log.step(torch.tensor([[7, 5, MASK]]), sure, no, reopened=torch.tensor([[False, True, False]]))
    log.step(tokens, sure, torch.tensor([[False, True, True]]))
    run = log.finish(torch.tensor([[7, 6, 8]]), "by hand", 0, 9)
    assert run.changes.tolist() == [[[KEPT, 5, KEPT], [KEPT, WITHDRAWN, KEPT], [KEPT, 6, 8]]]
    assert run.written_by_step.tolist() == [[[7, 5, -1], [7, -1, -1], [7, 6, 8]]]
    assert run.withdrawals.tolist() == [[[False] * 3, [False, True, False], [False] * 3]]
    assert run.committed_at.tolist() == [[GIVEN, 2, 2]]
    assert torch.isnan(run.confidence[0, :, 1]).tolist() == [False, True, False]


def test_a_trajectory_without_its_changes_says_so():
    from dataclasses import replace

    run = replace(probe.decode(model_of(), tokens_of(1, 3), 2), changes=None)
    with pytest.raises(ProbeError, match="Decode again"):
        _ = run.withdrawals
