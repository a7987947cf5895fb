"""Readings by name, the knobs they have, and what a ratio of masks promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import probe
from probe.errors import AttentionError, ProbeError, TaskError
from probe.readings import AR, READINGS, Noise, OneMask, Prefix, Ratio, TrajectoryReading, named
from tests.probe.readings.asking import MASK, batch_of, model_of
from tests.probe.readings.handmade import batch_of as text_batch


def test_names():
    assert list(READINGS) == ["ar", "prefix", "one_mask", "ratio", "trajectory", "noise"]
    assert [type(named(name)) for name in READINGS] == [AR, Prefix, OneMask, Ratio, TrajectoryReading, Noise]
    assert named("ratio", rate=0.25) == Ratio(rate=0.25)
    assert named(Ratio(draws=9)) == Ratio(draws=9)
    assert named(Ratio(draws=9), rate=0.25) == Ratio(rate=0.25, draws=9)
    assert probe.readings.named is named
    assert [str(named(name)) for name in READINGS] == [
        "ar(attention=causal)",
        "prefix",
        "one_mask",
        "ratio(rate=0.5, draws=8, over=text, seed=0)",
        "trajectory(seed=0, aggregate=commit)",
        "noise(tau=0.5, draws=8, over=text, answer=open, seed=0)",
    ]


@pytest.mark.parametrize(
    ("reading", "knobs", "said"),
    [
        ("prefx", {}, "Did you mean 'prefix'"),
        (None, {}, "reading None"),
        (["prefix"], {}, "one of ar, prefix"),
        ("ratio", {"rat": 0.5}, "Did you mean 'rate'"),
        (Prefix(), {"rate": 0.5}, "a knob it has"),
    ],
)
def test_mistyped_names(reading, knobs, said):
    with pytest.raises(ProbeError, match=said):
        named(reading, **knobs)


@pytest.mark.parametrize(
    "knobs", [{"rate": 1.5}, {"rate": -0.1}, {"rate": float("nan")}, {"draws": 0}, {"over": "all"}]
)
def test_bad_ratios(knobs):
    with pytest.raises(ProbeError, match="a rate from 0 to 1, at least 1 draw, over 'text' or 'completion'"):
        Ratio(**knobs)


def test_a_canvas_must_hold_the_answer():
    batch, model = batch_of("sudoku"), model_of("masked")
    reach = int(batch.positions["answer"].max()) + 1 - int(batch.positions["completion"].min())
    for length in (reach - 1, 0, -3):
        with pytest.raises(ProbeError, match=f"at least {reach}"):
            Prefix(canvas_length=length).ask(model, batch)
    start = int(batch.positions["completion"].min())
    for length in (reach, 8, 16):
        canvas = Prefix(canvas_length=length).canvas(model, batch)
        assert canvas.slots == start + length
        assert (canvas.tokens[:, start + reach - 1 :] == MASK).all()


def test_completions_at_different_places_have_no_canvas_of_one_length():
    tokens = 20 + torch.arange(24).view(2, 12)
    batch = text_batch(tokens, torch.tensor([[6], [7]]), 6, 2)
    batch.positions["completion"] = torch.tensor([[6, 7], [7, 8]])
    for asking in (Prefix(), TrajectoryReading()):
        with pytest.raises(TaskError, match="start at the same position"):
            asking.ask(model_of("masked"), batch)
    assert torch.equal(OneMask().ask(model_of("masked"), batch).slots, torch.tensor([[5], [6]]))


def test_another_attention():
    model, batch = model_of("masked"), batch_of("sudoku")
    causal = Prefix(attention="causal")
    assert torch.allclose(causal.logits(model, batch), AR().logits(model, batch), atol=1e-5)
    assert not torch.allclose(causal.logits(model, batch), Prefix().logits(model, batch), atol=1e-3)
    with pytest.raises(AttentionError, match="one of causal"):
        Prefix(attention="cusal").ask(model, batch)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(0, 1),
    st.integers(1, 4),
    st.integers(0, 2**40),
    st.sampled_from(["text", "completion"]),
    st.sampled_from(["sudoku", "infilling in place", "countdown"]),
)
def test_what_a_ratio_promises(rate, draws, seed, over, question):
    batch, model = batch_of(question, 5), model_of("masked")
    asking = Ratio(rate=rate, draws=draws, over=over, seed=seed)
    view = asking.view(model, batch)
    answer = batch.positions["answer"][view.example]
    assert view.hidden.gather(1, answer).all()
    assert not view.hidden[:, 0].any()
    among = torch.ones_like(view.hidden)
    if over == "completion":
        among = torch.zeros_like(view.hidden).scatter_(1, batch.positions["completion"][view.example], True)
        assert not (view.hidden & ~among).any()
    among[:, 0] = False
    assert torch.allclose(view.ratio, view.hidden.sum(1) / among.sum(1))
    assert list(zip(view.step.tolist(), view.example.tolist(), strict=True)) == [
        (draw, example) for draw in range(draws) for example in range(5)
    ]
    # An example has its masks in whatever batch it is.
    chosen = torch.tensor([3, 1])
    alone = asking.view(model, batch[chosen])
    assert torch.equal(alone.hidden.view(draws, 2, -1), view.hidden.view(draws, 5, -1)[:, chosen])
    assert torch.equal(asking.view(model, batch).hidden, view.hidden)


def test_the_rate_of_a_ratio_is_its_rate():
    batch, model = batch_of("countdown", 40), model_of("masked")
    for rate in (0.25, 0.5, 0.75):
        view = Ratio(rate=rate, draws=20).view(model, batch)
        answers = 1 / (batch.clean.shape[1] - 1)
        # 40 examples of 20 draws of 13 places: a standard deviation of 0.005 at most.
        assert abs(view.ratio.mean().item() - (answers + (1 - answers) * rate)) < 0.02
        assert view.ratio.std() > 0.05
    one, two = (Ratio(draws=1, seed=seed).view(model, batch).hidden for seed in (0, 1))
    assert not torch.equal(one, two)
    assert not torch.equal(one[0], one[1])


def test_a_batch_on_its_device_is_asked_alike():
    """Batches move with `to`; views stay where they are made."""
    batch, model = batch_of("sudoku"), model_of("masked")
    for asking in (AR(), Prefix(), OneMask(), Ratio(draws=2), TrajectoryReading()):
        assert torch.equal(asking.logits(model, batch.to(model.device)), asking.logits(model, batch))
