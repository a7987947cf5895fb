"""A tracer of one's own: the page that says how to add one is followed to the letter, as an installed package."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import probe
from probe.errors import TraceError
from probe.tracing import record
from tests.probe.tracing.architectures import canvas_of, hooks_of, model_of

PAGE = Path(__file__).parents[4] / "docs" / "how_to" / "add_a_tracer.md"


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """The page's code as an installed package: its module, and the entry point that it declares."""
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL))
    group, entry = blocks["toml"].splitlines()
    assert group == '[project.entry-points."twinprobe.tracers"]'
    (tmp_path / "my_tracer.py").write_text(blocks["python"], "utf-8")
    metadata = tmp_path / "my_tracer-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tracer\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[twinprobe.tracers]\n" + entry.replace('"', "") + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_tracer", raising=False)
    return tmp_path


def test_it_finds_what_the_hooks_find(installed, architecture, attention):
    model = model_of(architecture, attention)
    canvas, sites = canvas_of(model, attention), ["resid_pre", "logits"]
    ours = record(model, canvas, sites, positions=[0, 3])
    theirs = record(model, canvas, sites, positions=[0, 3], tracer="hidden_states")
    for name in sites:
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-5)
    assert theirs.attrs["tracer"] == "hidden_states"
    assert hooks_of(model) == 0


def test_it_runs_as_the_page_says(installed):
    model = probe.load("zoo:masked")
    trace = probe.record(model, "When Luke and Keith went to the", "resid_pre", tracer="hidden_states")
    assert trace.sizes["layer"] == model.n_layers


def test_a_site_that_it_does_not_know_is_named(installed):
    model = model_of("llama")
    with pytest.raises(TraceError, match="hidden_states"):
        record(model, canvas_of(model, "causal"), "pattern", tracer="hidden_states")


def test_without_the_package_there_is_no_such_tracer():
    model = model_of("llama")
    with pytest.raises(TraceError, match="one of hooks, transformer_lens, nnsight"):
        record(model, canvas_of(model, "causal"), "logits", tracer="hidden_states")
