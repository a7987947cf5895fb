"""What is believed on the way, against transformers' own hidden states, and where the answer was planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import probe
from analyses import lens
from analyses.activations import residual_contributions
from analyses.activations.answer_states import READ_SITES, AnswerStates, answer_states, from_trace
from analyses.lens.curves import crossing, curves
from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms import Masked
from tests.analyses.planted import batch_of, relay
from tests.probe.readings import asking
from tests.probe.tiny import MASK, model_of


@pytest.fixture(scope="module")
def masked() -> AnswerStates:
    model = probe.load("zoo:masked")
    return answer_states(model, probe.task("ioi").examples(model, 12, seed=0), reading="prefix")


def test_beliefs_are_those_of_transformers_own_hidden_states(masked):
    """The same numbers by another way: HF hands out its hidden states, and softmax is over what is no mask."""
    model, found = masked.model, curves(masked)
    prompts = masked.reading.ask(model, masked.batch)
    model.backbone.set_attn_implementation("eager")
    shown = {"input_ids": prompts.canvas.tokens, "attention_mask": torch.zeros(1, 1, *prompts.canvas.allowed.shape[1:])}
    states = model.backbone(**shown, output_hidden_states=True).hidden_states  # the last one comes normed
    norm, head = model.backbone.model.norm, model.backbone.lm_head
    words = [token for token in range(model.vocabulary) if token != model.mask_id]
    rows = torch.arange(12)
    logits = [head(state if last else norm(state))[rows, prompts.slots[:, 0]]
              for state, last in zip(states, [False] * model.n_layers + [True], strict=True)]  # fmt: skip
    log_p = [each[:, words].log_softmax(-1) for each in logits]
    final = log_p[-1]
    for layer, here in enumerate(log_p):
        kl = (final.exp() * (final - here)).sum(-1)
        assert found.kl[:, layer] == pytest.approx(kl.numpy(), abs=2e-4)
        assert found.entropy[:, layer] == pytest.approx(-(here.exp() * here).sum(-1).numpy(), abs=1e-4)
        target = torch.tensor([words.index(token) for token in masked.batch.target.tolist()])
        rank = 1 + (here > here[rows, target][:, None]).sum(-1)
        assert found.rank[:, layer].tolist() == rank.tolist()
        assert found.agrees[:, layer].tolist() == (here.argmax(-1) == final.argmax(-1)).float().tolist()
    assert found.layers == list(range(-1, model.n_layers))


def test_the_end_believes_what_the_model_answers(masked):
    found = curves(masked)
    assert torch.equal(found.kl[:, -1], torch.zeros(12))
    assert bool(found.agrees[:, -1].all())
    assert bool((found.kl[:, :-1] > 0).all())


@pytest.mark.parametrize("first", [0, 2, 4])
def test_an_answer_written_in_a_layer_is_believed_from_that_layer_on(first):
    """The planted MLP of layer first + 1 writes the answer; nothing before it says anything."""
    planted = relay(n_layers=6, first=first, n=32)
    chosen = planted.batch.target.ne(0).nonzero()[:, 0]  # who says nothing at all ranks the first token first
    states = answer_states(planted.model, planted.batch[chosen], reading="ar")
    found = curves(states)
    depth = (first + 2) / 6
    assert found.prediction_depth.tolist() == pytest.approx([depth] * len(chosen))
    assert bool((found.kl_half_depth <= depth).all())
    assert bool((found.kl_half_depth >= depth - 1 / 6).all())
    silent, said = found.rank[:, : first + 2], found.rank[:, first + 2 :]
    assert bool((silent == 4.5).all())  # the middle of eight
    assert bool((said == 1).all())


def test_deciding_late_is_deeper_than_deciding_early():
    early, late = (relay(n_layers=6, first=first, n=32) for first in (0, 4))
    tables = [lens.depth(one.model, one.batch, reading="ar").table.set_index("measure") for one in (early, late)]
    for measure in ("prediction depth", "KL-half-depth"):
        assert tables[0].loc[measure, "high"] < tables[1].loc[measure, "low"]


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_a_crossing_lies_where_the_line_through_the_states_does(steps):
    """Down a staircase to 0: the depth at half height is that of the straight line between two states."""
    heights = torch.tensor(steps, dtype=torch.float64).flip(0).cumsum(0).flip(0)
    curve = torch.cat([heights, torch.zeros(1, dtype=torch.float64)])[None]
    found = crossing(curve, curve[:, :1] / 2).item()
    at = found * (curve.shape[1] - 1)
    left = min(int(at), curve.shape[1] - 2)
    height = curve[0, left] + (at - left) * (curve[0, left + 1] - curve[0, left])
    assert height.item() == pytest.approx(curve[0, 0].item() / 2)


def test_a_crossing_is_the_last_one():
    assert crossing(torch.tensor([[4.0, 1.0, 3.0, 1.0, 0.0]]), torch.tensor([[2.0]])).item() == pytest.approx(2.5 / 4)
    assert crossing(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.0]])).item() == 0
    assert crossing(torch.tensor([[4.0, 4.0, 4.0]]), torch.tensor([[2.0]])).item() == 1  # never: the last layer


def test_the_same_weights_twice_differ_in_nothing():
    """An AR model, and the same weights called a diffusion model whose attention is causal."""
    ar = probe.load("zoo:ar")
    twin = Model(ar.backbone, Masked(mask_id=2, attention="causal"), ar.tokenizer, name="twin")
    pair = Pair(ar, twin, name="same weights")
    batch = probe.task("ioi").examples(pair, 12, seed=0)
    for result in (lens.logit_lens(pair, batch), lens.depth(pair, batch), lens.direct(pair, batch)):
        difference = result.table[result.table["role"] == "diffusion − ar"]
        assert len(difference)
        assert difference["estimate"].abs().max() < 1e-4
    square = lens.depth(pair, batch, square=True).table
    assert {"ar, native mask", "diffusion, causal mask"} <= set(square["role"])


def test_a_decoding_run_is_asked_step_by_step():
    model, batch = asking.model_of("masked, no shift"), asking.batch_of("countdown", 10)
    reading = probe.readings.TrajectoryReading(sampler=probe.Sampler("random"), seed=1)
    states = answer_states(model, batch, reading=reading)
    table = lens.logit_lens(model, batch, states=states).table
    first = table[(table["measure"] == "kl") & (table["layer"] == 0)].set_index("step")
    assert first["n"].sum() == len(states)
    assert first["n"].tolist() == sorted(first["n"], reverse=True)
    assert len(first) > 1
    step = torch.as_tensor(states.trace["draw"].values)
    kl = curves(states).kl[:, 1]
    for number, row in first.iterrows():
        assert row["estimate"] == pytest.approx(kl[step == number].double().mean().item(), rel=1e-6)


def test_draws_of_a_ratio_are_averaged_within_an_example():
    model = probe.load("zoo:masked")
    batch = probe.task("ioi").examples(model, 10, seed=0)
    states = answer_states(model, batch, reading=probe.readings.Ratio(rate=0.5, draws=3))
    assert len(states) == 30
    row = lens.logit_lens(model, batch, states=states).table.query("measure == 'kl' and layer == 1").iloc[0]
    assert row["n"] == 10
    assert row["estimate"] == pytest.approx(curves(states).kl[:, 2].double().mean().item())


def test_one_forward_pass_serves_them_all(masked):
    passes = []
    masked.model.before_run.append(lambda canvas: passes.append(1))
    try:
        for measure in (
            lens.logit_lens,
            lens.depth,
            lens.component_lens,
            lens.direct,
            residual_contributions.contributions,
        ):
            measure(masked.model, masked.batch, states=masked)
    finally:
        masked.model.before_run.clear()
    assert not passes


def test_a_trace_that_cannot_answer_is_refused(masked):
    everywhere = probe.record(masked.model, masked.batch, "resid_pre", reading="prefix")
    with pytest.raises(probe.ProbeError, match="positions='read'"):
        from_trace(masked.model, masked.batch, "prefix", everywhere)
    few = answer_states(masked.model, masked.batch, ["resid_pre"])
    with pytest.raises(probe.ProbeError, match="READ_SITES"):
        lens.component_lens(masked.model, masked.batch, states=few)


def test_padding_the_canvas_changes_nothing(masked):
    """A trace of a longer batch holds the same questions: rows do not see one another."""
    longer = probe.task("ioi").examples(masked.model, 24, seed=0)
    both = answer_states(masked.model, longer, READ_SITES, reading="prefix", batch_size=5)
    alone = answer_states(masked.model, longer[:12], READ_SITES, reading="prefix")
    for name in ("kl", "entropy", "rank"):
        torch.testing.assert_close(getattr(curves(both), name)[:12], getattr(curves(alone), name), atol=1e-4, rtol=1e-4)


def test_the_mask_and_rows_that_only_one_twin_has_are_no_answers():
    """Whatever the mask's own logit is, no belief changes."""
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    clean = torch.randint(0, 40, (8, 6), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % 40
    batch = batch_of(clean, corrupt, 5, (clean[:, 5] + 1) % 40)
    before = curves(answer_states(model, batch, reading="prefix"))
    with torch.no_grad():
        model.backbone.lm_head.weight[MASK] += 5.0
    after = curves(answer_states(model, batch, reading="prefix"))
    torch.testing.assert_close(before.entropy, after.entropy)
    narrow = replace(answer_states(model, batch, reading="prefix"), vocabulary=40)
    assert bool((curves(narrow).entropy <= torch.log(torch.tensor(40.0)) + 1e-5).all())
