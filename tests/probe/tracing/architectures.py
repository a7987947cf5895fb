"""Tiny seeded models of every architecture, and canvases of every kind of attention."""

from __future__ import annotations

import functools

import torch
import transformers

from probe.models.model import Model
from probe.paradigms import Autoregressive, Fluid, Masked
from probe.paradigms.canvas import Canvas
from probe.paradigms.fluid import insert

VOCABULARY, MASK = 61, 60
ARCHITECTURES = ("gpt2", "llama", "qwen2", "qwen3")
ATTENTIONS = ("causal", "full", "block:3", "fluid")


def tiny_backbone(architecture: str, seed: int = 0) -> transformers.PreTrainedModel:
    """2 layers, d 32, 4 heads over 2 key and value heads (GPT-2: 4)."""
    torch.manual_seed(seed)
    if architecture == "gpt2":
        config = transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    else:
        kinds = {
            "llama": transformers.LlamaConfig,
            "qwen2": transformers.Qwen2Config,
            "qwen3": functools.partial(transformers.Qwen3Config, head_dim=12),  # heads wider than d / n
        }
        config = kinds[architecture](
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )
    config.initializer_range = 0.2  # large enough for every part to matter
    backbone = transformers.AutoModelForCausalLM.from_config(config)
    for name, weight in backbone.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    return backbone


@functools.cache
def model_of(architecture: str, attention: str = "causal", seed: int = 0) -> Model:
    """A model of an architecture, under one of ATTENTIONS."""
    paradigm = {
        "causal": Autoregressive(mask_id=MASK),
        "full": Masked(attention="full", mask_id=MASK, shift=False),
        "block:3": Masked(attention="block:3", mask_id=MASK, shift=False),
        "fluid": Fluid(mask_id=MASK),
    }[attention]
    return Model(tiny_backbone(architecture, seed), paradigm, name=f"tiny-{architecture}")


def tokens_of(examples: int = 3, length: int = 7, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, MASK, (examples, length), generator=torch.Generator().manual_seed(seed))


def canvas_of(model: Model, attention: str, examples: int = 3) -> Canvas:
    """A canvas of one of ATTENTIONS; FLUID's has inserted blocks, and not as many in every example."""
    tokens = tokens_of(examples)
    if attention != "fluid":
        return model.canvas(tokens)
    generator = torch.Generator().manual_seed(2)
    anchors = torch.rand(tokens.shape, generator=generator) < 0.4
    anchors[:, 2] = True
    return insert(tokens, anchors, torch.randint(1, 4, tokens.shape, generator=generator), MASK)


def hooks_of(model: Model) -> int:
    """How many hooks there are on a model, of any kind."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.backbone.modules() for kind in kinds)
