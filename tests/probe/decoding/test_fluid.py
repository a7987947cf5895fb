"""FLUID's strides against slow decoders that follow the definition one row, one stride, one slot at a time."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import probe
from probe.decoding import ELASTIC, PassOptions, Strides
from probe.decoding.places import UNWRITTEN
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Autoregressive, Fluid
from probe.paradigms.horizon import new_horizon
from tests.probe.tiny import MASK, backbone_of, model_of, tokens_of

LENGTH = 14


@functools.cache
def writer(variant: str = "llama-gqa") -> Model:
    model = model_of(variant, Fluid(mask_id=MASK))
    model.backbone.double()
    head = new_horizon(model, seed=3)
    with torch.no_grad():
        head.layers[-1].weight.mul_(8)  # so that horizons differ from anchor to anchor
    return model


def horizon_of(model: Model, text: list[int], rule: Strides) -> tuple[int, int]:
    """What the head says behind a text (0 where strides are fixed), and how long the stride is."""
    if rule.length != ELASTIC:
        return 0, int(rule.length)
    anchor = model.run_trunk(model.canvas(torch.tensor([text])))[0, -1]
    predicted = int(model.attachments["horizon"](anchor).argmax()) + 1
    return predicted, max(predicted, rule.least)


def slow_strides(model: Model, prompt: list[int], rule: Strides) -> tuple[list[int], list[tuple]]:
    """The text, and of each stride (start, predicted, proposed, accepted, passes)."""
    if rule.overlaps:
        return slow_overlapped(model, prompt, rule)
    text, end, strides = list(prompt), len(prompt) + LENGTH, []
    while len(text) < end:
        start = len(text)
        predicted, horizon = horizon_of(model, text, rule)
        draft, passes = [MASK] * min(horizon, end - start), 0
        while MASK in draft:
            said = _said(model, text + draft)[start - 1 :]
            passes += 1
            first = draft.index(MASK)
            for slot in [j for j, token in enumerate(draft) if token == MASK]:
                if slot == first or said[slot].max() > rule.gamma:
                    draft[slot] = int(said[slot].argmax())
        accepted, causal = len(draft), []
        if rule.verify:
            causal = _said(model, text + draft)[start - 1 :].argmax(-1).tolist()
            passes += 1
            wrong = [slot for slot, token in enumerate(draft) if token != causal[slot]]
            if wrong:
                accepted = wrong[0]
        strides.append((start, predicted, len(draft), accepted, passes))
        text += draft[:accepted] + ([causal[accepted]] if accepted < len(draft) else [])
    return text, strides


def slow_overlapped(model: Model, prompt: list[int], rule: Strides) -> tuple[list[int], list[tuple]]:
    """The same where a pass checks a stride and drafts the next: every draft from masks behind the text alone."""
    text, end, strides = list(prompt), len(prompt) + LENGTH, []
    drafts: list[int] = []
    predicted = 0
    while len(text) < end:
        causal = _said(model, text + drafts)[len(text) - 1 :].argmax(-1).tolist()
        right = 0
        while right < len(drafts) and drafts[right] == causal[right]:
            right += 1
        done = len(text) + right == end
        if len(text) > len(prompt):
            strides.append((len(text) - 1, predicted, len(drafts) + 1, right + 1, 2 if done else 1))
        text += drafts[:right]
        if done:
            break
        predicted, horizon = horizon_of(model, text, rule)
        masks = [MASK] * min(horizon - 1, end - len(text) - 1)
        ahead = _said(model, text + masks)[len(text) : len(text) + len(masks)]
        text.append(causal[right])
        sure = [bool(of_slot.max() > rule.gamma) for of_slot in ahead]
        drafts = ahead[: [*sure, False].index(False)].argmax(-1).tolist()
        if len(text) == end:
            strides.append((end - 1, predicted, 1, 1, 1))
    return text, strides


def _said(model: Model, text: list[int]) -> torch.Tensor:
    logits = model.logits(torch.tensor([text]))[0].float()
    logits[:, MASK] = -torch.inf
    return logits.softmax(-1)


@settings(deadline=None, max_examples=25)
@given(
    length=st.sampled_from([1, 2, 4, 16, ELASTIC, ELASTIC]),
    threshold=st.sampled_from([0.0, 0.03, 0.1, 0.4, 1.0]),
    verify=st.booleans(),
    least=st.sampled_from([1, 4]),
    overlap=st.booleans(),
    variant=st.sampled_from(["llama-gqa", "gpt2"]),
    seed=st.integers(0, 999),
)
def test_every_row_is_written_as_by_the_slow_definition(length, threshold, verify, least, overlap, variant, seed):
    model, prompt = writer(variant), tokens_of(3, 6, seed=seed)
    rule = Strides(length, threshold, verify, least, overlap)
    run = probe.decode(model, prompt, LENGTH, sampler=rule)
    taken, expected = run.strides, []
    for row in range(3):
        text, strides = slow_strides(model, prompt[row].tolist(), rule)
        expected.append(strides)
        assert run.tokens[row].tolist() == text
        mine = taken.example == row
        columns = (taken.start, taken.predicted, taken.proposed, taken.accepted, taken.passes)
        assert list(zip(*(column[mine].tolist() for column in columns), strict=True)) == strides
        assert run.passes[row] == sum(stride[-1] for stride in strides)
        if rule.overlaps:
            assert run.passes[row] <= LENGTH
            assert sum(stride[3] for stride in strides) == LENGTH
    rejected = sum(stride[2] - stride[3] for strides in expected for stride in strides)
    assert taken.rejected.sum() == rejected
    assert taken.rejection_rate == pytest.approx(rejected / taken.proposed.sum().item())
    assert run.tokens_per_forward == pytest.approx(3 * LENGTH / run.passes.sum().item())


@contextmanager
def listening(model: Model, hear: Callable) -> Iterator[None]:
    """Hears every canvas that the backbone is shown, without being one for whom runs show whole states."""
    run_trunk = model.run_trunk

    def heard(canvas, **also):
        hear(canvas)
        return run_trunk(canvas, **also)

    model.run_trunk = heard
    try:
        yield
    finally:
        del model.run_trunk


@pytest.fixture(scope="module")
def shipped() -> Model:
    return probe.load("zoo:fluid", selftest="off")


@pytest.fixture(scope="module")
def prompts(shipped) -> torch.Tensor:
    """Forty beginnings of IOI sentences. `python tests/benchmarks/fluid.py` asks a thousand of every kind."""
    return probe.task("ioi").examples(shipped, 40).clean[:, :6]


@pytest.fixture(scope="module")
def greedy(shipped, prompts) -> torch.Tensor:
    return probe.decode(Model(shipped.backbone, Autoregressive(mask_id=shipped.mask_id)), prompts, 9).tokens


@pytest.mark.parametrize("cache", [None, False])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("overlap", [False, True])
def test_with_verification_the_text_is_that_of_greedy_autoregression(shipped, prompts, greedy, overlap, alone, cache):
    rates = []
    rows = [slice(i, i + 1) for i in range(4)] if alone else [slice(None)]
    for rule in (Strides(4, 0.9), Strides(8, 0.1), Strides(8), Strides(ELASTIC, 0.0), Strides(ELASTIC, least=4)):
        for part in rows:
            run = probe.decode(
                shipped, prompts[part], 9, sampler=replace(rule, overlap=overlap), passes=PassOptions(cache=cache)
            )
            assert torch.equal(run.tokens, greedy[part])
            rates.append(run.strides.rejection_rate)
            if overlap:
                assert run.passes.max() <= 9
    assert max(rates) > 0.05  # there was something to correct


def test_without_verification_it_is_not(shipped, prompts, greedy):
    loose = probe.decode(shipped, prompts, 9, sampler=Strides(8, 0.1, verify=False))
    assert (loose.tokens != greedy).any()


@pytest.mark.parametrize("name", ["countdown", "sudoku"])
def test_a_check_that_drafts_takes_fewer_passes_than_one_that_does_not(shipped, name):
    """The figures in docs/writing.md are those of `python tests/benchmarks/fluid.py`."""
    batch = probe.task(name).examples(shipped, 60)
    start = int(batch.positions["completion"].min())
    prompt, length = batch.clean[:, :start], batch.clean.shape[1] - start
    apart = probe.decode(shipped, prompt, length, sampler=Strides(8, overlap=False))
    run = probe.decode(shipped, prompt, length, sampler=Strides(8))
    assert torch.equal(run.tokens, apart.tokens)
    assert run.tokens_per_forward > 1.4 * apart.tokens_per_forward > 1.4


def test_passes_and_slots_are_counted_as_they_are_made(shipped, prompts):
    made = []
    with listening(shipped, lambda canvas: made.append(canvas.tokens.numel())):
        run = probe.decode(shipped, prompts[:3], 7, sampler=Strides(4))
    assert run.forward_passes == len(made) == run.states.shape[1]
    assert run.slots == sum(made)
    assert made[0] == 3 * (6 + 3)  # the prompt, and a block of three masks behind its last word
    assert run.forward_passes == run.passes.max()


def test_a_trajectory_has_every_draft_that_was_kept_and_every_one_that_was_not(shipped, prompts):
    for overlap in (True, False):
        run = probe.decode(shipped, prompts[:8], 9, sampler=Strides(4, 0.1, overlap=overlap))
        taken = run.strides
        for row in range(len(taken)):
            example, start, proposed, accepted = (
                int(part[row]) for part in (taken.example, taken.start, taken.proposed, taken.accepted)
            )
            drafted, text = taken.drafted[row].tolist(), run.tokens[example, start:].tolist()
            assert drafted[:accepted] == text[:accepted]
            assert drafted[accepted:proposed] == [] or drafted[accepted] != text[accepted]
            assert UNWRITTEN not in drafted[:proposed]
            assert set(drafted[proposed:]) <= {UNWRITTEN}
            assert taken.kept[row].tolist() == drafted[:accepted] + [UNWRITTEN] * (len(drafted) - accepted)
        assert taken.rejected.sum() > 0


def test_strides_are_told_as_they_end(shipped, prompts):
    told = []
    run = probe.decode(shipped, prompts[:3], 7, sampler=Strides(3), passes=PassOptions(on_stride=told.append))
    for part in ("example", "start", "proposed", "accepted", "passes", "ended_at"):
        assert torch.equal(torch.cat([getattr(each, part) for each in told]), getattr(run.strides, part))
    assert [len(set(each.ended_at.tolist())) for each in told] == [1] * len(told)
    assert torch.equal(torch.cat([each.drafted for each in told]), run.strides.drafted)


def test_elastic_strides_are_the_default_of_a_model_with_a_head_and_refused_without():
    bare, learnt = model_of("llama-gqa", Fluid(mask_id=MASK)), writer()
    assert probe.decode(bare, tokens_of(1, 4), 3).sampler == "strides of 8, verified as the next is drafted"
    assert probe.decode(learnt, tokens_of(1, 4), 3).sampler == "elastic strides from 4, verified as the next is drafted"
    apart = Strides(overlap=False)
    assert probe.decode(bare, tokens_of(1, 4), 3, sampler=apart).sampler == "strides of 8, γ 0.9, verified"
    with pytest.raises(ProbeError, match=r"horizon\.safetensors"):
        probe.decode(bare, tokens_of(1, 4), 3, sampler=Strides(ELASTIC))
    with pytest.raises(ProbeError, match="elastic"):
        Strides("elastik")


def test_an_elastic_run_can_be_recorded_while_it_is_made():
    """Every pass that is recorded shows one text, so each check has its own."""
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    new_horizon(model, seed=3)
    live = probe.record(model, tokens_of(2, 5), ["resid_post"], decode={"length": 6})
    run = probe.decode(model, tokens_of(2, 5), 6, sampler=Strides(ELASTIC, least=4, overlap=False))
    assert torch.equal(run.tokens, probe.decode(model, tokens_of(2, 5), 6).tokens)
    assert live.sizes["step"] == run.forward_passes
    assert (live["tokens"].values == run.states.numpy()).all()


# At a temperature


@functools.cache
def small_writer() -> Model:
    """Of six words, and sure of little: every text of three tokens is written now and then."""
    model = Model(backbone_of("llama", vocab_size=6), Fluid(mask_id=5))
    with torch.no_grad():
        model.embedding.weight.mul_(12)
    return model


def ar_distribution(model: Model, prompt: list[int], length: int, temperature: float) -> dict[tuple[int, ...], float]:
    """The probability of every text of autoregression, by multiplying along it."""
    found = {}
    for text in product(range(5), repeat=length):
        logits = model.logits(torch.tensor([[*prompt, *text]]))[0, len(prompt) - 1 : -1].float()
        logits[:, 5] = -torch.inf
        shares = (logits / temperature).softmax(-1)
        found[text] = float(shares[torch.arange(length), list(text)].prod())
    return found


@pytest.mark.parametrize("rule", [Strides(3, temperature=0.7), Strides(3, 0.35, temperature=1.3)], ids=str)
def test_draws_have_the_distribution_of_autoregression(rule):
    """Chi-square over all 125 texts of three tokens; the drafts' own distribution would fail it by far."""
    from scipy.stats import chisquare

    model, prompt, n = small_writer(), [1, 3], 6000
    expected = ar_distribution(model, prompt, 3, rule.temperature)
    run = probe.decode(model, torch.tensor([prompt]).expand(n, -1), 3, sampler=rule, seed=1)
    taken = run.strides
    assert 0.02 < taken.rejection_rate < 0.8
    assert run.tokens_per_forward > 1
    drawn = Counter(map(tuple, run.tokens[:, 2:].tolist()))
    assert sum(expected.values()) == pytest.approx(1)
    common = [text for text, share in expected.items() if n * share >= 5]
    counts = [drawn[text] for text in common]
    wanted = [n * expected[text] for text in common]
    counts, wanted = [*counts, n - sum(counts)], [*wanted, n - sum(wanted)]
    assert chisquare(counts, wanted).pvalue > 0.001
    # A test that could tell: as many draws from the distribution of another temperature do not pass.
    other = ar_distribution(model, prompt, 3, rule.temperature * 1.4)
    others = [n * other[text] for text in common]
    assert chisquare(counts, [*others, n - sum(others)]).pvalue < 0.001


def test_draws_are_repeated_by_their_seed_and_refused_where_nothing_is_checked():
    model, prompt = small_writer(), torch.tensor([[1, 3]] * 20)
    rule = Strides(4, temperature=1.0)
    runs = [probe.decode(model, prompt, 5, sampler=rule, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(runs[0].tokens, runs[1].tokens)
    assert not torch.equal(runs[0].tokens, runs[2].tokens)
    assert str(rule) == "strides of 4, verified as the next is drafted, T 1"
    for wrong in ({"verify": False}, {"overlap": False}):
        with pytest.raises(ProbeError, match="temperature"):
            Strides(4, temperature=1.0, **wrong)
    with pytest.raises(ProbeError, match="drafts the next ones"):
        probe.decode(model, prompt, 5, sampler=rule, passes=PassOptions(forward=model.run))
