"""The claims about flows: figures against decoding by hand and closed forms, and nothing left changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import probe
from analyses import replications
from analyses.replications.distillation_cost import _pupil
from analyses.replications.flows import FACTORISED, UNIGRAM
from analyses.replications.text_frontier import TEXT, _entropy, _Off
from analyses.replications.written_answers import exact_difference
from probe.decoding import Flowing, Sampler
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Autoregressive, Flow, FlowMap, Masked
from tests.analyses.replications.checks import survives_disk, wilson
from tests.probe.tiny import MASK, backbone_of, model_of, tokens_of

TASK = probe.task("ioi")


@pytest.fixture(scope="module")
def models():
    masked = probe.load("zoo:masked", selftest="off")
    flow = Model(masked.backbone, Flow(mask_id=masked.mask_id), masked.tokenizer, name="untaught flow")
    return {"masked": masked, "flow": flow}


@pytest.fixture(scope="module")
def compared(models):
    return replications.few_steps(models, TASK, 80, reference="masked", steps=(1, 2), seed=3)


def by_hand(model, rule, n=80):
    batch = TASK.examples(model, n, split="test", seed=3)
    completion = batch.positions["completion"]
    start = int(completion.min())
    run = probe.decode(model, batch.clean[:, :start], batch.clean.shape[1] - start, sampler=rule, seed=3)
    return TASK.check(batch, run.tokens.gather(1, completion)).numpy()


def test_each_model_is_scored_on_what_it_writes_in_so_many_steps(models, compared):
    table = compared.table.set_index(["model", "steps"])
    for steps in (1, 2):
        masked, flow = by_hand(models["masked"], Sampler(steps=steps)), by_hand(models["flow"], Flowing(steps))
        for name, right in (("masked", masked), ("flow", flow)):
            row = table.loc[(name, steps)]
            assert row["estimate"] == pytest.approx(right.mean())
            assert (row["low"], row["high"]) == pytest.approx(wilson(int(right.sum()), 80))
        row = table.loc[("flow", steps)]
        assert row["ahead"] == pytest.approx(flow.mean() - masked.mean())
        assert row["ahead_low"] <= row["ahead"] <= row["ahead_high"]
        assert row["p"] == pytest.approx(exact_difference(flow, masked))
        assert math.isnan(table.loc[("masked", steps), "p"])


def test_baselines_stand_beside_them(models, compared):
    table = compared.table.set_index(["model", "steps"])
    drawn = by_hand(models["masked"], Sampler(steps=1, temperature=1.0))
    assert table.loc[(FACTORISED, 1), "estimate"] == pytest.approx(drawn.mean())
    batch = TASK.examples(models["masked"], 80, split="test", seed=3)
    shares = np.unique(batch.written().numpy(), return_counts=True)[1] / 80
    by_chance = (shares**2).sum()  # an answer of one token, drawn by its frequency
    assert abs(table.loc[(UNIGRAM, 1), "estimate"] - by_chance) < 4 * math.sqrt(by_chance / 80) + 1e-9


def test_without_a_discrete_twin_there_is_no_factorised_baseline_and_a_reference_must_be_there(models):
    alone = replications.few_steps({"flow": models["flow"]}, TASK, 10, reference="flow", steps=(1,)).table
    assert set(alone["model"]) == {"flow", UNIGRAM}
    with pytest.raises(ProbeError, match="masked"):
        replications.few_steps(models, TASK, 10, reference="maskd")


def test_how_far_beyond_independent_tokens_is_what_the_answers_say(models, tmp_path):
    masked, flow = models["masked"], models["flow"]
    result = replications.beyond(replications.FlowModels(flow, masked, masked), TASK, 80, steps=2, seed=3)
    several, one, mapped = by_hand(flow, Flowing(2)), by_hand(flow, Flowing(1)), by_hand(masked, Sampler(steps=1))
    drawn = by_hand(masked, Sampler(steps=1, temperature=1.0))
    table = result.table.set_index("model")
    for row, ours, theirs in (("flow, 2 steps, over factorised", several, drawn),
                              ("flow map, 1 step, over flow, 1 step", mapped, one)):  # fmt: skip
        found = table.loc[row]
        assert found["estimate"] == pytest.approx(ours.mean() - theirs.mean())
        assert found["low"] <= found["estimate"] <= found["high"]
        assert found["p"] == pytest.approx(exact_difference(ours, theirs))
    survives_disk(result, tmp_path)


def test_results_survive_the_disk(compared, tmp_path):
    survives_disk(compared, tmp_path)


# Text


def test_a_texts_entropy_is_that_of_its_frequencies():
    texts = torch.tensor([[5, 5, 5, 5], [1, 2, 3, 4], [1, 1, 2, 3]])
    assert _entropy(texts).tolist() == pytest.approx([0, math.log(4), 1.5 * math.log(2)])


def test_the_frontier_scores_what_is_written_and_text_alike(tmp_path):
    judge = model_of("llama-gqa", Autoregressive(mask_id=MASK))
    writers = {"ar": judge, "flow": model_of("llama-gqa", Flow(mask_id=MASK), seed=1)}
    texts = tokens_of(12, 10)
    result = replications.frontier(writers, judge, texts, given=3, steps=(1, 2), seed=4)
    table = result.table.set_index(["model", "steps"])
    logits = judge.logits(texts)
    logits[..., MASK] = -torch.inf
    said = logits.log_softmax(-1)
    slow = [-said[row, place - 1, texts[row, place]].item() for row in range(12) for place in range(3, 10)]
    assert table.loc[(TEXT, 0), "estimate"] == pytest.approx(np.mean(slow), abs=1e-4)
    assert table.loc[(TEXT, 0), "entropy"] == pytest.approx(_entropy(texts[:, 3:]).mean())
    run = probe.decode(writers["flow"], texts[:, :3], 7, steps=2, seed=4)
    assert table.loc[("flow", 2), "entropy"] == pytest.approx(_entropy(run.tokens[:, 3:]).mean())
    assert set(table.index) == {("ar", 7), ("flow", 1), ("flow", 2), (TEXT, 0), (UNIGRAM, 1)}
    # Of all writers the judge itself must find its own texts the likeliest.
    assert table.loc[("ar", 7), "estimate"] < table.loc[(UNIGRAM, 1), "estimate"]
    survives_disk(result, tmp_path)


CHAIN = torch.tensor([[0.0, 0.7, 0.3], [0.5, 0.0, 0.5], [0.9, 0.1, 0.0]])  # how often each token follows each


def chained(n, length, seed):
    """Texts of a Markov chain that has forgotten how it began."""
    generator = torch.Generator().manual_seed(seed)
    tokens = [torch.zeros(n, dtype=torch.long)]
    for _ in range(length + 50):
        tokens.append(torch.multinomial(CHAIN[tokens[-1]], 1, generator=generator)[:, 0])
    return torch.stack(tokens[-length:], 1)


def stationary():
    values, vectors = torch.linalg.eig(CHAIN.T)
    found = vectors[:, values.real.argmax()].real
    return found / found.sum()


def test_text_of_its_kind_is_not_off_and_independent_tokens_are_as_far_off_as_the_chain_says():
    texts, own = chained(400, 20, 0), stationary()
    of_its_kind, itself = _Off(chained(400, 20, 1), texts), _Off(texts, texts)
    assert of_its_kind.found.low < 0 < of_its_kind.found.high
    assert itself.estimate == pytest.approx(0)
    drawn = torch.multinomial(own, 400 * 20, replacement=True, generator=torch.Generator().manual_seed(2))
    pairs = own[:, None] * CHAIN
    truth = float(((pairs - own[:, None] * own) ** 2).sum() / (pairs**2).sum())
    independent = _Off(drawn.view(400, 20), texts)
    assert independent.found.low < truth < independent.found.high
    assert independent.found.high - independent.found.low < 0.1


def test_to_repeat_oneself_is_to_be_off():
    texts = chained(200, 20, 0)
    assert _Off(torch.zeros_like(texts), texts).found.low > 1  # further off than nothing at all


def test_how_far_beyond_independent_tokens_on_text_is_the_difference_of_how_far_off(tmp_path):
    judge = model_of("llama-gqa", Autoregressive(mask_id=MASK))
    flow, flow_map = (model_of("llama-gqa", Flow(mask_id=MASK), seed=seed) for seed in (1, 2))
    masked = model_of("llama-gqa", Masked(mask_id=MASK), seed=3)
    texts = tokens_of(40, 12)
    result = replications.beyond_text(replications.FlowModels(flow, flow_map, masked), texts, steps=2, given=3, seed=4)
    rows = result.table.set_index("model")
    run = probe.decode(flow, texts[:, :3], 9, steps=2, seed=4)
    off = _Off(run.tokens[:, 3:], texts[:, 3:]).estimate
    assert set(rows["off"].iloc[:2]) == {off}
    assert list(rows["estimate"]) == pytest.approx(list(rows["other"] - rows["off"]))
    assert (rows["low"] <= rows["estimate"]).all()
    assert (rows["estimate"] <= rows["high"]).all()
    held = replications.frontier(
        {"masked": masked, "flow": flow}, judge, texts, reference="masked", steps=(1, 2), given=3
    )
    table = held.table.set_index(["model", "steps"])
    assert table.loc[("flow", 2), "closer"] == pytest.approx(
        table.loc[("masked", 2), "off"] - table.loc[("flow", 2), "off"]
    )
    assert math.isnan(table.loc[("masked", 2), "closer"])
    surest = probe.decode(masked, texts[:, :3], 9, sampler=Sampler("confidence", steps=2, temperature=1.0))
    assert table.loc[("masked, surest first", 2), "off"] == _Off(surest.tokens[:, 3:], texts[:, 3:]).estimate
    assert math.isnan(table.loc[(TEXT, 0), "closer"])
    with pytest.raises(ProbeError, match="one of the models"):
        replications.frontier({"flow": flow}, judge, texts, reference="masked")
    survives_disk(result, tmp_path)
    survives_disk(held, tmp_path)


# Cost


def test_the_cost_of_a_step_is_a_multiple_of_the_flows_which_stays_as_it_was(tmp_path):
    flow = Model(backbone_of("llama"), Flow(mask_id=MASK), name="flow")
    before = {name: value.clone() for name, value in flow.backbone.state_dict().items()}
    result = replications.distillation(flow, tokens_of(4, 6), repeats=3)
    table = result.table.set_index(["measure", "model"])["estimate"]
    time, operations = table["time"], table["operations"]
    assert list(time.index) == list(operations.index) == ["flow", "semigroup", "lagrangian", "eulerian"]
    assert (time["flow"], operations["flow"]) == (1, 1)
    assert (operations[["semigroup", "lagrangian", "eulerian"]] > 1).all()
    assert all(torch.equal(value, before[name]) for name, value in flow.backbone.state_dict().items())
    assert not any(weight.requires_grad for weight in flow.backbone.parameters())
    assert not flow.attachments
    survives_disk(result, tmp_path)


def test_operations_are_those_of_the_passes_that_a_training_batch_makes():
    flow, texts = Model(backbone_of("llama"), Flow(mask_id=MASK), name="flow"), tokens_of(4, 6)
    table = replications.distillation(flow, texts, repeats=2).table
    found = table[table["measure"] == "operations"].set_index("model")["batch"]
    with _pupil(flow) as pupil:
        pupil.paradigm = FlowMap(mask_id=MASK)
        learnt = counted(lambda: pupil.run(pupil.canvas(texts), eager=True).sum().backward())
        with torch.no_grad():
            asked, teacher = (counted(lambda of=model: of.run(of.canvas(texts), eager=True)) for model in (pupil, flow))
    assert found["semigroup"] == 2 * learnt + 2 * asked + teacher  # δ_{s,t} and δ_{t,t}; two halves of a step; D


def counted(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_only_a_flow_is_distilled():
    with pytest.raises(ProbeError, match="a flow"):
        replications.distillation(model_of("llama-gqa"), tokens_of(2, 4))
    assert replications.distillation(
        model_of("llama-gqa", FlowMap(mask_id=MASK)), tokens_of(2, 4), repeats=2
    ).table.shape[0]


# Curves


def curve_of(step, **shares):
    blank = {"tokens": math.nan, "flops": math.nan, "loss": math.nan}
    rows = [
        {"step": 100, "tokens": 1.0, "flops": 10.0, "loss": 2.0} | dict.fromkeys(shares, math.nan),
        {"step": step - 100, **blank, **dict.fromkeys(shares, 0.0)},
        {"step": step, "tokens": 9.0, "flops": 90.0, "loss": 1.0, **shares},
        {"step": step + 50, "tokens": 9.5, "flops": 95.0, "loss": 0.9} | dict.fromkeys(shares, math.nan),
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_what_trainings_had_learnt_is_their_last_examination(tmp_path):
    curves = {"short": curve_of(400, ioi=0.75, paths=0.5), "squared": curve_of(400, ioi=0.25, paths=0.0)}
    result = replications.examined(curves)
    table = result.table.set_index(["model", "task"])
    found = table.loc[("short", "ioi")]
    assert (found["estimate"], found["steps"], found["operations"]) == (0.75, 400, 90)
    assert (found["low"], found["high"]) == pytest.approx(wilson(96, 128))
    assert replications.examined(curves, at=300).table["estimate"].tolist() == [0.0] * 4
    with pytest.raises(ProbeError, match="at step 77"):
        replications.examined(curves, at=77)
    survives_disk(result, tmp_path)
