"""At a temperature, confidence and threshold judge the token that was drawn, not the best one."""

from __future__ import annotations

import torch

from probe.decoding import Sampler, decode, masked
from probe.paradigms import Masked
from tests.probe.tiny import MASK, model_of, tokens_of


def test_the_order_is_that_of_the_drawn_tokens(monkeypatch):
    """Even places draw their least likely token: by confidence they are written last, whatever their best token."""

    def draw(logits, temperature, generator):
        even = torch.arange(logits.shape[1]) % 2 == 0
        least = logits.masked_fill(logits.isinf(), torch.inf).argmin(-1)
        return torch.where(even, least, logits.argmax(-1))

    monkeypatch.setattr(masked, "choose", draw)
    model, prompt = model_of("llama-mha", Masked(mask_id=MASK, shift=False)), tokens_of(1, 4)[0]
    run = decode(model, prompt, 6, sampler=Sampler("confidence", temperature=1.0))
    even = (torch.arange(len(run.tokens)) % 2 == 0)[4:]
    written = run.committed_at[4:]
    assert written[~even].max() < written[even].min()


def test_a_threshold_lets_no_unlikely_draw_pass(monkeypatch):
    """No drawn token is surer than the threshold, so one place is written a step, though every best one is surer."""
    monkeypatch.setattr(masked, "choose", lambda logits, *_: logits.masked_fill(logits.isinf(), torch.inf).argmin(-1))
    model, prompt = model_of("llama-mha", Masked(mask_id=MASK, shift=False)), tokens_of(1, 4)[0]
    vocabulary = model.vocabulary
    run = decode(model, prompt, 6, sampler=Sampler(threshold=1 / vocabulary, temperature=1.0))
    assert run.forward_passes == 6
