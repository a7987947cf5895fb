"""What an attribution is said to take, against what is really held."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from analyses.circuits import cost
from analyses.circuits.attribution.cost import Shape, random_attribution
from analyses.circuits.attribution.input_gradients import HELD
from tests.analyses.circuits.asking import model_of
from tests.probe import tiny

MODULE = import_module("analyses.circuits.attribution.cost")  # the package's name is that of the function
LENGTH = 24


def saved_by_a_pass(model, rows: int) -> int:
    """Bytes that autograd holds of a pass, each tensor's memory once, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.backbone.parameters()}
    held = {}

    def keep(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    canvas = model.canvas(torch.ones(rows, LENGTH, dtype=torch.long))
    point = model.embedding(canvas.tokens).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.run_trunk(canvas, inputs_embeds=point)
    del hidden
    return sum(size for place, size in held.items() if place not in weights)


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3"])
def test_what_autograd_saves_is_counted(variant):
    model = model_of(variant, "full")
    shape = Shape.of(model)
    more = saved_by_a_pass(model, 9) - saved_by_a_pass(model, 1)
    said = 8 * LENGTH * shape.n_layers * shape.saved
    assert said == pytest.approx(more, rel=0.25)


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa"])
def test_what_the_attribution_keeps_is_counted(variant):
    model = model_of(variant, "full")
    work, rows = random_attribution(model, 4, LENGTH, HELD), slice(0, 4)
    found = work.compared(rows, change=True)
    gradients = work.input_gradients(found)
    kept = [*found.other.heads, *found.other.mlps, *gradients.heads, *gradients.mlps]
    shape = Shape.of(model)
    held = HELD * (shape.d_model + gradients.projections[0].heads) * 4 + shape.projections * 4
    counted = sum(part.nbytes for part in kept) + 4 * LENGTH * shape.n_layers * held
    assert 4 * LENGTH * shape.n_layers * shape.kept == counted


def test_weights_are_counted():
    model = model_of("llama-gqa")
    assert Shape.of(model).weights == pytest.approx(4 * model.n_parameters, rel=0.01)


def test_time_is_taken_from_thin_models_to_the_whole_depth(monkeypatch):
    """A device on which a chunk takes 3 s, 2 s a layer, and its products what their FLOPs take at 1 MFLOP/s."""
    config = tiny.config_of("llama", num_hidden_layers=10)
    monkeypatch.setattr(MODULE, "_product_speed", lambda shape, place: 1e6)

    def timed(config, depth, rows, length, steps, place, dtype):
        shape = Shape.of_config(tiny.config_of("llama", num_hidden_layers=depth))
        return 3 + 2 * depth + shape.pair_flops(rows * length) / 1e6

    monkeypatch.setattr(MODULE, "_timed", timed)
    predicted = cost(config, n=16, length=LENGTH, at_once=4, device="cpu")
    chunk = 3 + 2 * 10 + Shape.of_config(config).pair_flops(4 * LENGTH) / 1e6
    assert predicted.seconds == pytest.approx(4 * chunk)
    assert predicted.memory == predicted.shape.weights + 4 * predicted.shape.row(LENGTH)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2", "qwen3"])
def test_a_dry_run_needs_a_configuration_and_no_weights(architecture):
    predicted = cost(tiny.config_of(architecture), n=3, length=8, steps=2, device="cpu")
    assert predicted.seconds > 0
    assert predicted.fits
    assert "3 rows × 8 tokens, m = 2, on cpu" in str(predicted)
