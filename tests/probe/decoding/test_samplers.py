"""Samplers against slow definitions, written from the papers' public descriptions, on the same logits, step by step."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    EntropyBoundSampler,
    EntropyBoundSamplerConfig,
)

import probe
from probe.decoding import PassOptions, Sampler
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Block, Masked, sampler
from probe.paradigms.sampler import choose, drawn_order, share_at, trimmed
from tests.probe.tiny import MASK, model_of, tokens_of


def nucleus(shares: list[float], top_p: float) -> set[int]:
    """Token by token from the best on, until their probabilities add up to more than top_p."""
    kept, total = set(), 0.0
    for token in sorted(range(len(shares)), key=lambda token: -shares[token]):
        kept.add(token)
        total += shares[token]
        if total > top_p:
            break
    return kept


@pytest.mark.parametrize("top_k", [None, 1, 3, 50])
@pytest.mark.parametrize("top_p", [None, 0.1, 0.6, 0.95, 1.0])
def test_what_is_trimmed_is_what_the_definition_says(top_k, top_p):
    logits = 2 * torch.randn(40, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rule = Sampler(temperature=0.7, top_k=top_k, top_p=top_p)
    left = trimmed(logits, rule)
    for row in range(40):
        shares = (logits[row] / 0.7).softmax(-1).tolist()
        kept = set(range(9)) if top_p is None else nucleus(shares, top_p)
        if top_k is not None:
            kept &= set(sorted(range(9), key=lambda token: -shares[token])[:top_k])
        assert {token for token in range(9) if math.isfinite(left[row, token])} == kept
        assert torch.equal(left[row, list(kept)], logits[row, list(kept)])


def test_only_what_is_left_is_ever_drawn_and_as_often_as_it_should():
    logits = torch.tensor([0.5, 2.0, 1.0, -1.0]).expand(8000, 1, 4).clone()
    rule = Sampler(temperature=1.0, top_p=0.8)
    drawn = Counter(choose(trimmed(logits, rule), 1.0, torch.Generator().manual_seed(0)).flatten().tolist())
    assert set(drawn) == {1, 2}
    assert drawn[1] / 8000 == pytest.approx(1 / (1 + math.exp(-1)), abs=0.02)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_their_shares_say(temperature, monkeypatch):
    """A chi-square test over a vocabulary of 300, of which a third is suppressed, in pieces of seven positions."""
    monkeypatch.setattr(sampler, "PIECE", 7 * 300)
    logits = torch.randn(300, generator=torch.Generator().manual_seed(1))
    logits[::3] = -torch.inf
    n = 20_000
    drawn = choose(logits.expand(n // 4, 4, 300), temperature, torch.Generator().manual_seed(0))
    seen = torch.bincount(drawn.flatten(), minlength=300).double()
    expected = n * (logits.double() / temperature).softmax(-1)
    assert drawn.shape == (n // 4, 4)
    assert seen[::3].sum() == 0
    often = expected >= 5
    found, said = (torch.cat([of[often], of[~often].sum()[None]]) for of in (seen, expected))
    assert chisquare(found[said > 0], said[said > 0]).pvalue > 0.001


def test_a_draw_takes_one_random_number_a_position_however_wide_the_vocabulary():
    for vocabulary in (10, 10_000):
        generator = torch.Generator().manual_seed(0)
        choose(torch.zeros(2, 3, vocabulary), 1.0, generator)
        untouched = torch.Generator().manual_seed(0)
        torch.rand(6, generator=untouched)
        assert torch.equal(torch.rand(4, generator=generator), torch.rand(4, generator=untouched))


@pytest.mark.parametrize("order", ["confidence", "margin", "entropy"])
def test_scores_of_an_order_are_those_of_the_whole_distribution(order, monkeypatch):
    monkeypatch.setattr(sampler, "PIECE", 2 * 9)
    logits = 3 * torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(0))
    shares = logits.softmax(-1)
    best = shares.sort(-1).values
    whole = {"confidence": best[..., -1], "margin": best[..., -1] - best[..., -2],
             "entropy": (shares * shares.log()).sum(-1)}[order]  # fmt: skip
    torch.testing.assert_close(sampler.order_scores(order, logits, torch.Generator()), whole)


@pytest.mark.parametrize("paradigm", [Autoregressive(mask_id=MASK), Masked(mask_id=MASK, shift=False)])
def test_every_writer_by_a_sampler_trims(paradigm):
    model, prompt = model_of("llama-gqa", paradigm), tokens_of(5, 4)
    best = probe.decode(model, prompt, 6, sampler=Sampler("left_to_right"))
    one = Sampler("left_to_right", temperature=2.0, top_k=1)
    assert torch.equal(probe.decode(model, prompt, 6, sampler=one).tokens, best.tokens)
    loose = Sampler("left_to_right", temperature=2.0)
    assert not torch.equal(probe.decode(model, prompt, 6, sampler=loose).tokens, best.tokens)


def dreams_steps(open_places: int, steps: int) -> list[int]:
    """Dream: times from 1 to 0.001; of n masks the step from t to s writes int(n · (1 - s/t)), the last one all."""
    times = torch.linspace(1, 1e-3, steps + 1)
    written = []
    for i in range(steps):
        left = torch.tensor(float(open_places))
        count = int(left * (1 - times[i + 1] / times[i])) if i < steps - 1 else int(left)
        written.append(count)
        open_places -= count
    return written


def lladas_steps(open_places: int, steps: int) -> list[int]:
    """LLaDA: as many a step as divide evenly, and one more in the first steps where a rest is left."""
    base, rest = divmod(open_places, steps)
    return [base + (i < rest) for i in range(steps)]


@pytest.mark.parametrize(("schedule", "definition"), [("dream", dreams_steps), ("even", lladas_steps)])
@pytest.mark.parametrize("steps", [1, 3, 5, 8])
@pytest.mark.parametrize("order", ["confidence", "margin", "entropy"])
def test_each_step_writes_the_places_that_the_published_samplers_would(schedule, definition, steps, order):
    """Place by place, from the logits of the very pass: the count from the schedule, the places from the scores."""
    model, prompt, length = model_of("llama-gqa", Masked(mask_id=MASK, shift=False)), tokens_of(2, 4), 11
    run = probe.decode(model, prompt, length, sampler=Sampler(order, steps=steps, schedule=schedule))
    counts = definition(length, steps)
    assert len(run) == steps
    for step in range(steps):
        logits = model.logits(run.states[:, step]).float()
        logits[..., MASK] = -torch.inf
        for row in range(2):
            shares = logits[row].softmax(-1)
            is_open = [place for place in range(4, 15) if run.states[row, step, place] == MASK]
            two = shares.topk(2).values
            scores = {
                "confidence": shares.amax(-1),
                "margin": two[:, 0] - two[:, 1],
                "entropy": torch.special.entr(shares).sum(-1).neg(),
            }[order]
            wanted = sorted(is_open, key=lambda place: -float(scores[place]))[: counts[step]]
            assert {p for p in range(15) if run.committed_at[row, p] == step} == set(wanted)
            assert all(run.tokens[row, place] == int(logits[row, place].argmax()) for place in wanted)


def as_llada_does(model, prompt, length, steps, block, guidance):
    """LLaDA's generate, told apart from the original: block by block, a fixed number of transfers a step. Yields the
    state that each pass sees, and what stands after it."""
    x = torch.cat([prompt, torch.full((len(prompt), length), MASK)], 1)
    start, given, blocks = prompt.shape[1], x != MASK, length // block
    for number in range(blocks):
        low, high = start + number * block, start + (number + 1) * block
        counts = [lladas_steps(int((row[low:high] == MASK).sum()), steps // blocks) for row in x]
        for step in range(steps // blocks):
            before, logits = x.clone(), model.logits(x).float()
            if guidance:
                unconditional = model.logits(torch.where(given, MASK, x)).float()
                logits = unconditional + (guidance + 1) * (logits - unconditional)
            logits[..., MASK] = -torch.inf
            best, shares = logits.argmax(-1), logits.softmax(-1)
            for row in range(len(x)):
                scores = shares[row, torch.arange(x.shape[1]), best[row]]
                open_here = [place for place in range(low, high) if x[row, place] == MASK]
                for place in sorted(open_here, key=lambda place: -float(scores[place]))[: counts[row][step]]:
                    x[row, place] = best[row, place]
            yield before, x.clone()


@pytest.mark.parametrize(("steps", "block"), [(12, 12), (5, 12), (6, 4), (9, 4), (4, 6)])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_lladas_schedule_and_guidance_are_lladas(steps, block, guidance):
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK, shift=False)), tokens_of(3, 4)
    rule = Sampler("confidence", steps=steps, block=block, schedule="llada", guidance=guidance)
    run = probe.decode(model, prompt, 12, sampler=rule)
    wanted = list(as_llada_does(model, prompt, 12, steps, block, guidance))
    assert len(run) == len(wanted) == steps
    for step, (before, after) in enumerate(wanted):
        assert torch.equal(run.states[:, step], before)
        assert torch.equal(torch.where(run.written_by_step[:, step] < 0, MASK, run.written_by_step[:, step]), after)
    assert run.slots == run.states.numel() * (2 if guidance else 1)
    plain = probe.decode(model, prompt, 12, sampler=Sampler("confidence", steps=steps, block=block, schedule="llada"))
    assert torch.equal(run.tokens, plain.tokens) == (guidance == 0)


@pytest.mark.parametrize(("steps", "block"), [(5, 12), (6, 4)])
def test_lladas_random_order_writes_exactly_so_many(steps, block):
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK, shift=False)), tokens_of(40, 4)
    run = probe.decode(model, prompt, 12, sampler=Sampler("random", steps=steps, block=block, schedule="llada"))
    blocks = 12 // block
    counts = lladas_steps(block, steps // blocks) * blocks
    assert run.commits.sum(-1).tolist() == [counts] * 40
    first = run.commits[:, 0, 4 : 4 + block].float().mean(0)
    assert (first - counts[0] / block).abs().max() < 0.3  # no place is preferred
    assert run.commits[:, 0].unique(dim=0).shape[0] > 5


@pytest.mark.parametrize("paradigm", [Masked(mask_id=MASK), Block(mask_id=MASK, attention="block:4", shift=False)])
def test_guidance_is_the_same_with_a_cache_and_beside_a_listener(paradigm):
    model, prompt = model_of("llama-gqa", paradigm), tokens_of(3, 5)
    model.backbone.double()
    rule = Sampler("confidence", guidance=2.0, steps=5)
    runs = [
        probe.decode(model, prompt, 9, sampler=rule, passes=passes)
        for passes in (PassOptions(), PassOptions(cache=False), PassOptions(forward=model.run))
    ]
    for run in runs[1:]:
        assert torch.equal(run.states, runs[0].states)
        assert torch.equal(run.tokens, runs[0].tokens)
    assert "guidance 2" in runs[0].sampler
    with probe.edit(model, [probe.zero("mlp_out", layer=0)]), pytest.raises(ProbeError, match="edits"):
        probe.decode(model, prompt, 9, sampler=rule)


def test_guidance_needs_a_prompt_that_can_be_masked():
    with pytest.raises(ProbeError, match="guidance"):
        probe.decode(model_of(), tokens_of(1, 4), 3, sampler=Sampler(guidance=1))
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    with pytest.raises(ProbeError, match="multiple of 3"):
        probe.decode(model, tokens_of(1, 4), 12, sampler=Sampler(steps=4, block=4, schedule="llada"))


def test_dreams_random_order_reveals_its_share():
    model = model_of("llama-gqa", Masked(mask_id=MASK, shift=False))
    run = probe.decode(model, tokens_of(40, 4), 24, sampler=Sampler("random", steps=4, schedule="dream"), seed=1)
    left = 1.0
    for step in range(4):
        share = float((run.committed_at == step).sum()) / (40 * 24)
        assert share == pytest.approx(left * share_at(step, 4), abs=0.05)
        left -= share
    assert left == pytest.approx(0)


@pytest.mark.parametrize("bound", [1e-6, 2.5, 6.0, 1000.0])
def test_a_bound_writes_what_the_published_sampler_accepts(bound):
    """DiffusionGemma's own class on the same logits, and the definition place by place."""
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK, shift=False)), tokens_of(2, 4)
    with torch.no_grad():
        model.backbone.lm_head.weight *= 8  # not all entropies alike
    run = probe.decode(model, prompt, 9, sampler=Sampler("entropy", entropy_bound=bound))
    for step in range(len(run)):
        logits = model.logits(run.states[:, step]).float()
        logits[..., MASK] = -torch.inf
        for row in range(2):
            is_open = [place for place in range(4, 13) if run.states[row, step, place] == MASK]
            written = set(run.commits[row, step].nonzero()[:, 0].tolist())
            if not is_open:
                assert not written
                continue
            entropy = {place: float(torch.special.entr(logits[row, place].softmax(-1)).sum()) for place in is_open}
            ranked = sorted(is_open, key=entropy.__getitem__)
            lower = {place: sum(entropy[other] for other in ranked[:rank]) for rank, place in enumerate(ranked)}
            assert written == {place for place in is_open if lower[place] <= bound}
            published = EntropyBoundSampler(EntropyBoundSamplerConfig(entropy_bound=bound), len(is_open), MASK, 1)
            canvas = torch.zeros(1, len(is_open), dtype=torch.long)
            published.accept_canvas(canvas, canvas + 1, logits[row, is_open].clamp(min=-1e4)[None], 0)
            accepted = published.accepted_token_mask[0].tolist()
            assert written == {place for place, there in zip(is_open, accepted, strict=True) if there}
    assert len(run) == {1e-6: 9, 1000.0: 1}.get(bound, len(run))


def test_an_order_that_is_drawn_follows_the_scores():
    """The place that comes first is drawn from softmax(score / temperature); at a low one it is the best."""
    scores = torch.tensor([[0.9, 0.5, 0.1]]).expand(6000, 3)
    first = drawn_order(scores, 0.4, torch.Generator().manual_seed(0)).argmax(-1)
    found = torch.bincount(first, minlength=3) / 6000
    assert torch.allclose(found, (scores[0] / 0.4).softmax(-1), atol=0.03)
    assert (drawn_order(scores, 1e-3, torch.Generator().manual_seed(0)).argmax(-1) == 0).all()
    assert drawn_order(scores, 0.0, torch.Generator()) is scores
    model, prompt = model_of("llama-gqa", Masked(mask_id=MASK)), tokens_of(3, 4)
    runs = [
        probe.decode(model, prompt, 8, sampler=Sampler(order_temperature=temperature), seed=2)
        for temperature in (0.0, 1e-5, 5.0)
    ]
    assert torch.equal(runs[0].committed_at, runs[1].committed_at)
    assert not torch.equal(runs[0].committed_at, runs[2].committed_at)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"top_p": 0.9}, "temperature"),
        ({"top_p": 1.5, "temperature": 1.0}, "at most 1"),
        ({"top_k": 0, "temperature": 1.0}, "at least 1"),
        ({"schedule": "draem"}, "Did you mean 'dream'"),
        ({"schedule": "dream", "threshold": 0.9}, "threshold"),
        ({"schedule": "dream", "block": 4}, "block"),
        ({"schedule": "llada", "threshold": 0.9}, "no threshold"),
        ({"guidance": -1.0}, "at least 0"),
        ({"order": "random", "order_temperature": 1.0}, "confidence"),
        ({"order": "confidence", "entropy_bound": 0.1}, "the order 'entropy'"),
        ({"order": "entropy", "entropy_bound": 0.1, "steps": 4}, "no steps"),
        ({"order": "entropy", "entropy_bound": -0.1}, "at least 0"),
    ],
)
def test_what_a_sampler_cannot_do_is_refused(wrong, told):
    with pytest.raises(ProbeError, match=told):
        Sampler(**wrong)


def test_a_sampler_says_what_it_is():
    assert str(Sampler(steps=4, schedule="dream", order_temperature=0.1)) == (
        "confidence, steps 4, dream's schedule, order T 0.1"
    )
    assert str(Sampler(temperature=0.8, top_k=5, top_p=0.9)) == "confidence, T 0.8, top_k 5, top_p 0.9"
    model = model_of("llama-gqa", Autoregressive(mask_id=MASK))
    drawn = Sampler(temperature=0.8, top_p=0.9)
    run = probe.decode(model, tokens_of(1, 4), 3, sampler=drawn, passes=PassOptions(cache=False))
    assert run.sampler == "left_to_right, T 0.8, top_p 0.9"


@pytest.mark.parametrize("paradigm", [Autoregressive(mask_id=MASK), Masked(mask_id=MASK, shift=False)])
def test_suppressed_tokens_are_never_written_and_count_for_nothing(paradigm):
    model, prompt = model_of("llama-gqa", paradigm), tokens_of(3, 4)
    free = probe.decode(model, prompt, 6, sampler=Sampler("confidence"))
    often = tuple(Counter(free.tokens[:, 4:].flatten().tolist()))[:3]
    run = probe.decode(model, prompt, 6, sampler=Sampler("confidence", suppress=often))
    assert not torch.isin(run.tokens[:, 4:], torch.tensor(often)).any()
    assert str(often[0]) in run.sampler
    for row in range(3):
        for place in range(4, 10):
            step = int(run.committed_at[row, place])
            state = run.states[row, step]
            shift = int(model.shift)
            logits = model.logits(state[None, : place if shift else None])[0, place - shift].float()
            logits[[MASK, *often]] = -torch.inf
            assert run.tokens[row, place] == int(logits.argmax())
            assert float(run.confidence[row, step, place]) == pytest.approx(float(logits.softmax(-1).max()), abs=1e-5)
    with pytest.raises(ProbeError, match="0 to 47"):
        probe.decode(model, prompt, 6, sampler=Sampler(suppress=(48,)))
