"""Writing with flows: every step by its formula, and where it arrives by the closed form."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.decoding import Flowing, PassOptions, Sampler
from probe.decoding.places import GIVEN
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Flow, FlowMap
from probe.paradigms.schedule import time_of
from probe.paradigms.soft import noise
from tests.probe.paradigms.finite_flow import TEXTS, carried, heading, posterior
from tests.probe.tiny import MASK, backbone_of, model_of, tokens_of

LENGTH, TOKENS = TEXTS.shape[1], 6  # five tokens, and a sign for what is open
OPEN = TOKENS - 1


def finite(paradigm) -> tuple[Model, list]:
    """A model whose answers are the closed form's, and what it was asked."""
    model, asked = Model(backbone_of("llama", vocab_size=TOKENS), paradigm), []

    def answer(canvas):
        soft, clock = canvas.soft, paradigm.clock_of(model)
        s, t = (clock.time_of(time.double()) for time in (soft.tau, soft.until))
        z = soft.z[..., :OPEN].double()
        asked.append((z, s, t))
        # At t = 1 the closed form is read a little before its end, where the text stands fast.
        to = t.clamp(max=0.97)
        found = heading(z, s, to) if paradigm.name == "flow_map" else posterior(z, s[:, 0])
        none = torch.zeros(*found.shape[:2], 1, dtype=found.dtype)
        return torch.cat([found, none], -1).clamp(min=1e-30).log()

    return model, [answer, asked]


def written(paradigm, steps: int, rows: int = 6):
    model, (answer, asked) = finite(paradigm)
    prompt = torch.empty(rows, 0, dtype=torch.long)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model, "checked", lambda tokens: tokens)  # nothing is given here, not even a first token
        run = probe.decode(
            model, prompt, LENGTH, sampler=Flowing(steps, keep=True), seed=3, passes=PassOptions(forward=answer)
        )
    return run, asked


def exact(z, tau: float):
    start, end = torch.zeros(len(z), LENGTH, dtype=torch.float64), torch.full((len(z), LENGTH), time_of(tau, OPEN))
    return carried(z, start, end.double())


def test_a_flow_map_arrives_where_the_flow_does_in_any_number_of_steps():
    for steps in (2, 4, 8):
        run, _ = written(FlowMap(mask_id=OPEN), steps)
        begin = run.z[:, 0, :, :OPEN].double()
        for step in range(1, steps):
            z = run.z[:, step, :, :OPEN].double()
            assert torch.allclose(z, exact(begin, step / steps), atol=1e-4)


def test_eulers_steps_come_to_the_closed_form_as_they_shrink():
    """Its error halves with the step; taking that into account leaves nothing of it."""
    ends = {}
    for steps in (64, 128, 256):
        run, _ = written(Flow(mask_id=OPEN), steps, rows=4)
        begin, ends[steps] = run.z[:, 0, :, :OPEN].double(), run.z[:, steps // 2, :, :OPEN].double()
    truth = exact(begin, 0.5)
    off = [(end - truth).abs().max().item() for end in ends.values()]
    assert off[0] / off[1] == pytest.approx(2, rel=0.15)
    assert off[1] / off[2] == pytest.approx(2, rel=0.1)
    third = (8 * ends[256] - 6 * ends[128] + ends[64]) / 3  # Richardson's extrapolation
    assert torch.allclose(third, truth, atol=1e-4)


def test_one_step_writes_what_the_whole_way_writes():
    one, _ = written(FlowMap(mask_id=OPEN), 1, rows=40)
    many, _ = written(Flow(mask_id=OPEN), 200, rows=40)
    assert (one.tokens == many.tokens).all(1).float().mean() > 0.9  # apart from noise that lies between two texts
    texts = set(map(tuple, TEXTS.tolist()))
    assert all(tuple(row) in texts for row in many.tokens.tolist())


MODELS = {"flow": model_of("llama-gqa", Flow(mask_id=MASK)), "flow map": model_of("llama-gqa", FlowMap(mask_id=MASK))}
PROMPT = tokens_of(2, 5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_trajectory_tells_truly_how_the_text_came_about(name, steps):
    told = []
    run = probe.decode(
        MODELS[name], PROMPT, 4, steps=steps, passes=PassOptions(on_step=lambda *step: told.append(step)), seed=2
    )
    assert torch.equal(run.tokens[:, :5], PROMPT)
    assert not (run.tokens == MASK).any()
    assert (run.committed_at[:, :5] == GIVEN).all()
    assert len(run) == run.forward_passes == len(told) == steps
    assert run.tau.tolist() == pytest.approx([step / steps for step in range(steps)])
    assert torch.allclose(run.t, time_of(run.tau, MODELS[name].vocabulary - 1))
    assert run.confidence[:, :, 5:].isfinite().all()
    assert run.confidence[:, :, :5].isnan().all()
    assert torch.equal(run.states[:, :, :5], PROMPT[:, None].expand(-1, steps, -1))
    shown = torch.stack([state for _, state, _ in told], 1)  # after each pass
    assert torch.equal(shown[:, -1], run.tokens)
    for row, place in torch.cartesian_prod(torch.arange(2), torch.arange(5, 9)).tolist():
        at = int(run.committed_at[row, place])
        assert (shown[row, at:, place] == run.tokens[row, place]).all()
        assert at == 0 or shown[row, at - 1, place] != run.tokens[row, place]


def test_each_step_is_the_formula():
    model = MODELS["flow"]
    seen = []

    def forward(canvas):
        logits = model.run(canvas)
        seen.append((canvas.soft, logits))
        return logits

    run = probe.decode(model, PROMPT, 4, sampler=Flowing(3, keep=True), seed=2, passes=PassOptions(forward=forward))
    clock = model.paradigm.clock_of(model)
    for step in range(2):
        z, ahead = run.z[:, step, 5:], run.z[:, step + 1, 5:]
        s, t = clock.time_of(run.tau[step]), clock.time_of(run.tau[step + 1])
        logits = seen[step][1][:, 5:].clone()
        logits[..., MASK] = -torch.inf
        assert torch.allclose(ahead, z + (t - s) * (logits.softmax(-1) - z) / (1 - s), atol=1e-5)
        assert (seen[step][0].tau[:, :5] == 1).all()
        assert torch.equal(run.states[:, step, 5:], z.argmax(-1))
    given = torch.nn.functional.one_hot(PROMPT, model.vocabulary).float()
    assert torch.equal(run.z[:, :, :5], given[:, None].expand(-1, 3, -1, -1))


def test_the_same_seed_writes_the_same_and_rows_begin_from_noise_of_their_own():
    model = MODELS["flow"]
    runs = [probe.decode(model, PROMPT[:1].expand(3, -1), 6, steps=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(runs[0].states, runs[1].states)
    assert not torch.equal(runs[0].states, runs[2].states)
    assert not torch.equal(runs[0].states[0], runs[0].states[1])


def test_blanks_within_a_prompt_are_filled_and_the_rest_is_held():
    model = MODELS["flow"]
    prompt = PROMPT.clone()
    prompt[:, 2] = MASK
    run = probe.decode(model, prompt, 1, steps=2)
    assert not (run.tokens == MASK).any()
    held = [0, 1, 3, 4]
    assert torch.equal(run.tokens[:, held], PROMPT[:, held])
    assert (run.committed_at[:, 2] >= 0).all()


def test_a_prompt_without_a_batch_has_a_trajectory_without_one():
    run = probe.decode(MODELS["flow"], PROMPT[0], 2, sampler=Flowing(2, keep=True))
    assert run.tokens.shape == (7,)
    assert run.z.shape == (2, 7, MODELS["flow"].vocabulary)


def test_noise_begins_a_run():
    run = probe.decode(MODELS["flow"], PROMPT, 3, sampler=Flowing(1, keep=True), seed=4)
    draw = torch.randint(1 << 62, (2,), generator=torch.Generator().manual_seed(4))
    assert torch.equal(run.z[:, 0, 5:], noise(draw, 8, MODELS["flow"].vocabulary, MASK)[:, 5:])


@pytest.mark.parametrize("wrong", [{"sampler": "confidence"}, {"sampler": Sampler()}])
def test_a_flow_has_no_order(wrong):
    with pytest.raises(ProbeError, match="Flowing"):
        probe.decode(MODELS["flow"], PROMPT, 2, **wrong)


def test_flowing_is_a_flows():
    from probe.paradigms import Masked

    with pytest.raises(ProbeError, match="flows do"):
        probe.decode(model_of("llama-gqa", Masked(mask_id=MASK)), PROMPT, 2, sampler=Flowing(2))
    with pytest.raises(ProbeError, match="at least 1"):
        Flowing(0)
