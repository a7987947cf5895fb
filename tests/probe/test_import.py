"""`import probe` is cheap: nothing heavy comes in before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "transformer_lens", "nnsight", "xarray", "zarr", "pandas", "plotly", "numpy")
MEASURE = """
import sys, time
began = time.process_time()
import probe
took = time.process_time() - began
print(took, *(name for name in sys.argv[1:] if name in sys.modules))
"""


def test_importing_probe_is_quick_and_brings_nothing_heavy():
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, *HEAVY], capture_output=True, text=True, check=True, timeout=600
    )
    took, *brought = told.stdout.split()
    assert float(took) < 1.5
    assert brought == []


def test_every_public_name_is_there():
    import probe

    for name in probe.__all__:
        assert getattr(probe, name) is not None
    assert set(probe.__all__) <= set(dir(probe))
    assert not {"TYPE_CHECKING", "annotations", "lazy"} & set(dir(probe))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = probe.nothing_of_the_kind
