"""What an attribution is said to take, against what is really held."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
import transformers

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


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3", "mixtral", "modernbert"])
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


@pytest.mark.parametrize("variant", ["llama-gqa", "phi3", "mixtral", "qwen3-moe-mixed", "glm4-moe"])
def test_weights_are_counted_of_all_experts(variant):
    """All but norms, routers and biases."""
    model = model_of(variant)
    small = sum(part.numel() for name, part in model.backbone.named_parameters() if part.dim() == 1 or ".gate." in name)
    assert Shape.of(model).weights == pytest.approx(4 * (model.n_parameters - small), rel=0.001)


def test_a_token_s_work_is_that_of_the_experts_that_it_is_sent_to():
    few, many = (Shape.of_config(tiny.config_of("mixtral", num_local_experts=number)) for number in (4, 64))
    assert few.at_work == many.at_work
    assert many.weights > 8 * few.weights
    speed = 1e9
    assert MODULE._affordable(few, 4, 64, 5, speed) == MODULE._affordable(many, 4, 64, 5, speed)


def test_time_is_taken_from_thin_models_to_the_whole_depth(monkeypatch):
    """A device on which a chunk takes 3 s, 2 s a layer, and its products what their FLOPs take at 1 MFLOP/s."""
    config = tiny.config_of("llama", num_hidden_layers=10)
    monkeypatch.setattr(MODULE, "_product_speed", lambda shape, place: 1e6)

    def timed(config, depth, rows, length, steps, place, dtype):
        shape = Shape.of_config(tiny.config_of("llama", num_hidden_layers=depth))
        return 3 + 2 * depth + shape.pair_flops(rows * length) / 1e6

    monkeypatch.setattr(MODULE, "_timed", timed)
    monkeypatch.setattr(MODULE, "SECONDS", 1e9)  # all of it is timed
    predicted = cost(config, n=16, length=LENGTH, at_once=4, device="cpu")
    chunk = 3 + 2 * 10 + Shape.of_config(config).pair_flops(4 * LENGTH) / 1e6
    assert predicted.seconds == pytest.approx(4 * chunk)
    assert predicted.memory == predicted.shape.weights + predicted.shape.together(4, LENGTH, "cpu")


def test_an_estimate_takes_seconds_whatever_the_model(monkeypatch):
    """Of a 7B's shape only as many tokens and steps are timed as take a layer a second; the rest is reckoned."""
    shape = Shape.of_config(
        transformers.Qwen2Config(
            hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
            num_key_value_heads=4, vocab_size=152064,
        )
    )  # fmt: skip
    a_token = 2 * 233e6
    for speed in (2e10, 2e12, 2e14):
        rows, length, steps = MODULE._affordable(shape, 32, 64, 5, speed)
        took = rows * length * (3 * steps + 2) * a_token / speed
        assert took <= 1.1 or (rows, length, steps) == (1, 16, 1)
    assert MODULE._affordable(shape, 32, 64, 5, 1e15) == (32, 64, 5)


def test_time_of_a_sample_is_that_of_the_whole():
    config = tiny.config_of("llama", num_hidden_layers=4, hidden_size=128, intermediate_size=384)
    whole = cost(config, n=8, length=32, steps=4, at_once=8, device="cpu").seconds
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MODULE, "_affordable", lambda *_: (4, 32, 2))
        sample = cost(config, n=8, length=32, steps=4, at_once=8, device="cpu").seconds
    assert whole / 2.5 < sample < whole * 2.5


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2", "qwen3"])
def test_a_dry_run_needs_a_configuration_and_no_weights(architecture):
    predicted = cost(tiny.config_of(architecture), n=3, length=8, steps=2, device="cpu")
    assert predicted.seconds > 0
    assert predicted.fits
    assert "3 rows × 8 tokens, m = 2, on cpu" in str(predicted)
