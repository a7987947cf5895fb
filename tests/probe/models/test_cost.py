"""What loading costs: a big checkpoint its size once, in pages that belong to the file."""

from __future__ import annotations

import subprocess
import sys

import torch

from tests.probe.tiny import write_checkpoint

MEASURE = """
import sys, torch, probe

def private():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

probe.load(sys.argv[2], tokenizer=False)  # what is imported and warmed up is not counted
before = private()
for depth in ("off", "full"):
    model = probe.load(sys.argv[1], tokenizer=False, selftest=depth)
    print(model.n_parameters * 4 / 2**20, private() - before)
"""


def config(layers: int, width: int) -> dict:
    return {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 64,
        "tie_word_embeddings": False,
    }


def write_big(folder, layers: int, width: int):
    """A checkpoint without ever holding a model: the same few tensors again and again."""
    square, wide = torch.randn(width, width) * 0.02, torch.randn(4 * width, width) * 0.02
    tensors = {"model.embed_tokens.weight": torch.randn(64, width), "model.norm.weight": torch.ones(width)}
    tensors["lm_head.weight"] = torch.randn(64, width)
    for layer in range(layers):
        at = f"model.layers.{layer}"
        tensors |= {f"{at}.self_attn.{part}_proj.weight": square.clone() for part in "qkvo"}
        tensors |= {f"{at}.mlp.{part}_proj.weight": wide.clone() for part in ("gate", "up")}
        tensors[f"{at}.mlp.down_proj.weight"] = wide.T.contiguous()
        tensors |= {f"{at}.{norm}_layernorm.weight": torch.ones(width) for norm in ("input", "post_attention")}
    return write_checkpoint(folder, config(layers, width), tensors, shards=2 if layers > 1 else 1)


def test_weights_are_mapped_not_copied(tmp_path):
    big, small = write_big(tmp_path / "big", 12, 512), write_big(tmp_path / "small", 1, 64)
    how = [sys.executable, "-c", MEASURE, str(big), str(small)]
    told = subprocess.run(how, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert len(told) == 2
    for line in told:
        size, private = map(float, line.split())
        assert size > 180
        assert private < size / 4
