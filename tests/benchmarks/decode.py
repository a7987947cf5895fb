"""What keeping keys and values saves: `python tests/benchmarks/decode.py [length]` prints a table.

An untrained LLaMA of 6 layers (d 256) writes behind a prompt of 32 tokens, 8 texts side by side, with and without a
cache. Its weights are random, so strides are as bad as they come: each keeps about one token.
"""

from __future__ import annotations

import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import probe
from probe.decoding import Sampler, Strides
from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked

VOCABULARY, MASK = 1000, 999
WRITERS = {
    "autoregressive": (Autoregressive(), None),
    "block:8": (Block(mask_id=MASK, attention="block:8"), None),
    "block:8, 2 at a step": (Block(mask_id=MASK, attention="block:8"), "half"),
    "fluid, strides of 8, verified": (Fluid(mask_id=MASK), Strides(8, 0.0)),
    "fluid, strides of 8": (Fluid(mask_id=MASK), Strides(8, 0.0, verify=False)),
    "masked, full attention": (Masked(mask_id=MASK), None),
}


def main(length: int = 128) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_key_value_heads": 4}
    config = LlamaConfig(vocab_size=VOCABULARY, num_attention_heads=8, **shape)
    backbone = LlamaForCausalLM(config)
    prompt = torch.randint(0, MASK, (8, 32))
    print("| writes as | passes | slots, whole | slots, kept | seconds, whole | seconds, kept |")
    print("|---|---|---|---|---|---|")
    for name, (paradigm, rule) in WRITERS.items():
        model = Model(backbone, paradigm)
        rule = Sampler(steps=length // 2) if rule == "half" else rule
        figures = [timed(model, prompt, length, rule, cache) for cache in (False, None)]
        (whole, slow), (kept, fast) = figures
        print(f"| {name} | {kept.forward_passes} | {whole.slots:,} | {kept.slots:,} | {slow:.2f} | {fast:.2f} |")


def timed(model: Model, prompt: torch.Tensor, length: int, rule, cache: bool | None):
    began = time.perf_counter()
    return probe.decode(model, prompt, length, sampler=rule, cache=cache), time.perf_counter() - began


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
