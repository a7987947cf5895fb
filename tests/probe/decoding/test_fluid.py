"""FLUID's strides against a slow decoder that follows the definition one row, one stride, one slot at a time."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import probe
from probe.decoding import ELASTIC, PassOptions, Strides
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Autoregressive, Fluid
from probe.paradigms.horizon import new_horizon
from tests.probe.tiny import MASK, model_of, tokens_of

LENGTH = 14


@functools.cache
def writer(variant: str = "llama-gqa") -> Model:
    model = model_of(variant, Fluid(mask_id=MASK))
    model.backbone.double()
    head = new_horizon(model, seed=3)
    with torch.no_grad():
        head.layers[-1].weight.mul_(8)  # so that horizons differ from anchor to anchor
    return model


def slow_strides(model: Model, prompt: list[int], rule: Strides) -> tuple[list[int], list[tuple]]:
    """The text, and of each stride (start, predicted, proposed, accepted, passes)."""
    text, end, strides = list(prompt), len(prompt) + LENGTH, []
    while len(text) < end:
        start, predicted = len(text), 0
        horizon = rule.length
        if rule.length == ELASTIC:
            anchor = model.run_trunk(model.canvas(torch.tensor([text])))[0, -1]
            predicted = int(model.attachments["horizon"](anchor).argmax()) + 1
            horizon = max(predicted, rule.least)
        draft, passes = [MASK] * min(horizon, end - start), 0
        while MASK in draft:
            said = _said(model, text + draft)[start - 1 :]
            passes += 1
            first = draft.index(MASK)
            for slot in [j for j, token in enumerate(draft) if token == MASK]:
                if slot == first or said[slot].max() > rule.threshold:
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
    variant=st.sampled_from(["llama-gqa", "gpt2"]),
    seed=st.integers(0, 999),
)
def test_every_row_is_written_as_by_the_slow_definition(length, threshold, verify, least, variant, seed):
    model, prompt, rule = writer(variant), tokens_of(4, 6, seed=seed), Strides(length, threshold, verify, least)
    run = probe.decode(model, prompt, LENGTH, sampler=rule)
    taken = run.strides
    rejected = 0
    for row in range(4):
        text, strides = slow_strides(model, prompt[row].tolist(), rule)
        assert run.tokens[row].tolist() == text
        mine = taken.example == row
        columns = (taken.start, taken.predicted, taken.proposed, taken.accepted, taken.passes)
        assert list(zip(*(column[mine].tolist() for column in columns), strict=True)) == strides
        assert run.passes[row] == sum(stride[-1] for stride in strides)
        rejected += sum(proposed - accepted for _, _, proposed, accepted, _ in strides)
    assert taken.rejected.sum() == rejected
    assert taken.rejection_rate == pytest.approx(rejected / taken.proposed.sum().item())
    assert run.tokens_per_forward == pytest.approx(4 * LENGTH / run.passes.sum().item())


@pytest.fixture(scope="module")
def shipped() -> Model:
    return probe.load("zoo:fluid", selftest="off")


@pytest.fixture(scope="module")
def prompts(shipped) -> torch.Tensor:
    """Three hundred beginnings of IOI sentences."""
    return probe.task("ioi").examples(shipped, 300).clean[:, :6]


def test_with_verification_the_text_is_that_of_greedy_autoregression_on_three_hundred_prompts(shipped, prompts):
    ar = Model(shipped.backbone, Autoregressive(mask_id=shipped.mask_id))
    expected = probe.decode(ar, prompts, 9)
    new_horizon(shipped)
    rates = []
    for rule in (Strides(4, 0.9), Strides(8, 0.1), Strides(ELASTIC, 0.0)):
        run = probe.decode(shipped, prompts, 9, sampler=rule)
        differ = (run.tokens != expected.tokens).any(1)
        assert not differ.any(), f"{int(differ.sum())} texts of 300 differ"
        rates.append(run.strides.rejection_rate)
    assert max(rates) > 0.05  # there was something to correct
    loose = probe.decode(shipped, prompts, 9, sampler=Strides(8, 0.1, verify=False))
    assert (loose.tokens != expected.tokens).any()


def test_strides_are_told_as_they_end(shipped, prompts):
    told = []
    run = probe.decode(shipped, prompts[:3], 7, sampler=Strides(3), passes=PassOptions(on_stride=told.append))
    for part in ("example", "start", "proposed", "accepted", "passes", "ended_at"):
        assert torch.equal(torch.cat([getattr(each, part) for each in told]), getattr(run.strides, part))
    assert [len(set(each.ended_at.tolist())) for each in told] == [1] * len(told)


def test_elastic_strides_are_the_default_of_a_model_with_a_head_and_refused_without():
    bare, learnt = model_of("llama-gqa", Fluid(mask_id=MASK)), writer()
    assert probe.decode(bare, tokens_of(1, 4), 3).sampler == "strides of 8, γ 0.9, verified"
    assert probe.decode(learnt, tokens_of(1, 4), 3).sampler == "elastic strides, γ 0.9, verified"
    with pytest.raises(ProbeError, match=r"horizon\.safetensors"):
        probe.decode(bare, tokens_of(1, 4), 3, sampler=Strides(ELASTIC))
    with pytest.raises(ProbeError, match="elastic"):
        Strides("elastik")


def test_an_elastic_run_can_be_recorded_while_it_is_made():
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    new_horizon(model, seed=3)
    live = probe.record(model, tokens_of(2, 5), ["resid_post"], decode={"length": 6})
    run = probe.decode(model, tokens_of(2, 5), 6)
    assert live.sizes["step"] == run.forward_passes
    assert (live["tokens"].values == run.states.numpy()).all()
