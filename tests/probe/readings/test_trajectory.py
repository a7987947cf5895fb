"""The trajectory reading: the states of a run, and the rules that make one figure of its steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.decoding import Sampler, Strides, decode
from probe.errors import ProbeError
from probe.readings import TrajectoryReading, View, aggregated, view_of
from tests.probe.readings.asking import MASK, batch_of, model_of

SAMPLERS = ["confidence", Sampler("random", steps=3), Sampler("entropy", threshold=0.02), "left_to_right"]


@pytest.mark.parametrize("kind", ["masked", "masked, no shift", "block, no shift", "masks last"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("question", ["ioi", "countdown", "sudoku"])
def test_the_states_of_a_run_are_asked_while_the_answer_is_open(question, sampler, kind):
    model, batch = model_of(kind), batch_of(question)
    start = int(batch.positions["completion"].min())
    length = batch.clean.shape[1] - start
    run = decode(model, batch.clean[:, :start], length, sampler=sampler, seed=3)
    asking = TrajectoryReading(sampler=sampler, seed=3)
    view = asking.view(model, batch)

    committed = run.committed_at.gather(1, batch.positions["answer"])[:, 0].tolist()
    wanted = [
        (step, example) for step in range(len(run)) for example in range(len(batch)) if step <= committed[example]
    ]
    assert list(zip(view.step.tolist(), view.example.tolist(), strict=True)) == wanted

    clean, corrupt = (asking.ask(model, batch, which, view).canvas.tokens for which in ("clean", "corrupt"))
    assert torch.equal(clean, run.states[view.example, view.step]), "what the model saw, exactly"
    assert torch.equal(clean == MASK, corrupt == MASK)
    assert torch.equal(clean[:, start:], corrupt[:, start:]), "what was written stands in both"
    assert torch.equal(corrupt[:, :start], batch.corrupt[view.example, :start])
    assert torch.allclose(view.ratio, (clean == MASK).float().mean(1))
    assert torch.equal(view_of(run, model, batch).hidden, view.hidden), "a run that exists is not made again"


@pytest.mark.parametrize("kind", ["ar", "ar without a mask"])
def test_an_autoregressive_model_is_asked_for_the_next_token_only(kind):
    model, batch = model_of(kind), batch_of("sudoku", 6)
    start = int(batch.positions["completion"].min())
    view = TrajectoryReading().view(model, batch)
    asked = dict(zip(view.example.tolist(), view.step.tolist(), strict=True))
    assert len(view.example) == len(batch)
    assert asked == {i: int(at) - start for i, at in enumerate(batch.positions["answer"][:, 0])}
    run = decode(model, batch.clean[:, :start], batch.clean.shape[1] - start)
    wanted = torch.cat([
        model.logits(run.tokens[[i], : int(batch.positions["answer"][i])])[:, -1] for i in view.example
    ])  # fmt: skip
    assert torch.allclose(TrajectoryReading().logits(model, batch, view=view), wanted, atol=1e-5)


def test_the_strides_of_fluid_are_asked():
    model, batch = model_of("fluid"), batch_of("sudoku")
    asking = TrajectoryReading(sampler=Strides(length=3))
    view = asking.view(model, batch)
    run = asking.run(model, batch)
    states = run.states[view.example, view.step]
    assert (states.gather(1, batch.positions["answer"][view.example]) == MASK).all()
    assert torch.equal(asking.ask(model, batch, view=view).canvas.tokens, states)
    assert set(view.example.tolist()) == set(range(len(batch)))


@st.composite
def questions(draw):
    """Rows in any order, at least one an example."""
    n = draw(st.integers(1, 5))
    rows = [(i, step) for i in range(n) for step in draw(st.sets(st.integers(0, 6), min_size=1))]
    example, step = torch.tensor(draw(st.permutations(rows))).T
    hidden = torch.ones(len(rows), 2, dtype=torch.bool)
    return View(hidden, example, step, hidden.float().mean(1)), n


@given(questions(), st.integers(0, 99), st.sampled_from(["commit", "first", "mean"]), st.booleans())
def test_the_rules_against_a_slow_loop(question, seed, rule, wide):
    view, n = question
    shape = (len(view.example), 3) if wide else (len(view.example),)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    for example in range(n):
        steps = {int(step): values[i] for i, step in enumerate(view.step) if view.example[i] == example}
        wanted = {
            "commit": steps[max(steps)],
            "first": steps[min(steps)],
            "mean": torch.stack(list(steps.values())).mean(0),
        }[rule]
        assert torch.allclose(aggregated(values, view, rule)[example], wanted, atol=1e-6)


def test_rules_are_named_and_recorded():
    assert [TrajectoryReading(aggregate=rule).rule for rule in ("commit", "first", "mean")] == [
        "commit",
        "first",
        "mean",
    ]
    assert str(TrajectoryReading()) == "trajectory(seed=0, aggregate=commit)"
    assert "sampler=random, steps 3" in str(TrajectoryReading(sampler=Sampler("random", steps=3)))
    with pytest.raises(ProbeError, match="Did you mean 'commit'"):
        TrajectoryReading(aggregate="comit")
    with pytest.raises(ProbeError, match="aggregate 'last'"):
        aggregated(torch.zeros(1), View.still(torch.zeros(1, 1)), "last")
