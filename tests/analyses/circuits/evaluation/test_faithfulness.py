"""Circuits that run alone: against the textbook's, and at both ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.circuits import EvaluationOptions, Isolated, attribute, faithfulness, isolated_run
from probe.readings import named
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import PARADIGMS, agree, batch_of, differences, model_of, slots_and_canvases


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "llama-biased", "qwen3", "modernbert"])
@pytest.mark.parametrize("attention", ["causal", "full"])
def test_a_circuit_runs_as_the_textbook_runs_it(variant, attention):
    model, batch = model_of(variant, attention), batch_of(n=2)
    graph = attribute(model, batch, method="eap").graph
    kept = (np.random.default_rng(0).random((3, *graph.shape)) < [[[0.2]], [[0.5]], [[0.9]]]) & graph.valid
    found = isolated_run(model, batch, Isolated(graph, kept, rows=4))
    slots, told = slots_and_canvases(model, batch)
    for at, mask in enumerate(kept):
        edges = graph.frame(mask)
        logits = textbook.circuit_alone(*told, set(zip(edges["source"], edges["target"], strict=True)))
        agree(torch.tensor(found.circuits[:, at]), differences(batch, logits, slots))


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("reading", ["prefix", "one_mask", "ratio"])
def test_the_whole_graph_is_the_model_and_the_empty_one_its_corrupt_run(paradigm, reading):
    model, batch = model_of("qwen3", paradigm), batch_of(n=4)
    graph = attribute(model, batch, method="eap", reading=reading).graph
    ends = np.stack([graph.valid, np.zeros_like(graph.valid)])
    found = isolated_run(model, batch, Isolated(graph, ends), reading=reading)
    asked = named(reading)
    view = asked.view(model, batch)
    for which, values in (("clean", found.circuits[:, 0]), ("corrupt", found.circuits[:, 1])):
        logits = asked.logits(model, batch, which, view=view)
        rows = logits.gather(1, batch.target[view.example, None]) - logits.gather(
            1, batch.distractor[view.example, None]
        )
        of_example = torch.zeros(4).index_add_(0, view.example, rows[:, 0]) / torch.bincount(view.example)
        agree(torch.tensor(values), of_example, within=1e-5)
    f = found.faithfulness(np.full((1, 4), 0.25))[0]
    assert f == pytest.approx([1.0, 0.0], abs=1e-4)


def test_the_curve_ends_at_one_and_holds_its_baselines():
    model, batch = model_of("llama-gqa", "full"), batch_of(n=6)
    circuit = attribute(model, batch)
    result = faithfulness(
        model, batch, circuit, options=EvaluationOptions(shares=(0.01, 0.1, 0.5, 1.0), draws=2, resamples=200)
    )
    f = result.table.query("measure == 'f'")
    assert set(f["circuit"]) == {"attributed", "random", "random, layer-matched"}
    assert np.allclose(f.query("share == 1")["estimate"], 1, atol=1e-4)
    assert (f["low"] <= f["estimate"] + 1e-6).all()
    assert (f["estimate"] <= f["high"] + 1e-6).all()
    own = f.query("circuit == 'attributed'")
    shares, estimates = own["share"].to_numpy(float), own["estimate"].to_numpy(float)
    summed = result.table.query("circuit == 'attributed'").set_index("measure")["estimate"]
    trapezia = np.diff(shares) * (estimates[1:] + estimates[:-1]) / 2
    assert summed["CPR"] == pytest.approx(trapezia.sum())
    gap = abs(1 - estimates)
    assert summed["CMD"] == pytest.approx((np.diff(shares) * (gap[1:] + gap[:-1]) / 2).sum())
