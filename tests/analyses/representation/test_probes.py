"""Linear probes read what is there, memorise what is not, and are told apart from counting masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import probe
from analyses import representation
from analyses.activations.answer_states import AnswerStates, answer_states
from analyses.representation.probes import control_labels, kinds_of, mask_count, one_hot, predicted
from probe.readings import TrajectoryReading
from tests.probe.readings import asking

N = 240
RNG = np.random.default_rng


def test_what_is_linear_is_read_and_what_is_noise_is_not():
    labels = RNG(0).integers(0, 3, N)
    clear = np.eye(3)[labels] + 0.1 * RNG(1).normal(size=(N, 3))
    noise = RNG(2).normal(size=(N, 40))
    groups = np.arange(N)
    assert (predicted(clear, labels, groups) == labels).mean() > 0.98
    assert abs((predicted(noise, labels, groups) == labels).mean() - 1 / 3) < 0.13


def test_folds_keep_an_example_together():
    """Two copies of each row would let a probe look its answers up."""
    noise = np.repeat(RNG(0).normal(size=(60, 80)), 2, axis=0)
    labels = np.repeat(RNG(1).integers(0, 2, 60), 2)
    apart = (predicted(noise, labels, np.repeat(np.arange(60), 2)) == labels).mean()
    assert abs(apart - 0.5) < 0.2
    # With every row a group of its own the copies are in the training folds.
    assert (predicted(noise, labels, np.arange(120)) == labels).mean() > 0.8


def test_control_labels_belong_to_kinds():
    kinds = RNG(0).integers(0, 6, N).astype(str)
    found = control_labels(kinds, np.array(["x", "y"]), seed=1)
    assert all(len(set(found[kinds == kind])) == 1 for kind in set(kinds))
    assert set(found) == {"x", "y"}
    assert (found == control_labels(kinds, np.array(["x", "y"]), seed=1)).all()


@pytest.fixture(scope="module")
def states() -> AnswerStates:
    model = probe.load("zoo:ar")
    return answer_states(model, probe.task("ioi").examples(model, N, seed=0), reading="ar")


def planted(states: AnswerStates, value: np.ndarray) -> AnswerStates:
    """The same states, with something written into the last layer's MLP output and noise everywhere else."""
    trace = states.trace.copy(deep=True)
    for name in ("resid_pre", "attn_out", "mlp_out"):
        trace[name][:] = RNG(5).normal(size=trace[name].shape)
    trace["mlp_out"][:, -1, 0, 0] = 40 * value
    return AnswerStates(states.model, states.batch, states.reading, trace)


def test_it_finds_the_layer_that_writes_it_and_no_other(states):
    labels = RNG(7).integers(0, 2, N)
    result = representation.probes(states.model, states.batch, labels, states=planted(states, labels))
    table, last = result.table.set_index(["measure", "layer"]), states.model.n_layers - 1
    assert table.loc[("probe", last), "estimate"] > 0.98
    assert table.loc[("selectivity", last), "low"] > 0.2
    for layer in range(last):
        assert table.loc[("probe", layer), "low"] < 0.55
        assert table.loc[("selectivity", layer), "low"] < 0
    assert result.figure().data


def test_a_probe_that_memorises_kinds_is_not_selective(states):
    """Eight kinds that can be read off the state: the probe learns any labels of theirs, real or random."""
    kind = RNG(8).integers(0, 8, N)
    trace = planted(states, np.zeros(N))
    trace.trace["mlp_out"][:, -1, 0, :8] = 40 * np.eye(8)[kind]
    labels = RNG(9).integers(0, 2, 8)[kind]
    table = representation.probes(states.model, states.batch, labels, kinds=kind, states=trace).table
    last = table[table["layer"] == states.model.n_layers - 1].set_index("measure")
    assert last.loc["probe", "estimate"] > 0.95
    assert last.loc["control task", "estimate"] > 0.95
    assert last.loc["selectivity", "high"] < 0.1


def test_questions_are_made_of_what_their_corrupt_twins_change(states):
    kinds = kinds_of(states.batch)
    same = [(a, b) for a in range(N) for b in range(a) if kinds[a] == kinds[b]]
    places = states.batch.positions["corrupted"]
    assert len(set(kinds)) > 5
    for a, b in same[:20]:
        assert torch.equal(states.batch.clean[a, places[a]], states.batch.clean[b, places[b]])


def run_of(model, batch):
    return answer_states(model, batch, reading=TrajectoryReading(sampler=probe.Sampler("random"), seed=3))


def test_across_steps_a_probe_is_held_against_counting_masks():
    model, batch = asking.model_of("masked, no shift"), asking.batch_of("countdown", 60)
    states = run_of(model, batch)
    hidden = probe.readings.named(states.reading).view(model, batch).hidden
    assert mask_count(states).tolist() == hidden.sum(1).tolist()
    labels = [bool(fact) for fact in RNG(0).integers(0, 2, 60)]
    table = representation.probes(model, batch, labels, states=states).table
    assert {"mask count alone", "gain over the mask count"} <= set(table["measure"])
    assert table["step"].nunique() > 1


def test_what_the_mask_count_tells_is_no_gain():
    """A label that is the count itself: both read it, and nothing is left over."""
    count = RNG(0).integers(1, 5, 200)
    state = np.concatenate([one_hot(count) * 3, RNG(1).normal(size=(200, 20))], 1)
    groups = np.arange(200)
    both = [(predicted(features, count, groups) == count).mean() for features in (state, one_hot(count))]
    assert both[1] == 1
    assert both[0] == pytest.approx(1, abs=0.05)


def test_labels_that_do_not_fit_are_refused(states):
    for labels in ([1] * N, [1, 2]):
        with pytest.raises(probe.ProbeError, match="at least 2 kinds"):
            representation.probes(states.model, states.batch, labels, states=states)
    with pytest.raises(probe.ProbeError, match="control task"):
        representation.probes(states.model, states.batch, kinds=["one"] * N, states=states)
