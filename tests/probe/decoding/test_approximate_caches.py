"""Fast-dLLM's caches against a slow definition: transformers' own cache, cut as the published code cuts it."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

import probe
from probe.decoding import PassOptions, Sampler
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Masked
from tests.probe.tiny import MASK, model_of, tokens_of

LENGTH, SIZE = 12, 4


def logits_of(backbone, tokens, places, past=None):
    """Stock logits, every token seeing all of what is kept and all of what is shown."""
    keys = tokens.shape[1] + (0 if past is None else past.get_seq_length())
    mask = torch.zeros(len(tokens), 1, tokens.shape[1], keys, dtype=backbone.dtype)
    where = {"attention_mask": mask, "position_ids": places[None].expand(len(tokens), -1)}
    return backbone(input_ids=tokens, past_key_values=past, use_cache=past is not None, **where).logits


def kept(cache, places):
    """A cache of some places of another."""
    made = DynamicCache()
    for number, layer in enumerate(cache.layers):
        made.update(layer.keys[:, :, places].clone(), layer.values[:, :, places].clone(), number)
    return made


def as_fast_dllm_does(model, prompt, steps, kind):
    """The states that each pass finds, block by block; the counts are LLaDA's."""
    backbone, shift = model.backbone, int(model.shift)
    backbone.set_attn_implementation("eager")
    x = torch.cat([prompt, torch.full((len(prompt), LENGTH), MASK)], 1)
    start, end = prompt.shape[1], x.shape[1]
    for low in range(start, end, SIZE):
        high = low + SIZE
        each, rest = divmod(SIZE, steps)
        past = DynamicCache()
        for step in range(steps):
            yield x.clone()
            if step == 0:
                logits = logits_of(backbone, x, torch.arange(end), past)
                block = logits[:, low - shift : high - shift]
            else:
                shown = torch.arange(low - shift, end if kind == "prefix" else high)
                others = [place for place in range(end) if place < low - shift or (kind == "dual" and place >= high)]
                logits = logits_of(backbone, x[:, shown], shown, kept(past, others))
                block = logits[:, :SIZE]
            block = block.float()
            block[..., MASK] = -torch.inf
            sure, best = block.softmax(-1).max(-1)
            for row in range(len(x)):
                is_open = [at for at in range(SIZE) if x[row, low + at] == MASK]
                for at in sorted(is_open, key=lambda at: -float(sure[row, at]))[: each + (step < rest)]:
                    x[row, low + at] = best[row, at]
    yield x.clone()


@pytest.mark.parametrize("kind", ["prefix", "dual"])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("variant", ["llama-gqa", "gpt2"])
@torch.no_grad()
def test_every_state_is_that_of_the_published_code(kind, shift, variant):
    model, prompt = model_of(variant, Masked(mask_id=MASK, shift=shift)), tokens_of(3, 5)
    model.backbone.double()
    blocks, steps = LENGTH // SIZE, 3
    rule = Sampler("confidence", steps=steps * blocks, block=SIZE, schedule="llada", cache=kind)
    run = probe.decode(model, prompt, LENGTH, sampler=rule)
    *states, final = as_fast_dllm_does(model, prompt, steps, kind)
    assert torch.equal(run.states, torch.stack(states, 1))
    assert torch.equal(run.tokens, final)
    assert run.approximate == f"{kind} cache"
    assert "approximate" in run.sampler
    assert f"approximate ({kind} cache)" in repr(run)
    end = 5 + LENGTH
    later = [(end if kind == "prefix" else low + SIZE) - low + shift for low in range(5, end, SIZE)]
    assert run.slots == 3 * sum(end + (steps - 1) * shown for shown in later)
    for row in range(3):
        assert torch.equal(probe.decode(model, prompt[row], LENGTH, sampler=rule).tokens, run.tokens[row])


@pytest.mark.parametrize("kind", ["prefix", "dual"])
def test_a_pass_a_block_is_exact_and_more_are_not(kind):
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK, shift=False)), tokens_of(20, 5)
    for steps, same in ((3, True), (12, False)):
        exact, approximate = (
            probe.decode(model, prompt, LENGTH, sampler=Sampler(steps=steps, block=SIZE, cache=cache))
            for cache in (None, kind)
        )
        assert torch.equal(exact.tokens, approximate.tokens) == same
        assert exact.approximate == ""


@pytest.mark.parametrize("kind", ["prefix", "dual"])
def test_rows_that_are_through_with_a_block_wait_for_the_others(kind):
    """Under a threshold rows take as many passes as they like; what each writes is what it writes alone."""
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK)), tokens_of(8, 5)
    model.backbone.double()
    stop = probe.decode(model, prompt, LENGTH).tokens[0, -5].item()
    rule = Sampler(threshold=0.12, block=5, cache=kind, stop=(stop,), guidance=0.5)
    run = probe.decode(model, prompt, LENGTH, sampler=rule)
    assert len(set(run.passes.tolist())) > 1
    for row in range(8):
        alone = probe.decode(model, prompt[row], LENGTH, sampler=rule)
        assert torch.equal(alone.tokens, run.tokens[row])
        assert int(run.passes[row]) == alone.forward_passes


def test_it_is_refused_where_it_is_no_use():
    rule = Sampler(block=4, cache="dual")
    with pytest.raises(ProbeError, match="exact already"):
        probe.decode(model_of("llama-gqa", Block(mask_id=MASK)), tokens_of(1, 3), 4, sampler=rule)
    with pytest.raises(ProbeError, match="exact already"):
        probe.decode(model_of("llama-gqa", Autoregressive(mask_id=MASK)), tokens_of(1, 3), 4, sampler=rule)
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    for passes in (PassOptions(cache=False), PassOptions(forward=model.run)):
        with pytest.raises(ProbeError, match="every state whole"):
            probe.decode(model, tokens_of(1, 3), 4, sampler=rule, passes=passes)
    with pytest.raises(ProbeError, match="Did you mean 'dual'"):
        Sampler(cache="dul")
