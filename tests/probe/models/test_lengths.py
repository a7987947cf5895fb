"""A length that no model or memory has room for is answered at once; one beyond a model's training is said."""

from __future__ import annotations

import time

import pytest
import torch

import probe
from probe.errors import ProbeError, TokenError
from probe.models.lengths import LongTextWarning
from probe.paradigms import Fluid, Masked
from probe.training.initial_model import initial_model
from probe.training.recipe import Recipe
from tests.probe.tiny import MASK, model_of, tokens_of


@pytest.mark.parametrize("paradigm", [None, Masked(mask_id=MASK), Fluid(mask_id=MASK)], ids=["ar", "masked", "fluid"])
def test_an_absurd_length_is_answered_at_once(paradigm):
    before = time.process_time()
    for length in (100_000_000, 10**15):
        with pytest.raises(TokenError, match="of free memory"):
            probe.decode(model_of("llama-gqa", paradigm), tokens_of(1, 4), length)
    with pytest.raises(TokenError, match="at most 64"):
        probe.decode(model_of("gpt2", paradigm), tokens_of(1, 4), 61)
    assert time.process_time() - before < 5


def test_a_text_beyond_the_models_training_is_said():
    model = model_of("llama-gqa")
    with pytest.warns(LongTextWarning, match=r"129 tokens is longer than the 128"):
        model.logits(tokens_of(1, 129))
    with pytest.warns(LongTextWarning, match="129"):
        probe.decode(model, tokens_of(1, 127), 2)
    with pytest.warns(LongTextWarning, match="129"):
        probe.record(model, tokens_of(1, 129), ["resid_post"], layers=[0])
    model.logits(tokens_of(1, 128))


def test_a_recording_that_memory_does_not_hold_is_refused():
    with pytest.raises(TokenError, match="of free memory"):
        probe.record(model_of("llama-gqa"), torch.zeros(1, 10_000_000, dtype=torch.uint8), ["resid_post"])


@pytest.mark.parametrize(
    "shape",
    [{"layers": 200_000}, {"d_model": 10**9}, {"d_mlp": 10**12}, {"layers": 1000, "d_model": 10**5, "d_mlp": 10**6}],
    ids=str,
)
def test_a_recipe_for_a_model_that_memory_does_not_hold_is_refused(tmp_path, shape):
    whole = {"layers": 2, "heads": 2, "kv_heads": 2, "d_model": 16, "d_mlp": 32, **shape}
    file = tmp_path / "recipe.yaml"
    file.write_text(f"name: x\nshape: {whole}\nparadigm: masked\ntasks: {{ioi: 1.0}}\nsteps: 1\n")
    with pytest.raises(ProbeError, match="shape"):
        initial_model(probe.training.read_recipe(file))


def test_the_size_of_a_shape_is_about_that_of_its_model():
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "shape": {"layers": 2, "heads": 4, "kv_heads": 2, "d_model": 32, "d_mlp": 48},
            "paradigm": "autoregressive",
            "tasks": {"ioi": 1.0},
            "steps": 1,
        }
    )
    model = initial_model(recipe)
    assert recipe.shape is not None
    assert recipe.shape.parameters(model.vocabulary) == pytest.approx(model.n_parameters, rel=0.05)
