"""Traces in TransformerLens's names, there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray

from probe.errors import TraceError
from probe.paradigms import visibility
from probe.tracing import SITES, from_activation_cache, record, to_activation_cache
from probe.tracing.tracers.transformer_lens import boot
from tests.probe.tracing.architectures import canvas_of, model_of


def test_a_trace_is_the_cache_that_transformer_lens_makes(architecture):
    model = model_of(architecture, "full")
    canvas = canvas_of(model, "full")
    bridge = boot(model)
    with torch.no_grad():
        _, theirs = bridge.run_with_cache(
            canvas.tokens,
            attention_mask=visibility.additive(canvas.allowed),
            position_ids=canvas.places.expand(len(canvas), -1),
        )
    ours = to_activation_cache(record(model, canvas, [name for name in SITES if name != "head_out"]), bridge)
    assert set(ours.keys()) <= set(theirs.keys())
    assert "blocks.1.attn.hook_z" in ours
    for name in ours.keys():  # noqa: SIM118  (an ActivationCache iterates over something else)
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0)
    assert ours["resid_post", -1].shape == (3, 7, 32)  # its own shorthands work


def test_there_and_back(model, tokens):
    trace = record(model, tokens, ["resid_post", "q", "k", "pattern", "head_out", "final_norm", "logits"])
    back = from_activation_cache(dict(to_activation_cache(trace).items()))
    for name in trace:
        xarray.testing.assert_equal(
            back[name].drop_vars("layer", errors="ignore"), xarray.DataArray(trace[name].values, dims=trace[name].dims)
        )
    assert back["layer"].values.tolist() == [0, 1]


def test_layers_that_a_cache_lacks_are_nan(model, tokens):
    cache = dict(to_activation_cache(record(model, tokens, ["resid_post", "z"])).items())
    del cache["blocks.0.attn.hook_z"]
    back = from_activation_cache(cache)
    assert np.isnan(back["z"].sel(layer=0)).all()
    assert np.isfinite(back["z"].sel(layer=1)).all()


def test_what_cannot_be_said_there_is_refused(model, tokens):
    with pytest.raises(TraceError, match=r"trace\.sel\(step"):
        to_activation_cache(record(model, tokens, "z", decode={"length": 2}))
    with pytest.raises(TraceError, match="run_with_cache"):
        from_activation_cache({"layer3.something": torch.zeros(1)})
