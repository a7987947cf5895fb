"""What keeping keys and values saves: python tests/benchmarks/decode.py [--length 128]

An untrained LLaMA of 6 layers (d 256) writes behind a prompt of 32 tokens, 8 texts side by side, with and without a
cache. Its weights are random, so strides are as bad as they come: each keeps about one token.
"""

from __future__ import annotations

import torch
from frame import arguments, main, seconds, show
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
    "fluid, strides of 8, verified as the next is drafted": (Fluid(mask_id=MASK), Strides(8)),
    "fluid, strides of 8, verified": (Fluid(mask_id=MASK), Strides(8, 0.0, overlap=False)),
    "fluid, strides of 8": (Fluid(mask_id=MASK), Strides(8, 0.0, verify=False)),
    "masked, full attention": (Masked(mask_id=MASK), None),
}


def run() -> None:
    options = arguments(__doc__, length=128)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=704, num_hidden_layers=6,
        num_attention_heads=8, num_key_value_heads=4,
    )  # fmt: skip
    backbone = LlamaForCausalLM(config).to(options.device)
    prompt = torch.randint(0, MASK, (8, 32), device=options.device)
    rows = (row(name, backbone, prompt, options.length, options.device) for name in WRITERS)
    show("Decoding with and without a cache", rows, options.markdown)


def row(name: str, backbone: LlamaForCausalLM, prompt: torch.Tensor, length: int, device: str) -> dict[str, str]:
    paradigm, rule = WRITERS[name]
    model = Model(backbone, paradigm)
    sampler = Sampler(steps=length // 2) if rule == "half" else rule
    runs, took = [], []
    for cache in (False, None):
        kept = probe.PassOptions(cache=cache)
        decode = lambda kept=kept: runs.append(probe.decode(model, prompt, length, sampler=sampler, passes=kept))  # noqa: E731
        took.append(seconds(decode, device))
    (whole, kept), (slow, fast) = runs, took
    slots = {"slots, whole": f"{whole.slots:,}", "slots, kept": f"{kept.slots:,}"}
    times = {"seconds, whole": f"{slow:.2f}", "seconds, kept": f"{fast:.2f}"}
    return {"writes as": name, "passes": str(kept.forward_passes), **slots, **times}


if __name__ == "__main__":
    main(run)
