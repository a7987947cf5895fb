"""What EAP-IG costs, beside the passes that it cannot do without.

    python tests/benchmarks/circuits.py [--device cuda] [--markdown] [--only GPT-2]

For a model of GPT-2 small's shape and one of SmolLM2-135M's, which shares keys and values between heads (random
weights): 16 prompts of 32 tokens, m = 5. Bare are m forward and backward passes for the gradient at the input alone, no
parameter wanting one, and 2 forward passes; they read the answer as the attribution does. Both are timed in turn; a
ratio is the median of the ratios within a turn. On the CPU it is the time of this process, of one thread, which others
hardly disturb. Memory is the most that a process held, each measured in a process of its own, the weights included; and
the same without what it held before (weights, libraries).

Then how it grows: with prompts, steps and layers, in a smaller shape; and what the dry run says beforehand, beside what
it then took. On a GPU that includes a model of seven billion random bfloat16 weights with grouped queries:

    python tests/benchmarks/circuits.py --device cuda --table dry-run

And what bfloat16 changes of the scores, in shipped models:

    python tests/benchmarks/circuits.py --table precision --prompts 32
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from frame import alone, arguments, held_while, main, seconds, show

from analyses.circuits.attribution import gradients
from analyses.circuits.attribution.cost import random_attribution
from analyses.circuits.attribution.gradients import Attribution
from probe.models.model import Model
from probe.paradigms import Masked

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
ON_A_GPU = {
    "Llama 7B, grouped": transformers.LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
}
NO_WORDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}


def run() -> None:
    options = arguments(
        __doc__,
        prompts=16,
        length=32,
        steps=5,
        repetitions=5,
        table=("all", "passes", "growth", "dry-run", "precision"),
        only="",
    )
    shapes = [shape for shape in SHAPES if options.only in shape]
    if options.table in ("passes", "all"):
        show("EAP-IG beside its bare passes", (row(shape, options) for shape in shapes), options.markdown)
    if options.table in ("growth", "all"):
        show("How it grows", growth(options), options.markdown)
    if options.table in ("precision", "all"):
        show("Edge scores in bfloat16 beside float32's", precision(options.prompts), options.markdown)
    if options.table in ("dry-run", "all"):
        shapes += [shape for shape in ON_A_GPU if options.device == "cuda" and options.only in shape]
        rows = (foretold(shape, options) for shape in shapes)
        show("The dry run, and what it then took", rows, options.markdown)


def model_of(config: transformers.PretrainedConfig, device: str, dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(0)
    with torch.device(device):
        backbone = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    return Model(backbone, Masked(attention="full", mask_id=0), name="random")


def bare(work: Attribution, rows: int = 16) -> None:
    """The passes themselves."""
    model, prompts = work.model, work.prompts
    canvas = prompts.canvas()
    with torch.no_grad():
        for which in ("clean", "corrupt"):
            prompts.answer_logits(model.run_trunk(prompts.canvas(which)))
    for _ in range(work.steps):
        point = model.embedding(canvas.tokens).requires_grad_()
        hidden = model.run_trunk(canvas, inputs_embeds=point)
        torch.autograd.grad(work.metric(prompts.answer_logits(hidden), prompts.truth).sum(), point)


def ours(work: Attribution, rows: int = 16) -> None:
    for start in range(0, len(work.prompts), rows):
        gradients.along_inputs(work, slice(start, min(start + rows, len(work.prompts))))


WAYS = {"bare": bare, "EAP-IG": ours}


def row(shape: str, options: argparse.Namespace) -> dict[str, str]:
    model = model_of(SHAPES[shape], options.device)
    work = random_attribution(model, options.prompts, options.length, options.steps)
    for way in WAYS.values():
        way(work)
    turns = [
        {name: seconds(lambda way=way: way(work), options.device) for name, way in WAYS.items()}
        for _ in range(options.repetitions)
    ]
    ratio = statistics.median(turn["EAP-IG"] / turn["bare"] for turn in turns)
    size = {"shape": shape, "prompts": options.prompts, "length": options.length, "steps": options.steps}
    held = {way: alone(__file__, "held", size={**size, "way": way}, device=options.device) for way in WAYS}
    above = {way: most - before for way, (before, most) in held.items()}
    return {
        "model": shape,
        "bare": f"{statistics.median(turn['bare'] for turn in turns):.2f} s",
        "EAP-IG, time": f"{ratio:.2f} ×",
        "bare, memory": f"{held['bare'][1] / 1e6:.0f} MB ({above['bare'] / 1e6:.0f} above the weights)",
        "EAP-IG, memory": f"{held['EAP-IG'][1] / held['bare'][1]:.2f} × ({above['EAP-IG'] / above['bare']:.2f} ×)",
    }


def held_by(size: dict[str, Any], device: str) -> tuple[int, int]:
    model = model_of(config_of(size), device, dtype_of(size.get("shape", "")))
    way = WAYS[size.get("way", "EAP-IG")]
    way(random_attribution(model, 1, 8, 1))  # what is loaded once
    work = random_attribution(model, size["prompts"], size["length"], size["steps"])
    return held_while(lambda: way(work, size.get("at_once", 16)), device)


def config_of(size: dict[str, Any]) -> transformers.PretrainedConfig:
    """One of the shapes, or a small one of so many layers."""
    if "shape" in size:
        return {**SHAPES, **ON_A_GPU}[size["shape"]]
    return transformers.GPT2Config(n_embd=256, n_head=8, n_layer=size["layers"], vocab_size=512, **NO_WORDS)


def dtype_of(shape: str) -> torch.dtype:
    return torch.bfloat16 if shape in ON_A_GPU else torch.float32


def growth(options: argparse.Namespace) -> list[dict[str, str]]:
    """Time and memory over prompts, steps and layers, one of them growing at a time; 8 prompts share a pass."""
    rows, base = [], {"prompts": 8, "steps": 4, "layers": 6, "length": options.length, "at_once": 8}
    for what, values in {"prompts": (8, 16, 32, 64), "steps": (2, 4, 8, 16), "layers": (3, 6, 12, 24)}.items():
        for value in values:
            size = {**base, what: value}
            work = random_attribution(
                model_of(config_of(size), options.device), size["prompts"], size["length"], size["steps"]
            )
            ours(work, rows=8)
            took = min(seconds(lambda work=work: ours(work, rows=8), options.device) for _ in range(3))
            before, most = alone(__file__, "held", size=size, device=options.device)
            each = {"time": f"{took:.2f} s", "time by that": f"{1000 * took / value:.0f} ms"}
            rows.append({"what grows": what, "to": str(value), **each, "memory": f"{(most - before) / 1e6:.0f} MB"})
    return rows


def precision(prompts: int) -> Iterator[dict[str, str]]:
    """Of shipped models: how far edge scores of the same weights in bfloat16 are those in float32."""
    import numpy as np

    import probe
    from analyses import circuits

    for place, reading in (("zoo:ar", "ar"), ("zoo:masked", "prefix")):
        for task in ("ioi", "greater_than", "induction"):
            exact, rounded = (probe.load(place, dtype=dtype, selftest="off") for dtype in ("float32", "bfloat16"))
            batch = probe.task(task).examples(exact, prompts, seed=0)
            one, other = (circuits.attribute(model, batch, reading=reading) for model in (exact, rounded))
            edges = one.graph.valid
            k = one.graph.n_edges // 10
            kept = [set(np.argsort(-np.abs(each.scores[edges]))[:k].tolist()) for each in (one, other)]
            yield {
                "model": place, "task": task, "edges": f"{one.graph.n_edges:,}",
                "r": f"{np.corrcoef(one.scores[edges], other.scores[edges])[0, 1]:.5f}",
                "of the top tenth": f"{len(kept[0] & kept[1]) / k:.2f}",
            }  # fmt: skip


def foretold(shape: str, options: argparse.Namespace) -> dict[str, str]:
    """What the dry run says of a shape, and how far off that is."""
    from analyses.circuits import cost

    size = {"shape": shape, "prompts": options.prompts, "length": options.length, "steps": options.steps}
    config, dtype = config_of(size), dtype_of(shape)
    said = cost(
        config, n=options.prompts, length=options.length, steps=options.steps, device=options.device, dtype=dtype
    )
    before, most = alone(__file__, "held", size={**size, "at_once": said.at_once}, device=options.device)
    held = said.shape.weights + most - before
    took = by_the_clock(model_of(config, options.device, dtype), said.at_once, options)
    return {
        "model": shape,
        "memory, said": f"{said.memory / 1e9:.2f} GB",
        "held": f"{held / 1e9:.2f} GB ({said.memory / held - 1:+.0%})",
        "time, said": f"{said.seconds:.2f} s",
        "took": f"{took:.2f} s ({said.seconds / took - 1:+.0%})",
    }


def by_the_clock(model: Model, at_once: int, options: argparse.Namespace) -> float:
    work = random_attribution(model, options.prompts, options.length, options.steps)
    ours(work, rows=at_once)
    return seconds(lambda: ours(work, rows=at_once), options.device, time.perf_counter)


if __name__ == "__main__":
    main(run, held=held_by)
