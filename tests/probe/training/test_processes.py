"""Training in two processes: gradients are added up, so that both end with the same weights, and one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

import probe
from probe.training import read_recipe

TINY = {
    "name": "two",
    "shape": {"layers": 1, "heads": 2, "kv_heads": 1, "d_model": 16, "d_mlp": 32},
    "tasks": {"ioi": 1, "countdown": 1},
    "steps": 3,
    "batch": 4,
    "learning_rate": 0.01,
}

# What each process does: train by each recipe as `twinprobe adapt` does, and say what weights it ended with.
RANK = """
import json, os, sys
from probe.training import read_recipe
adapt = sys.modules["probe.training.adapt"]
first, made = adapt.initial_model, []

def initial_model(recipe):
    made.append(first(recipe))
    return made[-1]

adapt.initial_model = initial_model
for name in sys.argv[1:]:
    adapt.adapt(read_recipe(f"{name}.yaml"), name, quiet=True)
    parts = [made[-1].backbone, *made[-1].attachments.values()]
    found = [value.double().norm().item() for part in parts for value in part.parameters()]
    with open(f"{name}-{os.environ['RANK']}.json", "w") as file:
        json.dump(found, file)
"""


@pytest.mark.slow
def test_two_processes_learn_together(tmp_path):
    """One after the other, since to start both processes takes longer than what they learn."""
    paradigms = ("masked", "flow_map")
    for paradigm in paradigms:
        (tmp_path / f"{paradigm}.yaml").write_text(yaml.safe_dump({**TINY, "paradigm": paradigm}))
    (tmp_path / "rank.py").write_text(RANK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = subprocess.run(
        [*launch, "rank.py", *paradigms],
        cwd=tmp_path,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    for paradigm in paradigms:
        first, second = (json.loads((tmp_path / f"{paradigm}-{rank}.json").read_text()) for rank in (0, 1))
        assert first == second
        assert probe.load(tmp_path / paradigm, selftest="off").paradigm.name == paradigm


def test_a_flow_is_not_trained_in_pieces(tmp_path, monkeypatch):
    module = sys.modules["probe.training.adapt"]

    class Sharded(module.AdaptationTrainer):
        def __init__(self, *given, **how):
            super().__init__(*given, **how)
            self.is_fsdp_enabled = True  # what an FSDP configuration of accelerate's sets

    monkeypatch.setattr(module, "AdaptationTrainer", Sharded)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**TINY, "paradigm": "flow"}))
    with pytest.raises(probe.ProbeError, match=r"flow trained under FSDP.*without FSDP"):
        module.adapt(read_recipe(tmp_path / "recipe.yaml"), tmp_path / "made", quiet=True)
