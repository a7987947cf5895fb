"""Rows come in no order, each once an epoch, and the same ones wherever one begins."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from analyses.features import Stream
from analyses.features.recording import recorded
from probe.errors import ProbeError
from probe.paradigms import Masked
from tests.analyses.planted import batch_of
from tests.probe.tiny import MASK, model_of


def numbered(n: int = 100, block: int = 7) -> Stream:
    return Stream.of_tensor(torch.arange(n, dtype=torch.float32)[:, None, None], block)


def taken(stream: Stream, count: int, **how) -> torch.Tensor:
    return torch.stack(list(islice(stream.batches(10, **how), count)))[..., 0, 0]


def test_an_epoch_holds_every_row_once_in_no_order():
    rows = taken(numbered(), 10).flatten()
    assert sorted(rows.tolist()) == list(range(100))
    assert (rows.diff() != 1).float().mean() > 0.9


@pytest.mark.parametrize("first", [1, 9, 13, 31])
def test_where_it_resumes_the_same_rows_come(first):
    assert torch.equal(taken(numbered(), 5, first=first), taken(numbered(), first + 5)[first:])


def test_pools_smaller_than_a_batch_are_joined():
    rows = next(iter(numbered(6, 2).batches(15)))
    counts = rows.flatten().long().bincount()
    assert (int(counts.sum()), int(counts.min()), int(counts.max())) == (15, 2, 3)


def test_another_seed_is_another_order():
    assert not torch.equal(taken(numbered(), 2), taken(numbered(), 2, seed=1))


@pytest.fixture
def models():
    paradigm = Masked(mask_id=MASK, shift=True)
    return {"ar": model_of("llama-gqa"), "diffusion": model_of("llama-gqa", paradigm=paradigm, seed=1)}


def batch(n: int = 6):
    clean = torch.randint(0, 40, (n, 8), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 2] += 1
    return batch_of(clean, corrupt, 6, clean[:, 6] + 1)


def test_recorded_states_are_those_of_both_models_side_by_side(models, tmp_path):
    stream = recorded(models, [batch(), batch(4)], layer=0, reading="prefix", folder=tmp_path, block=4)
    assert len(stream) == (6 + 4) * 5  # places 1 to 5
    assert [tuple(rows.shape) for _, rows in stream.blocks()] == [(20, 2, 32), (10, 2, 32), (20, 2, 32)]
    import probe

    trace = probe.record(models["ar"], batch(), ["resid_post"], layers=[0], positions=range(1, 6), reading="ar")
    whole = torch.from_numpy(trace["resid_post"].values).reshape(-1, 32)
    assert torch.allclose(torch.cat([stream.read(0), stream.read(1)])[:, 0], whole, atol=1e-6)


def test_traces_of_other_examples_are_not_laid_side_by_side(models, tmp_path):
    for number, size in enumerate((6, 4)):
        recorded({"ar": models["ar"]}, batch(size), layer=0, reading="prefix", folder=tmp_path / str(number))
    parts = [[tmp_path / "0" / "0-planted-ar.zarr", tmp_path / "1" / "0-planted-ar.zarr"]]
    with pytest.raises(ProbeError, match="same examples and places"):
        len(Stream.of_traces(parts))
