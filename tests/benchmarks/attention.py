"""What measuring attention and skip effects costs in memory, as layers and texts grow.

    python tests/benchmarks/attention.py [--markdown] [--lengths 512 1024 2048] [--layers 8 32] [--device cuda]

A Llama of random weights (4 heads), one text. Peak memory is that of a process of its own, less what it held before the
measure began; beside it stands what the patterns of all layers would take, were they kept. The measure is right if the
first column does not grow with the layers, and stays near one layer's pattern.
"""

from __future__ import annotations

import torch
import transformers
from frame import alone, arguments, held_while, main, seconds, show

from analyses.attention.heads import measured
from analyses.depth.layer_skipping import effect
from probe.models.model import Model
from probe.paradigms import Masked

HEADS, WIDTH = 4, 64
MEASURES = ("forward pass", "attention heads", "skip effects")


def run() -> None:
    options = arguments(__doc__, lengths=[512, 1024, 2048], layers=[8, 32])
    rows = (
        row(layers, length, measure, options.device)
        for length in options.lengths
        for layers in options.layers
        for measure in MEASURES
    )
    show("Peak memory of one text", rows, options.markdown)


def row(layers: int, length: int, measure: str, device: str) -> dict[str, str]:
    found = alone(__file__, "peak", layers=layers, length=length, measure=measure, device=device)
    pattern = 4 * HEADS * length**2
    sizes = {"peak memory": found["bytes"], "one layer's patterns": pattern, "all patterns": pattern * layers}
    told = {"layers": str(layers), "tokens": str(length), "measure": measure, "seconds": f"{found['seconds']:.1f}"}
    return told | {name: f"{size / 2**20:,.0f} MB" for name, size in sizes.items()}


def peak_of(layers: int, length: int, measure: str, device: str) -> dict[str, float]:
    """The most that a measure holds, above what stood there before, and its time."""
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=layers,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=length,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Model(transformers.AutoModelForCausalLM.from_config(config).to(device), Masked(mask_id=0), name="random")
    work = {
        "forward pass": lambda tokens: model.run_trunk(model.canvas(tokens), eager=True),
        "attention heads": lambda tokens: measured(model, model.canvas(tokens)),
        "skip effects": lambda tokens: effect(model, model.canvas(tokens), torch.full((1, 1), 8)),
    }[measure]
    with torch.no_grad():
        work(torch.randint(1, 512, (1, 16)))  # what is loaded on first use is loaded now
        tokens, took = torch.randint(1, 512, (1, length)), []
        before, most = held_while(lambda: took.append(seconds(lambda: work(tokens), device)), device)
    return {"bytes": most - before, "seconds": took[0]}


if __name__ == "__main__":
    main(run, peak=peak_of)
