"""Traces in one file: the same dataset back, plain tensors for others, nothing believed of a file that is not ours."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from probe.errors import TraceError
from probe.paradigms import Masked
from probe.tracing import read_safetensors, record, write_safetensors
from tests.probe.tiny import MASK, model_of, tokens_of


@pytest.fixture(scope="module")
def run():
    model = model_of("llama-gqa", Masked(mask_id=MASK, shift=False))
    return record(model, tokens_of(2, 3), ["resid_post", "pattern"], decode={"length": 3})


def test_the_same_trace_comes_back(run, tmp_path):
    back = read_safetensors(write_safetensors(run, tmp_path / "trace.safetensors"))
    assert set(back.coords) == set(run.coords)
    for name in run.variables:
        assert back[name].dims == run[name].dims
        assert back[name].dtype == run[name].dtype or run[name].dtype.kind not in "biuf"
        np.testing.assert_array_equal(back[name].values, run[name].values)
    assert back.attrs["model"] == run.attrs["model"]
    assert back.resid_post.sel(layer=1, step=0).shape == run.resid_post.sel(layer=1, step=0).shape


def test_others_see_plain_tensors(run, tmp_path):
    tensors = load_file(write_safetensors(run, tmp_path / "trace.safetensors"))
    torch.testing.assert_close(tensors["resid_post"], torch.from_numpy(run.resid_post.values), equal_nan=True)


def written(path, about):
    save_file({"a": torch.zeros(2, 3)}, path, metadata={"twinprobe": about})
    return path


@pytest.mark.parametrize(
    "about",
    [
        "[]",
        "{",
        json.dumps({"axes": {"a": ["x"]}, "coordinates": [], "attributes": {}, "of": {}, "words": {}}),
        json.dumps({"axes": {"b": ["x"]}, "coordinates": [], "attributes": {}, "of": {}, "words": {}}),
        json.dumps({"axes": 3, "coordinates": 1}),
        json.dumps({"axes": {"a": ["x", "y"]}, "coordinates": ["z"], "attributes": 1, "of": [], "words": {}}),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(about, tmp_path):
    with pytest.raises(TraceError):
        read_safetensors(written(tmp_path / "x.safetensors", about))


def test_files_of_others_are_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(TraceError, match="write_safetensors wrote"):
        read_safetensors(tmp_path / "plain.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(TraceError, match="a safetensors file"):
        read_safetensors(tmp_path / "torn.safetensors")
    with pytest.raises(TraceError, match="none there"):
        read_safetensors(tmp_path / "absent.safetensors")
