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
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

from probe.models.model import Model
from probe.paradigms import Masked, visibility
from probe.tracing import record
from probe.tracing.tracers.module_view import twin_tree
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


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(peak_of(*options.measure, options)))
        return
    rows = [row(shape, what, options) for shape in SHAPES for what in RECORDED]
    show(rows, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    parser.add_argument("--measure", nargs=3, metavar=("SHAPE", "WHAT", "WAY"), help=argparse.SUPPRESS)
    return parser.parse_args()


def model_of(shape: str, device: str) -> Model:
    torch.manual_seed(0)
    backbone = transformers.AutoModelForCausalLM.from_config(SHAPES[shape]).to(device)
    return Model(backbone, Masked(attention="full", mask_id=0), name=shape)


def passes(model: Model, what: str, options: argparse.Namespace) -> dict[str, Callable[[], Callable[[], object]]]:
    """For each way, what makes ready for its pass and then returns the pass."""
    tokens = torch.randint(1, 1000, (options.batch, options.length), device=model.device)
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
        return lambda: record(model, tokens, site, batch_size=options.batch)

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

        backbone = twin_tree(model, "nnsight")
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


def row(shape: str, what: str, options: argparse.Namespace) -> dict:
    """Times in this process, memory in others."""
    model = model_of(shape, options.device)
    ready = {way: make() for way, make in passes(model, what, options).items()}
    seconds = {way: [] for way in WAYS}
    with torch.no_grad():
        for turn in range(options.repetitions + 1):
            for way, run in ready.items():
                gc.collect()
                taken = timed(run, options.device)
                if turn:  # the first warms up
                    seconds[way].append(taken)
    del model, ready
    memory = {way: measured(shape, what, way, options) for way in WAYS}
    asked = memory["twinprobe"]["asked"]
    times = {way: [mine / bare for mine, bare in zip(seconds[way], seconds["bare"], strict=True)] for way in WAYS}
    return {
        "shape": shape,
        "what": what,
        "bare": statistics.median(seconds["bare"]),
        "asked": asked,
        "time": {way: statistics.median(ratios) for way, ratios in times.items()},
        "memory": {way: (memory[way]["peak"] - memory["bare"]["peak"]) / asked for way in WAYS},
    }


def timed(run: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else synchronised
    before = clock()
    kept = run()
    taken = clock() - before
    del kept
    return taken


def synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def measured(shape: str, what: str, way: str, options: argparse.Namespace) -> dict:
    """The peak memory of one way, from a process of its own."""
    command = [sys.executable, __file__, "--device", options.device, "--batch", str(options.batch)]
    command += ["--length", str(options.length), "--measure", shape, what, way]
    # A fixed threshold gives freed memory back at once; otherwise the allocator's habits are what is measured.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


def peak_of(shape: str, what: str, way: str, options: argparse.Namespace) -> dict:
    """Bytes above the level before one pass, at its peak."""
    model = model_of(shape, options.device)
    run = passes(model, what, options)[way]()
    with torch.no_grad():
        run()  # what is allocated once and kept is nobody's cost
        gc.collect()
        level = reset_peak(options.device)
        kept = run()
        peak = peak_now(options.device) - level
    asked = sum(kept[site].nbytes for site in RECORDED.values() if site in kept) if way == "twinprobe" else 0
    return {"peak": peak, "asked": asked}


def reset_peak(device: str) -> int:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM counts anew
    return status("VmRSS")


def peak_now(device: str) -> int:
    return status("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()


def status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def show(rows: list[dict], options: argparse.Namespace) -> None:
    heads = ["model", "recorded", "bare forward", *(f"{way}, time" for way in WAYS[1:])]
    heads += ["bytes asked", *(f"{way}, memory" for way in WAYS[1:])]
    lines = [
        [
            each["shape"],
            each["what"],
            f"{1000 * each['bare']:.0f} ms",
            *(f"{each['time'][way]:.2f} ×" for way in WAYS[1:]),
            f"{each['asked'] / 1e6:.0f} MB",
            *(f"{each['memory'][way]:.2f} ×" for way in WAYS[1:]),
        ]
        for each in rows
    ]
    if options.markdown:
        print("| " + " | ".join(heads) + " |")
        print("|" + " --- |" * len(heads))
        for line in lines:
            print("| " + " | ".join(line) + " |")
        return
    size = f"{options.batch} × {options.length} tokens on {options.device}, float32"
    table = Table(*heads, title=f"Recording, {size}; time over the bare forward, memory over the bytes asked for")
    for line in lines:
        table.add_row(*line)
    Console(width=max(160, Console().width)).print(table)


if __name__ == "__main__":
    main()
