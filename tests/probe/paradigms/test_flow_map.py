"""Flow maps against a flow known in closed form, and the loss that stock backbones learn them by."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.paradigms import Flow, FlowMap
from probe.paradigms.flow_map import LATEST, TARGETS, _View, eulerian, lagrangian, on_simplex, semigroup
from probe.paradigms.paradigm import NO_LABEL
from probe.paradigms.schedule import clock_of
from probe.paradigms.soft import Soft, step
from probe.paradigms.time_embedding import TimeEmbedding
from tests.probe.paradigms.finite_flow import carried, heading, posterior, state, times
from tests.probe.tiny import MASK, VOCABULARY, model_of, tokens_of

SPANS = [(0.1, 0.3, 0.6), (0.0, 0.5, 0.9), (0.4, 0.55, 0.7)]


def flow(z, t):
    return posterior(z, t[:, 0])


def target_of(name, x, s, u, t, denoise):
    if name == "semigroup":
        return semigroup(x, s, u, t, denoise)
    return {"lagrangian": lagrangian, "eulerian": eulerian}[name](x, s, t, denoise, flow)


@pytest.mark.parametrize("span", SPANS)
def test_the_closed_form_is_a_map(span):
    s, u, t = times(*span)
    x = state(span[0])
    assert torch.allclose(carried(carried(x, s, u), u, t), carried(x, s, t), atol=1e-7)
    # Its end moves by the flow's own velocity.
    ahead = carried(x, s, t + 1e-5)
    velocity = (posterior(ahead, t[:, 0]) - ahead) / (1 - t[..., None])
    assert torch.allclose((ahead - carried(x, s, t - 1e-5)) / 2e-5, velocity, atol=2e-3)


@pytest.mark.parametrize("span", SPANS)
def test_a_step_towards_the_closed_forms_heading_arrives_where_the_flow_does(span):
    s, u, t = times(*span)
    x = state(span[0])
    assert torch.equal(step(x, s, s, heading(x, s, s)), x)
    assert torch.allclose(step(x, s, t, heading(x, s, t)), carried(x, s, t), atol=1e-9)
    half_way = step(x, s, u, heading(x, s, u))
    assert torch.allclose(step(half_way, u, t, heading(half_way, u, t)), carried(x, s, t), atol=1e-6)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("name", TARGETS)
def test_each_target_of_the_real_map_is_the_real_map(name, span):
    s, u, t = times(*span)
    x = state(span[0])
    target = target_of(name, x, s, u, t, heading)
    assert torch.allclose(target, heading(x, s, t), atol=1e-4)


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_tells_a_flow_that_stands_in_for_its_map(name):
    """δ_{s,t} = D_s is right where t = s and nowhere else."""
    s, u, t = times(*SPANS[1])
    x = state(SPANS[1][0])

    def standing(z, start, end):
        return posterior(z, start[:, 0])

    assert (target_of(name, x, s, u, t, standing) - standing(x, s, t)).abs().max() > 0.01


@pytest.mark.parametrize("name", TARGETS)
def test_where_a_step_is_none_each_target_is_the_flow(name):
    (s,) = times(0.4)
    x = state(0.4)
    assert torch.allclose(target_of(name, x, s, s, s, heading), posterior(x, s[:, 0]), atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    cuts=st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
)
def test_a_semigroup_target_stays_on_the_simplex(seed, cuts):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(7, 7, generator=generator, dtype=torch.float64)

    def any_denoiser(z, start, end):
        return (3 * z @ mix + start[..., None] - end[..., None]).softmax(-1)

    x = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    s, u, t = (torch.full((2, 3), cut, dtype=torch.float64) for cut in cuts)
    target = semigroup(x, s, u, t, any_denoiser)
    assert torch.isfinite(target).all()
    assert target.min() >= -1e-12
    assert torch.allclose(target.sum(-1), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_sums_to_one_and_leaves_given_places_alone(name):
    """Time stands still at a place that is given, so no derivative is taken through it."""
    s, u, t = times(0.2, 0.4, 0.7)
    s, u, t = (time.clone() for time in (s, u, t))
    for time in (s, u, t):
        time[:, 0] = 1.0
    x = state(0.2)
    x[:, 0] = torch.eye(5, dtype=torch.float64)[0]

    def denoise(z, start, end):
        return (2 * z + z.sum(1, keepdim=True) * start[..., None] - end[..., None] * z.square()).softmax(-1)

    made = {
        "semigroup": lambda: semigroup(x, s, u, t, denoise),
        "lagrangian": lambda: lagrangian(x, s, t, denoise, lambda z, time: denoise(z, time, time)),
        "eulerian": lambda: eulerian(x, s, t, denoise, lambda z, time: denoise(z, time, time)),
    }[name]()
    assert torch.isfinite(made).all()
    assert torch.allclose(made.sum(-1), torch.ones_like(s), atol=1e-9)
    assert torch.equal(step(x, s, t, made)[:, 0], x[:, 0])


def test_a_target_off_the_simplex_is_put_on_it_and_one_on_it_is_left():
    off = torch.tensor([[0.7, 0.5, -0.2], [0.2, 0.3, 0.5]])
    on = on_simplex(off)
    assert on.min() >= 0
    assert torch.allclose(on.sum(-1), torch.ones(2))
    assert torch.allclose(on[1], off[1])


# Stock backbones


def map_of(target="semigroup", *, variant="llama-gqa", teacher=None, seed=0):
    """A tiny model with a map's attachments, whose last layers say something."""
    model = model_of(variant, FlowMap(mask_id=MASK, target=target, teacher=teacher), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name in ("time", "until"):
        embedding = TimeEmbedding.beside(model)
        torch.nn.init.normal_(embedding.write.weight, std=0.2, generator=generator)
        model.attachments[name] = embedding.requires_grad_(False)
    return model


def training_batch_of(model, rows=4, length=8, seed=0):
    return model.paradigm.training_batch(tokens_of(rows, length, seed=seed), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", ["llama-gqa", "gpt2", "qwen3"])
def test_forward_derivatives_go_through_stock_backbones(variant):
    """Against differences, in float64: what jvp says of ∂_s δ and of the state's own part."""
    model = map_of(variant=variant)
    model.backbone.double()
    for module in model.attachments.values():
        module.double()
    batch = training_batch_of(model, rows=2, length=5)
    soft = batch.canvas.soft.map(lambda part: part.double() if part.is_floating_point() else part)
    soft = replace(soft, tau=torch.full_like(soft.tau, 0.4), until=torch.full_like(soft.until, 0.8))
    view = _View(model.paradigm, model, replace(batch, canvas=replace(batch.canvas, soft=soft)))
    towards, h = torch.randn(view.x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64), 1e-4

    def along(e: float):
        return view.denoise(view.x + e * towards, view.s + 0.5 * e, view.t)

    way = (towards, torch.full_like(view.s, 0.5))
    _, exact, *_ = torch.func.jvp(lambda x, s: view.denoise(x, s, view.t), (view.x, view.s), way)
    assert exact.abs().max() > 1e-3
    assert torch.allclose(exact, (along(h) - along(-h)) / (2 * h), atol=2e-3 * exact.abs().max().item())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("taught", [True, False])
def test_a_training_batch_teaches_the_map_and_never_its_teacher(target, taught):
    teacher = model_of("llama-gqa", Flow(mask_id=MASK), seed=3) if taught else None
    model = map_of(target, teacher=teacher)
    with model.trainable():
        loss = model.paradigm.loss(model, training_batch_of(model))
        loss.backward()
        assert torch.isfinite(loss)
        assert loss > 0
        assert model.attachments["until"].write.weight.grad.abs().sum() > 0
        assert model.embedding.weight.grad.abs().sum() > 0
    if teacher is not None:
        assert all(weight.grad is None for weight in teacher.backbone.parameters())


def test_a_map_that_is_its_teacher_everywhere_has_learnt_all_there_is_on_the_diagonal():
    """With a time to go to that is the time where it is, both parts of the loss ask for D alone."""
    model = model_of("llama-gqa", FlowMap(mask_id=MASK, teacher=model_of("llama-gqa", Flow(mask_id=MASK))))
    batch = training_batch_of(model)
    soft = batch.canvas.soft
    at_rest = replace(batch, canvas=replace(batch.canvas, soft=replace(soft, until=soft.tau)))
    assert model.paradigm.loss(model, at_rest).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_training_batches_go_forwards_and_often_to_the_end(target):
    paradigm = FlowMap(mask_id=MASK, target=target)
    batch = paradigm.training_batch(tokens_of(400, 6), torch.Generator().manual_seed(0))
    soft, is_open = batch.canvas.soft, batch.labels != NO_LABEL
    assert (soft.until >= soft.tau).all()
    assert torch.equal(soft.tau >= 1, ~is_open)
    spread = soft.tau.masked_fill(~is_open, torch.nan).nan_to_num(-1).amax(1), soft.tau.masked_fill(~is_open, 2).amin(1)
    whole = is_open.any(1)
    assert torch.equal(spread[0][whole], spread[1][whole])  # all open places stand at one time
    ends = (soft.until >= LATEST[target])[is_open].float().mean()
    assert 0.2 < ends < 0.3
    assert LATEST[target] == 1 if target == "semigroup" else LATEST[target] < 1


class _Overheard:
    """A model's calls: the state z of each, as the backbone got it."""

    def __init__(self, model, monkeypatch):
        self.states: list[torch.Tensor] = []
        run = model.run

        def heard(canvas, **also):
            self.states.append(model.paradigm.state(model, canvas.tokens, canvas.soft).detach())
            return run(canvas, **also)

        monkeypatch.setattr(model, "run", heard)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("to_the_end", [False, True])
def test_no_training_batch_shows_the_true_token_of_an_open_place(target, to_the_end, monkeypatch):
    """Not to the map, and not to its teacher: not even where a step ends at τ = 1."""
    model = map_of(target)
    batch = training_batch_of(model, rows=16)
    is_open = batch.labels != NO_LABEL
    if to_the_end:
        soft = batch.canvas.soft
        batch = replace(batch, canvas=replace(batch.canvas, soft=replace(soft, until=torch.ones_like(soft.until))))
        if target == "eulerian":
            batch.canvas.soft.until[is_open] = LATEST[target]
    heard = _Overheard(model, monkeypatch)
    model.paradigm.loss(model, batch)
    true = torch.nn.functional.one_hot(batch.canvas.tokens, model.vocabulary)
    assert len(heard.states) > 2
    for z in heard.states:
        far = (z - true).abs().amax(-1)
        assert far[is_open].min() > 1e-3
        assert far[~is_open].max() == 0


def test_an_open_place_at_the_end_of_time_keeps_its_own_state():
    tokens, z = tokens_of(1, 3), torch.full((1, 3, VOCABULARY), 1 / VOCABULARY)
    given = torch.tensor([[True, False, False]])
    soft = Soft(torch.ones(1, 3), torch.ones(1, 3), torch.zeros(1, dtype=torch.long), given, z=z)
    mixed = soft.mixed(tokens, VOCABULARY, clock_of(VOCABULARY - 1), MASK)
    assert torch.equal(mixed[:, 1:], z[:, 1:])
    assert torch.equal(mixed[:, 0], torch.nn.functional.one_hot(tokens[:, 0], VOCABULARY).float())


def test_unknown_targets_are_refused():
    with pytest.raises(ProbeError, match="semigroup"):
        FlowMap(target="semigrup")
