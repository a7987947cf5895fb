"""Rows a few at a time: what comes out does not depend on how many, and work done is not done again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses.circuits import AttributionOptions, attribute
from analyses.circuits.attribution import batching
from analyses.circuits.attribution.attribute import METHODS
from probe.errors import ProbeError
from tests.analyses.circuits.asking import agree, batch_of, model_of


@pytest.mark.parametrize("method", ["eap-ig", "eap-ig-activations", "exact-nodes"])
def test_scores_do_not_depend_on_how_many_rows_are_taken_at_a_time(method):
    model, batch = model_of("llama-gqa", "full"), batch_of(n=5)
    one, two, all_of_them = (
        attribute(model, batch, method=method, steps=2, options=AttributionOptions(rows=rows)) for rows in (1, 2, 5)
    )
    for other in (one, two):
        agree(torch.tensor(other.per_example), torch.tensor(all_of_them.per_example))
        if method != "exact-nodes":
            agree(torch.tensor(other.scores), torch.tensor(all_of_them.scores))


@pytest.mark.parametrize(
    "fault", [torch.OutOfMemoryError("no more"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_too_many_rows_are_halved_until_they_fit(fault):
    tried = []

    def work(rows: slice) -> int:
        tried.append(rows.stop - rows.start)
        if tried[-1] > 3:
            raise fault
        return sum(range(rows.start, rows.stop))

    found = list(batching.in_chunks(10, 8, work))
    assert sum(part for _, part in found) == sum(range(10))
    assert [chunk.start for chunk, _ in found] == [0, *[chunk.stop for chunk, _ in found][:-1]]
    assert tried[:3] == [8, 4, 2]


def test_one_row_that_does_not_fit_is_said():
    def work(rows: slice) -> int:
        raise torch.OutOfMemoryError

    with pytest.raises(ProbeError, match="memory for a single row"):
        list(batching.in_chunks(4, 4, work))


def test_another_fault_is_no_lack_of_memory():
    def work(rows: slice) -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(batching.in_chunks(4, 4, work))


def test_fewer_rows_fit_where_each_takes_more():
    cpu = torch.device("cpu")
    assert batching.rows_that_fit(cpu, 100, free=1000) == 6  # of what is free, a share
    assert batching.rows_that_fit(cpu, 10_000, free=1000) == 1
    assert batching.rows_that_fit(cpu, 1, free=1_000_000) == batching.MOST["cpu"]


def test_an_interrupted_attribution_goes_on(tmp_path, monkeypatch):
    model, batch = model_of("gpt2"), batch_of(n=6)
    options = AttributionOptions(rows=2, neurons=True, example_edges=True)
    here = replace(options, folder=tmp_path)
    whole, real, done = attribute(model, batch, steps=2, options=options), METHODS["eap-ig"], []

    def interrupted(work, rows):
        if rows.start == 4 and len(done) == 2:
            raise KeyboardInterrupt
        done.append(rows.start)
        return real(work, rows)

    monkeypatch.setitem(METHODS, "eap-ig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        attribute(model, batch, steps=2, options=here)
    done.append("resumed")
    resumed = attribute(model, batch, steps=2, options=here)
    assert done == [0, 2, "resumed", 4]
    for name in ("scores", "per_example", "example_edges", "neurons"):
        assert np.array_equal(getattr(resumed, name), getattr(whole, name))
    assert resumed.about == whole.about
    done.clear()
    attribute(model, batch, steps=2, options=here)
    assert done == []


def test_a_folder_of_another_attribution_is_refused(tmp_path):
    model, batch = model_of("gpt2"), batch_of(n=2)
    attribute(model, batch, method="eap", options=AttributionOptions(folder=tmp_path))
    for other in ({"metric": "kl"}, {"ablation": "zero"}, {"directions": True}):
        with pytest.raises(ProbeError, match="the same attribution"):
            attribute(model, batch, method="eap", options=AttributionOptions(folder=tmp_path, **other))
    with pytest.raises(ProbeError, match="the same attribution"):
        attribute(model_of("gpt2", seed=1), batch, method="eap", options=AttributionOptions(folder=tmp_path))
