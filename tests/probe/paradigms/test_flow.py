"""The clock against its published values and another integration; training batches, states and losses against
definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

import probe
from probe.errors import ProbeError
from probe.paradigms import Autoregressive, Flow
from probe.paradigms.flow import antithetic
from probe.paradigms.paradigm import NO_LABEL
from probe.paradigms.schedule import clock_of, tau_of, time_of
from probe.paradigms.soft import Soft, noise, ratio
from probe.paradigms.soft import step as carried
from probe.paradigms.time_embedding import TimeEmbedding, input_scale
from tests.probe.tiny import MASK, VARIANTS, VOCABULARY, model_of, stock_logits, tokens_of

FLOW = Flow(mask_id=MASK)
V = VOCABULARY - 1  # tokens of text

# The clock


@pytest.mark.parametrize(
    ("vocabulary", "published"),
    [(27, (0.3127, 0.6694, 0.7943)), (30_522, (0.7069, 0.8045, 0.8537)), (50_257, (0.7166, 0.8087, 0.8560))],
)
def test_the_published_times(vocabulary, published):
    found = [probe.paradigms.flow.time_of(tau, vocabulary) for tau in (0.05, 0.5, 0.95)]
    assert found == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("vocabulary", [2, 27, 471, 50_257])
@pytest.mark.parametrize("t", [0.02, 0.3, 0.6, 0.75, 0.85])
def test_tau_is_the_share_that_argmax_reads_by_another_integration(vocabulary, t):
    signal = t / (1 - t)
    right, _ = quad(
        lambda z: norm.pdf(z) * np.exp((vocabulary - 1) * norm.logcdf(z + signal)), -12, 12, limit=400, epsabs=1e-12
    )
    assert tau_of(t, vocabulary) == pytest.approx(1 - vocabulary / (vocabulary - 1) * (1 - right), abs=1e-6)


def test_tau_is_the_share_that_argmax_reads_in_a_drawing():
    vocabulary, t = 27, time_of(0.6, 27)
    token = torch.nn.functional.one_hot(torch.zeros(100_000, dtype=torch.long), vocabulary)
    z = (1 - t) * torch.randn(100_000, vocabulary, generator=torch.Generator().manual_seed(0)) + t * token
    error = (z.argmax(-1) != 0).float().mean().item()
    assert 1 - vocabulary / (vocabulary - 1) * error == pytest.approx(0.6, abs=0.006)


@settings(deadline=None, max_examples=100)
@given(vocabulary=st.sampled_from([2, 27, 30_522, 50_257, 1_000_000]), tau=st.floats(0, 1 - 1e-9))
def test_the_clock_is_invertible(vocabulary, tau):
    assert tau_of(time_of(tau, vocabulary), vocabulary) == pytest.approx(tau, abs=1e-9)


@pytest.mark.parametrize("vocabulary", [2, 27, 50_257, 1_000_000])
def test_the_clock_rises_without_overflow_from_0_to_1(vocabulary):
    taus = torch.cat([torch.linspace(0, 1, 2001, dtype=torch.float64), 1 - torch.logspace(-15, -3, 50).double()])
    times = time_of(taus.sort().values, vocabulary)
    assert torch.isfinite(times).all()
    assert (times.diff() > 0).all()
    assert (times[0], times[-1]) == (0, 1)
    assert tau_of(torch.tensor([0.0, 1.0]), vocabulary).tolist() == [0, 1]


def test_the_clock_is_tabulated_once_and_keeps_the_kind_of_what_it_is_asked():
    assert clock_of(27) is clock_of(27)
    assert isinstance(time_of(0.5, 27), float)
    assert time_of(torch.tensor([0.5]), 27).dtype == torch.float32
    assert time_of([0.05, 0.5], 27).tolist() == pytest.approx([0.3127, 0.6694], abs=5e-5)
    assert clock_of(27, even=True).time_of(torch.tensor([0.3])).item() == pytest.approx(0.3)


def test_the_clocks_derivative_is_its_slope():
    t = torch.tensor([0.3, 0.6, 0.8], dtype=torch.float64)
    _, slope, *_ = torch.func.jvp(lambda at: tau_of(at, 471), (t,), (torch.ones_like(t),))
    difference = (tau_of(t + 1e-4, 471) - tau_of(t - 1e-4, 471)) / 2e-4
    assert torch.allclose(slope, difference, rtol=2e-3)


@pytest.mark.parametrize(("tau", "vocabulary", "told"), [(1.5, 27, "0 to 1"), (-0.1, 27, "0 to 1"), (0.5, 1, "2")])
def test_times_and_vocabularies_that_are_none_are_refused(tau, vocabulary, told):
    with pytest.raises(ProbeError, match=told):
        time_of(tau, vocabulary)


# States


def test_a_state_is_the_mixture_it_says():
    tokens, taus = tokens_of(2, 4), torch.tensor([[0.0, 0.3, 0.8, 1.0]]).expand(2, -1)
    soft = Soft(taus, taus, torch.tensor([5, 6]), given=taus >= 1)
    z = soft.mixed(tokens, VOCABULARY, clock_of(V), MASK)
    for row in range(2):
        drawn = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(5 + row))
        drawn[:, MASK] = 0
        for place, tau in enumerate((0.0, 0.3, 0.8, 1.0)):
            t = time_of(tau, V)
            token = torch.eye(VOCABULARY)[tokens[row, place]]
            assert torch.allclose(z[row, place], (1 - t) * drawn[place] + t * token, atol=1e-6)


def test_a_rows_noise_is_its_seeds_whatever_the_batch():
    both = noise(torch.tensor([3, 9]), 5, 7, mask=6)
    assert torch.equal(both[1:], noise(torch.tensor([9]), 5, 7, mask=6))
    assert not torch.equal(both[0], both[1])
    assert (both[..., 6] == 0).all()
    assert (both[..., :6] != 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_given_text_enters_as_in_the_model_it_was_made_from(variant):
    model = model_of(variant, FLOW)
    model.attachments["time"] = TimeEmbedding.beside(model)  # that has learnt nothing yet
    tokens = tokens_of(2, 7)
    everything = torch.ones(1, 7, 7, dtype=torch.bool)
    assert torch.allclose(model.logits(tokens), stock_logits(model.backbone, tokens, everything), atol=1e-5)


def test_what_is_open_is_noise_and_no_mask():
    """The mask's embedding never enters, and neither does the token that a canvas happens to show in its place."""
    model = model_of("llama-gqa", FLOW)
    tokens = tokens_of(2, 7, masked=0.5)
    before = model.logits(tokens)
    model.embedding.weight[MASK] = 7.0
    assert torch.equal(model.logits(tokens), before)
    canvas = model.canvas(tokens)
    other = replace(canvas, tokens=torch.where(tokens == MASK, 3, tokens))
    assert torch.allclose(model.run(canvas), model.run(other), atol=1e-6)


def test_the_input_of_noise_is_as_large_as_a_tokens():
    table = torch.randn(471, 64, generator=torch.Generator().manual_seed(0)) * 0.3
    for t in (0.0, 0.5, 0.9, 1.0):
        t = torch.tensor(t)
        z = (1 - t) * noise(torch.tensor([0]), 64, 471, mask=470)[0] + t * torch.eye(471)[:64]
        entered = input_scale(t, 471) * (z @ table)
        assert entered.std().item() == pytest.approx(0.3, rel=0.15)
    assert input_scale(torch.tensor(1.0), 471) == 1


def test_only_a_flow_sees_noise():
    model = model_of("llama-gqa", Autoregressive(mask_id=MASK))
    canvas = replace(model.canvas(tokens_of(1, 4)), soft=FLOW.still(tokens_of(1, 4)))
    with pytest.raises(ProbeError, match="only a flow can take"):
        model.run(canvas)


@pytest.mark.parametrize("name", ["time", "until"])
def test_a_time_embedding_tells_times_apart_once_it_has_learnt(name):
    embedding = TimeEmbedding(16)
    times = torch.tensor([0.0, 0.01, 0.5, 1.0])
    assert (embedding(times) == 0).all()
    torch.nn.init.normal_(embedding.write.weight, generator=torch.Generator().manual_seed(0))
    said = embedding(times)
    assert torch.cdist(said, said)[0, 1:].min() > 1e-3


# Steps


@settings(deadline=None)
@given(s=st.floats(0, 0.999), part=st.floats(0, 1))
def test_a_step_is_the_papers_euler_step(s, part):
    t = s + part * (1 - s)
    z, d = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start, end = (torch.tensor(time, dtype=torch.float64) for time in (s, t))
    assert torch.allclose(carried(z, start, end, d), z + (t - s) * (d - z) / (1 - s), atol=1e-9)


def test_nothing_over_nothing_is_nothing():
    assert ratio(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0])).tolist() == [0, 0.5]


# Training batches


def training_batch_of(rows=400, length=6, completion=None, flow=FLOW):
    tokens = tokens_of(rows, length)
    return tokens, flow.training_batch(tokens, torch.Generator().manual_seed(0), completion)


def test_antithetic_times_are_uniform_and_even():
    draws = torch.stack([antithetic(8, torch.Generator().manual_seed(seed)) for seed in range(2000)])
    assert draws.mean().item() == pytest.approx(0.5, abs=0.005)
    assert draws.var().item() == pytest.approx(1 / 12, rel=0.02)
    pairs = draws.sort(1).values
    assert torch.allclose(pairs + pairs.flip(1), torch.ones_like(pairs), atol=1e-5)  # τ and 1-τ come together
    assert draws.mean(1).std() < 1e-4  # of eight independent draws it would be 0.1


def test_training_batches_hold_text_given_in_all_the_ways_they_say():
    completion = torch.tensor([4, 5])
    tokens, batch = training_batch_of(2000, completion=completion)
    given_places = batch.canvas.soft.tau >= 1
    prompt = torch.tensor([True] * 4 + [False] * 2)
    assert (given_places == prompt).all(1).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert (~given_places).all(1).float().mean() > 0.3  # nothing, or a time of its own for each place
    assert torch.equal(batch.labels, tokens.masked_fill(given_places, NO_LABEL))
    apart = [row[row < 1].unique().numel() > 1 for row in batch.canvas.soft.tau]
    assert np.mean(apart) == pytest.approx(0.15, abs=0.03)


def test_text_without_a_completion_is_completed_from_anywhere():
    _, batch = training_batch_of(600, length=9)
    given_places = batch.canvas.soft.tau >= 1
    prefixes = given_places.cumprod(1).sum(1) == given_places.sum(1)
    assert set(given_places[prefixes].sum(1).tolist()) >= set(range(9))


def test_cross_entropy_and_squared_error_are_what_they_say():
    model = model_of("llama-gqa", FLOW)
    _, batch = training_batch_of(3)
    batch = replace(batch, weights=torch.rand(batch.weights.shape, generator=torch.Generator().manual_seed(1)))
    logits = model.run(batch.canvas).double()
    places = (batch.labels != NO_LABEL).nonzero().tolist()
    nll = [-logits[r, p].log_softmax(-1)[batch.labels[r, p]] * batch.weights[r, p] for r, p in places]
    assert FLOW.loss(model, batch).item() == pytest.approx(sum(nll).item() / len(nll), abs=1e-5)
    square = [
        (logits[r, p].softmax(-1) - torch.eye(VOCABULARY)[batch.labels[r, p]]).square().sum() * batch.weights[r, p]
        for r, p in places
    ]
    squared = replace(FLOW, error="squared")
    assert squared.loss(model, batch).item() == pytest.approx(sum(square).item() / len(square), abs=1e-5)


def test_without_the_clock_times_are_even_in_t():
    flow = replace(FLOW, clock="t")
    tokens = tokens_of(1, 3)
    soft = Soft(torch.full((1, 3), 0.4), torch.ones(1, 3), torch.tensor([0]), torch.zeros(1, 3, dtype=torch.bool))
    z = flow.state(model_of("llama-gqa", flow), tokens, soft)
    drawn = noise(torch.tensor([0]), 3, VOCABULARY, MASK)
    assert torch.allclose(z, 0.6 * drawn + 0.4 * torch.nn.functional.one_hot(tokens, VOCABULARY), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"error": "mse"}, {"clock": "tua"}, {"shift": True}])
def test_what_a_flow_is_not_is_refused(wrong):
    with pytest.raises(ProbeError):
        Flow(mask_id=MASK, **wrong)
