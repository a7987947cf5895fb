"""Knock-outs against probe's own edits, and what is made of them against planted circuits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import pad

import probe
from analyses import circuits, specialization
from analyses.components.knockouts import Knockouts
from analyses.components.partial_forward import Whole
from analyses.components.scores import Scores, scores_of
from analyses.depth import knockout_profile
from analyses.specialization.curves import area, first_gone, grid
from analyses.specialization.joint import least
from probe.paradigms import Masked
from probe.readings.reading import Prompts
from tests.analyses.circuits.asking import batch_of, model_of
from tests.analyses.planted import MASK, relay

KINDS = ("zero", "mean", "resample", "corrupt")


@pytest.fixture(scope="module")
def run():
    model = model_of("llama-gqa", "full-noshift")
    return Knockouts.of(model, batch_of(6), reading="prefix", kind="zero", metric="logit_difference")


def masks_of(run: Knockouts, *sets: tuple[str, ...]) -> np.ndarray:
    return np.stack([run.nodes["node"].isin(names).to_numpy() for names in sets])


def test_zero_is_probes_zero(run):
    found = run.metric(masks_of(run, ("a0.h1", "m1"), ("a1.h0",)))
    edits = [probe.zero("head_out", layer=0, head=1), probe.zero("mlp_out", layer=1)]
    prompts = run.prompts
    with probe.edit(run.model, edits), torch.no_grad():
        expected = run.measure(prompts.answer_logits(run.model.run_trunk(prompts.canvas())), prompts.truth)
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-4)
    assert np.abs(found[1] - found[0]).max() > 1e-3


def test_mean_is_the_mean_slot_by_slot(run):
    mean = Knockouts.of(run.model, batch_of(6), kind="mean", metric="logit_difference")
    with probe.edit(run.model, [probe.mean("head_out", layer=1, head=2)]), torch.no_grad():
        prompts = mean.prompts
        expected = mean.measure(prompts.answer_logits(run.model.run_trunk(prompts.canvas())), prompts.truth)
    np.testing.assert_allclose(mean.metric(masks_of(mean, ("a1.h2",)))[0], expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_knocked_out_is_the_model_and_chunks_do_not_matter(run, kind):
    some = masks_of(run, (), ("a0.h0",), ("m0", "a1.h1", "a1.h3"))
    found = [
        Knockouts.of(run.model, batch_of(6), kind=kind, metric="logit_difference", rows=rows).metric(some)
        for rows in (64, 4)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    np.testing.assert_allclose(found[0][0], run.full, atol=1e-4)


def test_corrupt_everywhere_is_the_corrupt_run(run):
    """All that is still clean where the answer is read is the token there, and that is the same in both."""
    corrupt = Knockouts.of(run.model, batch_of(6), kind="corrupt", metric="logit_difference")
    prompts = corrupt.prompts
    with torch.no_grad():
        expected = corrupt.measure(prompts.answer_logits(run.model.run_trunk(prompts.canvas("corrupt"))), prompts.truth)
    np.testing.assert_allclose(corrupt.empty, expected.numpy(), atol=1e-4)


def test_a_mask_is_run_once(run):
    passes = []
    run.model.before_run.append(passes.append)
    try:
        mask = masks_of(run, ("a0.h3", "a1.h3"))
        first = run.metric(mask)
        made = len(passes)
        again = run.metric(np.concatenate([mask, mask]))
        assert made > 0
        assert len(passes) == made
        np.testing.assert_array_equal(again, np.concatenate([first, first]))
    finally:
        run.model.before_run.remove(passes.append)


def test_each_example_may_have_a_mask_of_its_own(run):
    some = masks_of(run, ("a0.h1", "m1"), ("a1.h0",), ())
    turns = np.arange(run.n) % 3
    fresh = Knockouts.of(run.model, batch_of(6), kind="zero", metric="logit_difference")
    found = fresh.metric(some[turns][None])
    np.testing.assert_allclose(found[0], run.metric(some)[turns, np.arange(run.n)], atol=1e-5)
    np.testing.assert_allclose(fresh.metric(some), run.metric(some), atol=1e-5)  # those that are missing, after


@pytest.mark.parametrize("stock", ["gpt2", "llama-gqa", "qwen3"])
def test_beginning_midway_is_the_whole_pass(stock):
    model = model_of(stock, "full-noshift")
    forwards = [dict(vars(block)).get("forward") for block in model.blocks]
    canvas = Knockouts.of(model, batch_of(6), kind="zero").prompts.canvas()
    whole, rows = Whole.of(model, canvas), torch.tensor([3, 0, 3])
    with torch.no_grad():
        expected = model.run_trunk(canvas[rows])
        for layer in range(model.n_layers):
            with whole.begun(layer, rows):
                torch.testing.assert_close(model.run_trunk(canvas[rows]), expected)
    assert [dict(vars(block)).get("forward") for block in model.blocks] == forwards
    ran = []
    hook = model.blocks[0].mlp.register_forward_hook(lambda *_: ran.append(1))
    with whole.begun(1, rows), torch.no_grad():
        model.run_trunk(canvas[rows])
    hook.remove()
    assert not ran


def test_padding_changes_nothing(run):
    """The same prompts behind four slots of padding."""
    prompts = run.prompts

    def padded(asked: Prompts) -> Prompts:
        tokens = pad(asked.canvas.tokens, (4, 0), value=1)
        hidden = torch.zeros_like(tokens, dtype=torch.bool)
        hidden[:, :4] = True
        return Prompts(run.model.canvas(tokens, padding=hidden), asked.slots + 4, asked.view)

    moved = replace(prompts, clean=padded(prompts.clean), corrupt=padded(prompts.corrupt))
    some = masks_of(run, (), ("a0.h1",), ("m0", "a1.h2"))
    for kind in ("zero", "corrupt"):
        plain = Knockouts.of(run.model, batch_of(6), kind=kind, metric="logit_difference")
        behind = replace(plain, prompts=moved, ablation=replace(plain.ablation, prompts=moved), _known={}, _begun=None)
        np.testing.assert_allclose(behind.metric(some), plain.metric(some), atol=1e-4)


def test_norms_are_of_the_writes(run):
    with torch.no_grad():
        trace = probe.record(run.model, batch_of(6), ["head_out", "mlp_out"], reading="prefix")
    heads = np.sqrt((trace["head_out"].to_numpy() ** 2).sum((-1, -2)).mean(0))
    found = run.norms().reshape(run.model.n_layers, -1)
    np.testing.assert_allclose(found[:, :-1], heads, rtol=1e-4)


# Planted

PLANTED = {
    (where, spread): relay(first=first, heads=heads, noise=0.02, paradigm=Masked(mask_id=MASK, shift=False))
    for where, first in (("early", 0), ("late", 4))
    for spread, heads in (("concentrated", (0,)), ("spread", (0, 1, 2, 3)))
}


@pytest.fixture(scope="module")
def runs():
    found = {}
    for name, one in PLANTED.items():
        circuit = circuits.attribute(one.model, one.batch, reading="one_mask")
        knockouts = Knockouts.of(one.model, one.batch, reading="one_mask", kind="mean", metric="logit_difference")
        found[name] = knockouts, scores_of(circuit)
    return found


def test_the_causal_profile_finds_the_layers(runs):
    for where, layers in (("early", [0, 1]), ("late", [4, 5])):
        run, _ = runs[where, "concentrated"]
        table = knockout_profile.causal_profile([run]).table
        by_layer = table[table["layer"] >= 0].set_index("layer")["estimate"]
        assert by_layer[layers].min() > 0.5
        assert by_layer.drop(layers).abs().max() < 0.2
        centre = table[table["layer"] < 0]["estimate"].item()
        assert centre == pytest.approx(np.mean(layers) / 6 + 1 / 12, abs=0.1)


def test_windows_cover_their_layers(runs):
    run, _ = runs["early", "concentrated"]
    table = knockout_profile.causal_profile([run], windows=(1, 2)).table
    wide = table[(table["window"] == 2) & (table["layer"] >= 0)]
    assert len(wide) == 5
    np.testing.assert_allclose(wide["depth"], (np.arange(5) + 1) / 6)


def test_targeted_knock_outs_tell_early_from_late(runs):
    for where in ("early", "late"):
        table = knockout_profile.targeted([runs[where, "concentrated"]], size=2).table.set_index("comparison")
        other = "late" if where == "early" else "early"
        assert table.loc[where, "estimate"] > 0.5
        assert abs(table.loc[other, "estimate"]) < 0.2
        assert (table.loc["early − late", "low"] > 0) == (where == "early")


def test_matched_sets_match():
    generator = np.random.default_rng(0)
    kinds, norms = np.array((["head"] * 8 + ["mlp"]) * 6), generator.uniform(0.5, 2, 54)
    mask = np.zeros(54, dtype=bool)
    mask[[0, 3, 8]] = True
    found, ratio = knockout_profile.matched(mask, kinds, norms, 16)
    assert len(found) == 16
    assert not (found & mask).any()
    assert (found[:, kinds == "head"].sum(1) == 2).all()
    assert (found[:, kinds == "mlp"].sum(1) == 1).all()
    np.testing.assert_allclose(ratio, 1, atol=0.1)
    norms[mask] = 100.0
    assert len(knockout_profile.matched(mask, kinds, norms, 16)[0]) == 0  # nothing as big: no match


def test_every_example_meets_as_many_sets_and_every_set_as_many_examples():
    found = knockout_profile.met(16, 48)
    assert found.shape == (4, 48)
    assert (np.bincount(found.ravel(), minlength=16) == 12).all()
    assert all(len(set(column)) == 4 for column in found.T)
    assert knockout_profile.met(2, 10).shape == (2, 10)


def test_curves_begin_at_one_and_end_at_zero(runs):
    table = specialization.curves([runs["early", "spread"]], draws=2).table
    curve = table[table["what"] == "curve"].sort_values("gone")
    assert curve["estimate"].iloc[[0, -1]].to_numpy() == pytest.approx([1, 0])


def test_sufficiency_counts_the_planted_nodes(runs):
    table = specialization.sufficiency([runs["early", "concentrated"], runs["early", "spread"]], points=30).table
    few, many = table[table["what"] == "k"]["estimate"]
    assert few <= 3.5 < many


def test_steps_of_one_path_count_the_same_loss_several_times(runs):
    table = specialization.interaction([runs["early", "concentrated"]], sizes=(3,)).table.set_index("what")
    assert table.loc["joint − sum", "high"] < -0.5
    assert table.loc["joint", "estimate"] == pytest.approx(1, abs=0.2)


# Made up: what is left of an answer, as a formula of what is there


@dataclass
class Made:
    """A run of six components whose metric is a formula of who is still there, times how much a prompt asks."""

    left: Callable[[np.ndarray], np.ndarray]
    name: str = "made"
    n: int = 20
    n_components: int = 6
    task: str = "none"
    scope: str = "local"
    examples: str = "these"
    none, each, drop, full, empty = (vars(Knockouts)[name] for name in ("none", "each", "drop", "full", "empty"))

    @property
    def model(self):
        return SimpleNamespace(name=self.name)

    @property
    def ablation(self):
        return SimpleNamespace(kind="zero")

    def metric(self, masks: np.ndarray) -> np.ndarray:
        each = np.broadcast_to(masks if masks.ndim == 3 else masks[:, None], (len(masks), self.n, self.n_components))
        left = self.left(~each.reshape(-1, self.n_components)).reshape(each.shape[:2])
        return left * np.linspace(1, 2, self.n)

    def scores(self):
        nodes = pd.DataFrame({"node": list("abcdef"), "layer": range(6), "head": 0, "kind": "head"})
        return Scores(self.name, self.task, nodes, self.drop(self.each()).T, 6)


def beside(made: Made):
    return made, made.scores()


EQUAL = Made(lambda there: there.mean(1), "equal")
ALONE = Made(lambda there: 1.0 * there[:, 0], "alone")
EITHER = Made(lambda there: 1.0 * (there[:, 0] | there[:, 1]), "either")
PATH = Made(lambda there: 1.0 * there[:, :3].all(1), "path")


def test_areas_of_one_that_does_all_and_of_all_that_do_the_same():
    table = specialization.curves([beside(ALONE), beside(EQUAL)], points=30, draws=200).table
    areas = table[table["what"] == "area"].set_index("model")["estimate"]
    assert areas["alone"] == pytest.approx(0.5 / 6)
    assert areas["equal"] == pytest.approx(0.5)
    less = table[table["what"] == "area − random"].set_index("model")["estimate"]
    assert less["equal"] == pytest.approx(0)
    assert less["alone"] == pytest.approx(0.5 / 6 - 0.5, abs=0.05)
    change = table[table["what"] == "Δ area − random"].iloc[0]
    assert change["model"] == "equal − alone"
    assert change["low"] > 0


def test_interaction_tells_redundancy_from_a_path_and_from_neither():
    sizes = {"either": 2, "path": 3, "equal": 4}
    for made, expected in ((EITHER, 1.0), (PATH, -2.0), (EQUAL, 0.0)):
        table = specialization.interaction([beside(made)], sizes=(sizes[made.name],)).table.set_index("what")
        assert table.loc["joint − sum", "estimate"] == pytest.approx(expected)


def test_sufficiency_of_one_of_all_and_of_a_path():
    found = specialization.sufficiency([beside(one) for one in (ALONE, EQUAL, PATH)], points=30).table
    k = found[found["what"] == "k"].set_index("model")["estimate"]
    assert k["alone"] == pytest.approx(0.85)
    assert k["equal"] == pytest.approx(0.85 * 6)
    assert k["path"] == pytest.approx(2.85)


def test_areas_and_least_by_hand():
    gone = np.array([0, 1, 2, 4])
    assert area(np.array([1, 0.5, 0.25, 0.0]), gone) == pytest.approx((0.75 + 0.375 + 2 * 0.125) / 4)
    assert least(np.array([0.0, 0.7, 1.0, 1.0]), gone, 0.85) == pytest.approx(1.5)
    assert least(np.array([0.0, 0.9, 1.0, 1.0]), gone, 0.45) == pytest.approx(0.5)
    assert grid(54)[[0, 1, -1]].tolist() == [0, 1, 54]
    np.testing.assert_array_equal(first_gone(np.array([2, 0, 1]), np.array([0, 1, 3])).sum(1), [0, 1, 3])
    assert first_gone(np.array([2, 0, 1]), np.array([1]))[0].tolist() == [False, False, True]
