"""What loading costs: a big checkpoint its size once, in pages that belong to the file."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import probe
from tests.forked import begin
from tests.probe.tiny import write_checkpoint


def private() -> float:
    """This process's own memory in MB: what it has not mapped from a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def loading(big: Path, small: Path, told: Path) -> None:
    """What a process of its own does: load, and tell how large the weights are and how much memory became private."""
    probe.load(small, tokenizer=False)  # what is imported and warmed up is not counted
    before, found = private(), []
    for depth in ("off", "full"):
        model = probe.load(big, tokenizer=False, selftest=depth)
        found.append((model.n_parameters * 4 / 2**20, private() - before))
    told.write_text(json.dumps(found))


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
    process = begin(loading, big, small, tmp_path / "told.json")
    process.join()
    assert process.exitcode == 0
    for size, own in json.loads((tmp_path / "told.json").read_text()):
        assert size > 180
        assert own < size / 4
