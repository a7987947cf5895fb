"""`pip install twinprobe` alone does the work: Streamlit, TransformerLens, nnsight and Ray are extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"streamlit", "transformer_lens", "nnsight", "ray"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""
RECORD = """
import analyses
import probe

pair = probe.load_pair("zoo:masked")
batch = probe.task("ioi").batch(pair, n=8, seed=0)
trace = probe.record(pair.diffusion, batch, ["resid_post"], reading="prefix")
assert trace.sizes["example"] == 8
circuit = analyses.circuits.attribute(pair.diffusion, batch, reading="prefix", steps=2)
assert len(circuit.top(10)) == 10

for tracer in ("nnsight", "transformer_lens"):
    try:
        probe.record(pair.diffusion, batch, ["resid_post"], reading="prefix", tracer=tracer)
    except probe.ProbeError as error:
        assert "pip install 'twinprobe[tracers]'" in str(error), error
        assert tracer in str(error)
    else:
        raise AssertionError(tracer)
"""
JOB = """
from probe.cli import main

small = ["pairs=[zoo:masked]", "tasks=[ioi]", "measures=[weight_drift, spread]", "budget.examples=8"]
options = [word for override in small for word in ("--set", override)]
sys.argv = ["twinprobe", "demo", "--workers", "0", "--out", sys.argv[1], *options]
main()
"""


def told(code: str, *arguments: str, cwd=None) -> str:
    command = [sys.executable, "-c", WITHOUT + code, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_it_loads_records_attributes_runs_a_job_and_says_what_a_tracer_needs(tmp_path):
    """In one process, since it takes longer to begin than to do any of it."""
    told(RECORD + JOB, str(tmp_path / "run"), cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()
