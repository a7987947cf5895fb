"""What a value holds is counted byte by byte: arrays once, files that are mapped not at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
import xarray

from probe.memory import bytes_held

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Holder:
    first: object
    second: object = None


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(MEGABYTE, np.int8),
        np.zeros(MEGABYTE, np.int8)[3:5],  # a view keeps all of it
        torch.zeros(MEGABYTE, dtype=torch.int8),
        pd.DataFrame({"estimate": np.zeros(MEGABYTE // 8)}),
        xarray.Dataset({"resid_post": (("feature",), np.zeros(MEGABYTE, np.int8))}),
    ],
    ids=["array", "view", "tensor", "table", "trace"],
)
def test_a_megabyte_is_one_wherever_it_lies(value):
    for held in (value, {"ar": [value]}, Holder(value, (value, value))):
        assert bytes_held(held) == pytest.approx(MEGABYTE, rel=2e-3)


def test_what_is_mapped_or_not_read_yet_is_not_held(tmp_path):
    np.save(tmp_path / "by_example.npy", np.zeros(MEGABYTE, np.int8))
    mapped = np.load(tmp_path / "by_example.npy", mmap_mode="r")
    assert bytes_held(mapped) == bytes_held(mapped[10:]) == 0
    xarray.Dataset({"resid_post": (("feature",), np.zeros(MEGABYTE, np.int8))}).to_zarr(
        tmp_path / "trace.zarr", consolidated=False
    )
    trace = xarray.open_zarr(tmp_path / "trace.zarr", consolidated=False, chunks=None)
    assert bytes_held(trace) < 0.01 * MEGABYTE
    _ = trace["resid_post"].values
    assert bytes_held(trace) == pytest.approx(MEGABYTE, rel=0.01)
