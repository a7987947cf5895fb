"""What recording costs, beside the bare forward pass, TransformerLens and nnsight.

    python tests/benchmarks/record.py [--device cuda] [--markdown]

For a model of GPT-2 small's shape and one of SmolLM2-135M's (random weights): the residual stream after every layer,
and the attention patterns of every layer, each handed over as one array with a layer axis. Each way of getting them is
timed in turn, many times over; a ratio is the median of the ratios within a turn, so that what else the machine does
strikes all alike. On the CPU it is the time of one thread of this process, which others hardly disturb. Memory is
measured in a process of its own for each: the peak during one pass, less the bare pass's, over the bytes asked for.

The bare pass makes the same outputs: no unembedding, and eager attention where patterns are wanted. TransformerLens is
told to stop before the unembedding. nnsight is measured twice: as it is used, around the whole model, and wrapped
around the trunk alone, where it too is spared the unembedding.
"""

from __future__ import annotations

import argparse
import gc
import statistics
from collections.abc import Callable
from typing import Any

import torch
import transformers
from frame import alone, arguments, held_while, main, seconds, show

from probe.models.model import Model
from probe.paradigms import Masked, visibility
from probe.tracing import record
from probe.tracing.tracers.module_view import module_view
from probe.tracing.tracers.transformer_lens import boot

SHAPES = {
    "GPT-2 small": transformers.GPT2Config(),
    "Llama 135M": transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    ),
}
RECORDED = {"residual stream": "resid_post", "patterns": "pattern"}
WAYS = ("bare", "twinprobe", "transformer_lens", "nnsight", "nnsight on the trunk")


def run() -> None:
    options = arguments(__doc__, batch=4, length=64, repetitions=9)
    size = f"{options.batch} × {options.length} tokens on {options.device}, float32"
    rows = (told(row(shape, what, options)) for shape in SHAPES for what in RECORDED)
    show(f"Recording, {size}; time over the bare forward, memory over the bytes asked for", rows, options.markdown)


def model_of(shape: str, device: str) -> Model:
    torch.manual_seed(0)
    backbone = transformers.AutoModelForCausalLM.from_config(SHAPES[shape]).to(device)
    return Model(backbone, Masked(attention="full", mask_id=0), name=shape)


def passes(model: Model, what: str, batch: int, length: int) -> dict[str, Callable[[], Callable[[], Any]]]:
    """For each way, what makes ready for its pass and then returns the pass."""
    tokens = torch.randint(1, 1000, (batch, length), device=model.device)
    canvas, site = model.canvas(tokens), RECORDED[what]
    inputs = {
        "input_ids": tokens,
        "attention_mask": visibility.additive(canvas.allowed).expand(len(tokens), -1, -1, -1),
        "position_ids": canvas.places.expand(len(tokens), -1),
        "use_cache": False,
    }

    def bare():
        return lambda: model.run_trunk(canvas, eager=site == "pattern")

    def ours():
        return lambda: record(model, tokens, site, batch_size=batch)

    def lens():
        bridge = boot(model)
        hook = {"resid_post": "hook_resid_post", "pattern": "attn.hook_pattern"}[site]
        names = [f"blocks.{layer}.{hook}" for layer in range(model.n_layers)]
        shown = {name: inputs[name] for name in ("attention_mask", "position_ids")}
        how = {"names_filter": names, "stop_at_layer": model.n_layers, **shown}

        def run() -> torch.Tensor:
            _, cache = bridge.run_with_cache(tokens, **how)
            return torch.stack([cache[name] for name in names], dim=1)

        return run

    def nnsight(root: str = ""):
        import nnsight

        backbone = module_view(model, "nnsight")
        backbone.config._attn_implementation = "eager" if site == "pattern" else "sdpa"
        wrapped = nnsight.NNsight(backbone.get_submodule(root))
        layers = model.layout.layers.removeprefix(f"{root}.")
        paths = [f"{layers}.{layer}" for layer in range(model.n_layers)]
        if site == "pattern":
            paths = [f"{path}.{model.layout.attention}" for path in paths]
        return lambda: with_nnsight(wrapped, paths, inputs, 1 if site == "pattern" else None)

    def nnsight_trunk():
        return nnsight(model.layout.trunk)

    return dict(zip(WAYS, (bare, ours, lens, nnsight, nnsight_trunk), strict=True))


def with_nnsight(trunk, paths: list[str], inputs: dict, part: int | None) -> torch.Tensor:
    import nnsight

    with trunk.trace(**inputs):
        found = nnsight.save([])
        for path in paths:
            output = trunk.get(path).output
            found.append(output if part is None else output[part])
    return torch.stack(found, dim=1)


def row(shape: str, what: str, options: argparse.Namespace) -> dict[str, Any]:
    """Times in this process, memory in others."""
    model, size = model_of(shape, options.device), {"batch": options.batch, "length": options.length}
    ready = {way: make() for way, make in passes(model, what, **size).items()}
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    with torch.no_grad():
        for turn in range(options.repetitions + 1):
            for way, ask in ready.items():
                gc.collect()
                each = seconds(ask, options.device)
                if turn:  # the first warms up
                    took[way].append(each)
    del model, ready
    place = {"shape": shape, "what": what, "device": options.device, **size}
    memory = {way: alone(__file__, "peak", way=way, **place) for way in WAYS}
    asked = memory["twinprobe"]["asked"]
    times = {way: [mine / bare for mine, bare in zip(took[way], took["bare"], strict=True)] for way in WAYS}
    return {
        "shape": shape,
        "what": what,
        "bare": statistics.median(took["bare"]),
        "asked": asked,
        "time": {way: statistics.median(ratios) for way, ratios in times.items()},
        "memory": {way: (memory[way]["peak"] - memory["bare"]["peak"]) / asked for way in WAYS},
    }


def peak_of(shape: str, what: str, way: str, device: str, batch: int, length: int) -> dict[str, int]:
    """Bytes above the level before one pass, at its peak."""
    model = model_of(shape, device)
    ask, kept = passes(model, what, batch, length)[way](), []
    with torch.no_grad():
        ask()  # what is allocated once and kept is nobody's cost
        gc.collect()
        before, most = held_while(lambda: kept.append(ask()), device)
    asked = sum(kept[0][site].nbytes for site in RECORDED.values() if site in kept[0]) if way == "twinprobe" else 0
    return {"peak": most - before, "asked": asked}


def told(each: dict[str, Any]) -> dict[str, str]:
    """A row as a reader has it."""
    return {
        "model": each["shape"],
        "recorded": each["what"],
        "bare forward": f"{1000 * each['bare']:.0f} ms",
        **{f"{way}, time": f"{each['time'][way]:.2f} ×" for way in WAYS[1:]},
        "bytes asked": f"{each['asked'] / 1e6:.0f} MB",
        **{f"{way}, memory": f"{each['memory'][way]:.2f} ×" for way in WAYS[1:]},
    }


if __name__ == "__main__":
    main(run, peak=peak_of)
