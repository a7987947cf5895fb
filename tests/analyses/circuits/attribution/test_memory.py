"""An attribution takes the memory that it is said to, counted to the byte: what torch's allocator handed out and took
back, over shapes, lengths and options."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch.profiler import ProfilerActivity, profile

from analyses.circuits.attribution import gradients
from analyses.circuits.attribution.cost import Asked, Shape, random_attribution
from analyses.circuits.graph import Graph
from probe.models.model import Model
from probe.paradigms import Masked
from tests.benchmarks.frame import most_allocated

PLAIN: dict[str, bool] = {}
SPLIT = {"directions": True}
APART = {"directions": True, "by_row": True}
ALL = {"directions": True, "by_row": True, "neurons": True}
SHAPES = {
    "grouped": transformers.Qwen2Config(
        hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=4,
        vocab_size=300,
    ),
    "gpt2": transformers.GPT2Config(
        n_embd=128, n_head=8, n_layer=3, vocab_size=300, bos_token_id=None, eos_token_id=None
    ),
}  # fmt: skip


def most_held(work: Callable[[], Any]) -> int:
    """The most bytes that were allocated at a time while some work went on, and not before."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    return most_allocated(seen)


@pytest.mark.parametrize(
    ("shape", "length", "options", "dtype"),
    [
        ("grouped", 16, PLAIN, torch.float32),
        ("grouped", 16, SPLIT, torch.bfloat16),
        ("grouped", 96, ALL, torch.float32),
        ("grouped", 200, SPLIT, torch.float32),
        ("grouped", 200, APART, torch.float32),
        ("gpt2", 16, PLAIN, torch.float32),
        ("gpt2", 16, APART, torch.bfloat16),
        ("gpt2", 96, SPLIT, torch.float32),
        ("gpt2", 200, APART, torch.float32),
    ],
)
def test_the_estimate_is_what_is_taken_within_a_quarter(shape, length, options, dtype):
    backbone = transformers.AutoModelForCausalLM.from_config(SHAPES[shape], dtype=dtype)
    model, asked, rows = Model(backbone, Masked(attention="full", mask_id=0)), Asked(**options), 2
    work = random_attribution(model, rows, length, steps=5)
    work.graph, work.by_row = Graph.of(model, directions=asked.directions), asked.by_row
    work.neurons = work.ablation.neurons = asked.neurons
    taken = most_held(lambda: gradients.along_inputs(work, slice(0, rows)))
    assert Shape.of(model).together(rows, length, "cpu", asked) == pytest.approx(taken, rel=0.25)


def test_with_directions_patterns_are_held_for_one_layer_at_a_time():
    """Kept for the gradient in every layer, three of 8 heads × 200² numbers were 46 MB a row at 12 layers."""
    config = transformers.GPT2Config(**{**SHAPES["gpt2"].to_dict(), "n_layer": 12, "n_embd": 32})
    model = Model(transformers.AutoModelForCausalLM.from_config(config), Masked(attention="full", mask_id=0))
    work = random_attribution(model, 1, 200, steps=1)
    work.graph = Graph.of(model, directions=True)
    assert most_held(lambda: gradients.along_inputs(work, slice(0, 1))) < 30e6
