"""The systems' claims: figures against the closed form, against decoding by hand, and against planted answers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import probe
from analyses import replications
from analyses.replications.fluid_horizons import _binned, _entropy_ahead
from analyses.replications.written_answers import exact_difference
from probe.decoding import ELASTIC, Sampler, Strides
from probe.errors import ProbeError
from probe.paradigms.horizon import new_horizon
from tests.analyses.replications.checks import survives_disk, wilson

TASK = probe.task("ioi")


@pytest.fixture(scope="module")
def models():
    return {name: probe.load(f"zoo:{name}", selftest="off") for name in ("ar", "masked", "fluid")}


def test_samplers_count_passes_and_right_answers(models, tmp_path):
    greater = probe.task("greater_than")
    rules = {"masked": [Sampler(steps=1), Sampler("random", steps=2)], "fluid": [Strides(4)]}
    found = replications.samplers(models, greater, n=80, rules=rules)
    table = found.table.set_index(["model", "sampler"])
    batch = greater.examples(models["ar"], 80)
    completion = batch.positions["completion"]
    start = int(completion.min())
    for model, rule, sampler in (
        ("masked", rules["masked"][0], "confidence, steps 1"),
        ("masked", rules["masked"][1], "random, steps 2"),
        ("fluid", rules["fluid"][0], "strides of 4, verified as the next is drafted"),
    ):
        run = probe.decode(models[model], batch.clean[:, :start], batch.clean.shape[1] - start, sampler=rule)
        right = int(greater.check(batch, run.tokens.gather(1, completion)).sum())
        row = table.loc[(model, sampler)]
        assert (row["estimate"], row["n"]) == (right / 80, 80)
        assert (row["low"], row["high"]) == pytest.approx(wilson(right, 80))
        assert row["passes"] == pytest.approx(run.passes.float().mean().item())
    ar = table.loc[("ar", "left_to_right")]
    assert math.isnan(ar["p"])
    assert ar["tokens_per_pass"] == 1
    survives_disk(found, tmp_path)


def test_what_is_tried_covers_orders_steps_thresholds_and_strides(models):
    found = replications.samplers(models, TASK, n=4).table
    ways = set(found["way"])
    for order in ("confidence", "margin", "entropy", "random", "left_to_right", "threshold"):
        assert f"masked, {order}" in ways
    assert {"ar", "fluid, strides, verified", "fluid, strides, unverified"} <= ways


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 2), (9, 1), (4, 4)])
def test_the_test_of_a_difference_is_the_exact_binomial_one(b, c):
    one = np.array([True] * b + [False] * c + [True] * 3 + [False] * 2)
    other = np.array([False] * b + [True] * c + [True] * 3 + [False] * 2)
    n = b + c
    tail = sum(math.comb(n, k) for k in range(max(b, c), n + 1)) / 2**n if n else 1.0
    assert exact_difference(one, other) == pytest.approx(min(1.0, 2 * tail))


def test_what_survives_of_the_same_weights_is_everything_and_of_broken_ones_nothing(models, tmp_path):
    broken = probe.load("zoo:ar", selftest="off")
    for number, weight in enumerate(broken.backbone.parameters()):
        weight.normal_(std=0.5, generator=torch.Generator().manual_seed(number))
    adapted = {"masked": models["ar"], "broken": broken, "really": models["masked"]}
    found = replications.survival(models["ar"], adapted, TASK, n=60)
    table = found.table.set_index(["model", "manner"])
    for manner in ("its own way", "as autoregression"):
        assert table.loc[("masked", manner), "estimate"] == 1
        assert table.loc[("broken", manner), "estimate"] == 0
        assert table.loc[("broken", manner), "p"] < 1e-9
        assert math.isnan(table.loc[("masked", manner), "p"])
    assert table.loc[("really", "its own way"), "n"] == round(found.about["accuracy_ar"] * 60)
    survives_disk(found, tmp_path)


def test_elastic_strides_that_always_say_four_are_fixed_strides_of_four(models, tmp_path):
    model = models["fluid"]
    head = new_horizon(model)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.layers[-1].bias[3] = 1
    try:
        ways = ({}, {"overlap": False}, {"verify": False})
        rules = [Strides(k, 0.1, **way) for k in (1, 4, ELASTIC) for way in ways]
        found = replications.horizons(model, probe.task("infilling"), n=50, rules=rules)
    finally:
        model.attachments.clear()
    table = found.table.set_index(["stride", "verified", "measure"]).sort_index()
    figures = ["estimate", "low", "high", "n"]
    for verified in ("overlapped", "apart", "no"):
        pd.testing.assert_frame_equal(table.loc[("4", verified), figures], table.loc[("elastic", verified), figures])
    assert table.loc[("1", "apart", "tokens a pass"), "estimate"] == 0.5  # each token is drafted, and checked
    assert table.loc[("1", "overlapped", "tokens a pass"), "estimate"] == 1
    assert table.loc[("1", "no", "tokens a pass"), "estimate"] == 1
    assert table.loc[("1", "apart", "rejection rate"), "estimate"] == 0
    accuracies = [table.loc[(k, way, "accuracy"), "estimate"] for k in "14" for way in ("overlapped", "apart")]
    assert len(set(accuracies)) == 1
    survives_disk(found, tmp_path)


def test_entropy_ahead_by_hand(models):
    model = models["fluid"]
    tokens = TASK.examples(model, 3).clean
    logits = models["fluid"].logits(tokens, "causal")
    logits[..., model.mask_id] = -torch.inf
    ahead = _entropy_ahead(model, tokens)
    for row in range(3):
        for start in range(1, tokens.shape[1]):
            behind = []
            for place in range(start, min(start + 16, tokens.shape[1])):
                p = logits[row, place - 1].double().softmax(-1)
                behind.append(-sum(float(x) * math.log(x) for x in p if x > 0))
            assert ahead[row, start] == pytest.approx(sum(behind) / len(behind), abs=1e-4)


def test_a_planted_relation_of_strides_to_entropy_is_found():
    generator = np.random.default_rng(0)
    entropy = generator.uniform(0, 3, 600)
    strides = pd.DataFrame({"example": np.arange(600) // 6, "entropy": entropy})
    falls = strides.assign(accepted=np.round(12 - 3 * entropy))
    table, rho = _binned(falls, 100, seed=0)
    assert rho["estimate"] < -0.97
    assert table["estimate"].is_monotonic_decreasing
    from scipy.stats import spearmanr

    assert rho["estimate"] == pytest.approx(spearmanr(falls["entropy"], falls["accepted"]).statistic)
    _, none = _binned(strides.assign(accepted=generator.integers(1, 12, 600)), 100, seed=0)
    assert none["low"] < 0 < none["high"]


def test_foresight_reads_whole_strides_alone(models, tmp_path):
    model = models["fluid"]
    prompts = TASK.examples(model, 60).clean[:, :3]
    found = replications.foresight(model, prompts, 12, rules=[Strides(3, 0.5)])
    run = probe.decode(model, prompts, 12, sampler=Strides(3, 0.5))
    assert found.table["n"].sum() == int((run.strides.start + 3 <= 15).sum())
    survives_disk(found, tmp_path)
    with pytest.raises(ProbeError, match="verified"):
        replications.foresight(model, prompts, 12, rules=[Strides(3, verify=False)])
    with pytest.raises(ProbeError, match="FLUID"):
        replications.foresight(models["ar"], prompts, 12)


def curve(rate: float, steps: int, noise: float = 0.0) -> dict[str, list[float]]:
    """An exponential fall from 5 nats to 1, logged every 20 steps."""
    generator = np.random.default_rng(1)
    step = np.arange(20, steps + 1, 20)
    return {
        "step": [*map(float, step)],
        "loss": list(1 + 4 * np.exp(-step / rate) + generator.normal(0, noise, len(step))),
    }


def test_adaptation_ten_times_as_fast_takes_a_tenth_of_the_steps(tmp_path):
    pairs = {"masked": (curve(200, 2000), curve(2000, 20000)), "fluid": (curve(200, 2000), curve(2000, 3000))}
    found = replications.adaptation(pairs, start=curve(1000, 4000))
    table = found.table[found.table["loss"].between(1.2, 4.0)]
    masked = table[table["model"] == "masked"]
    assert len(masked) > 4
    np.testing.assert_allclose(masked["estimate"], 10, rtol=0.1)
    np.testing.assert_allclose(masked["with_start"], masked["steps_scratch"] / (masked["steps_adapted"] + 4000))
    assert (masked["low"] <= masked["estimate"]).all()
    assert (masked["estimate"] <= masked["high"]).all()
    never = table[(table["model"] == "fluid") & (table["loss"] < 1.8)]
    assert set(never["reached"]) == {"no"}
    np.testing.assert_allclose(never["estimate"], 3000 / never["steps_adapted"])
    assert never["high"].isna().all()
    survives_disk(found, tmp_path)


def test_a_noisy_curve_has_a_wider_crossing():
    clean, noisy = (
        replications.adaptation({"m": (curve(200, 2000, noise), curve(2000, 20000, noise))}).table
        for noise in (0.0, 0.2)
    )
    wide, narrow = ((t["high"] - t["low"])[t["loss"].between(2, 4)].mean() for t in (noisy, clean))
    assert wide > 1.5 * narrow


def test_a_curve_of_few_points_is_refused():
    with pytest.raises(ProbeError, match="Log more often"):
        replications.adaptation({"m": (curve(200, 100), curve(200, 2000))})
