"""What EAP-IG costs, beside the passes that it cannot do without.

    python tests/benchmarks/circuits.py [--device cuda] [--markdown] [--only GPT-2]

For a model of GPT-2 small's shape and one of SmolLM2-135M's, which shares keys and values between heads (random
weights): 16 prompts of 32 tokens, m = 5. Bare are m forward and backward passes for the gradient at the input alone, no
parameter wanting one, and 2 forward passes; they read the answer as the attribution does. Both are timed in turn; a
ratio is the median of the ratios within a turn. On the CPU it is the time of this process, of one thread, which others
hardly disturb. Memory is the most that a process held, each measured in a process of its own, the weights included; and
the same without what it held before (weights, libraries).

Then how it grows: with prompts, steps and layers, in a smaller shape; and what the dry run says beforehand.
"""

from __future__ import annotations

import argparse
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

from analyses.circuits import gradients
from analyses.circuits.cost import random_attribution
from analyses.circuits.gradients import Attribution
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
NO_WORDS = {"bos_token_id": None, "eos_token_id": None}


def main() -> None:
    options = arguments()
    give_back_at_once(options)
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(held_by(*options.measure, options)))
        return
    shapes = [shape for shape in SHAPES if options.only in shape]
    if options.table in ("passes", "all"):
        show("EAP-IG beside its bare passes", [row(shape, options) for shape in shapes], options)
    if options.table in ("growth", "all"):
        show("How it grows", growth(options), options)
    if options.table in ("dry-run", "all"):
        show("The dry run, and what it then took", [foretold(shape, options) for shape in shapes], options)


def give_back_at_once(options: argparse.Namespace) -> None:
    """Begin again with an allocator that returns freed memory; otherwise its habits are what is measured."""
    threshold = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    if options.device == "cpu" and not threshold.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threshold})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--table", choices=("passes", "growth", "dry-run", "all"), default="all")
    parser.add_argument("--only", default="", help="a part of a shape's name")
    parser.add_argument("--markdown", action="store_true", help="print the tables as the README has them")
    parser.add_argument("--measure", nargs=2, metavar=("SHAPE", "WAY"), help=argparse.SUPPRESS)
    return parser.parse_args()


def model_of(config: transformers.PretrainedConfig, device: str) -> Model:
    torch.manual_seed(0)
    backbone = transformers.AutoModelForCausalLM.from_config(config).to(device)
    return Model(backbone, Masked(attention="full", mask_id=0), name="random")


def bare(work: Attribution) -> None:
    """The passes themselves."""
    model, questions = work.model, work.questions
    canvas = questions.canvas()
    with torch.no_grad():
        for which in ("clean", "corrupt"):
            questions.answers(model.run_trunk(questions.canvas(which)))
    for _ in range(work.steps):
        point = model.embedding(canvas.tokens).requires_grad_()
        hidden = model.run_trunk(canvas, inputs_embeds=point)
        torch.autograd.grad(work.metric(questions.answers(hidden), questions.truth).sum(), point)


def ours(work: Attribution, rows: int = 16) -> None:
    for start in range(0, len(work.questions), rows):
        gradients.along_inputs(work, slice(start, min(start + rows, len(work.questions))))


WAYS = {"bare": bare, "EAP-IG": ours}


def row(shape: str, options: argparse.Namespace) -> dict[str, str]:
    model = model_of(SHAPES[shape], options.device)
    work = random_attribution(model, options.prompts, options.length, options.steps)
    for way in WAYS.values():
        way(work)
    turns = [
        {name: clock(lambda way=way: way(work), options) for name, way in WAYS.items()}
        for _ in range(options.repetitions)
    ]
    ratio = statistics.median(turn["EAP-IG"] / turn["bare"] for turn in turns)
    held = {way: in_its_own_process(shape, way, options) for way in WAYS}
    above = {way: most - before for way, (before, most) in held.items()}
    return {
        "model": shape,
        "bare": f"{statistics.median(turn['bare'] for turn in turns):.2f} s",
        "EAP-IG, time": f"{ratio:.2f} ×",
        "bare, memory": f"{held['bare'][1] / 1e6:.0f} MB ({above['bare'] / 1e6:.0f} above the weights)",
        "EAP-IG, memory": f"{held['EAP-IG'][1] / held['bare'][1]:.2f} × ({above['EAP-IG'] / above['bare']:.2f} ×)",
    }


def in_its_own_process(shape: str, way: str, options: argparse.Namespace) -> tuple[int, int]:
    """The bytes that a process held before the passes, and the most that it then held."""
    asked = [f"--{name}={getattr(options, name)}" for name in ("device", "prompts", "length", "steps")]
    told = [sys.executable, __file__, *asked, "--measure", shape, way]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    before, most = json.loads(subprocess.run(told, capture_output=True, check=True, text=True, env=here).stdout)
    return before, most


def held_by(shape: str, way: str, options: argparse.Namespace) -> tuple[int, int]:
    model = model_of(SHAPES[shape], options.device)
    small = random_attribution(model, 1, 8, 1)
    WAYS[way](small)  # what is loaded once
    work = random_attribution(model, options.prompts, options.length, options.steps)
    return held_while(lambda: WAYS[way](work), options)


def held_while(work: Callable[[], object], options: argparse.Namespace) -> tuple[int, int]:
    """The bytes held before some work, and the most while it went on."""
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return before, torch.cuda.max_memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM counts anew
    before = status("VmRSS")
    work()
    return before, status("VmHWM")


def status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def growth(options: argparse.Namespace) -> list[dict[str, str]]:
    """Time and memory over prompts, steps and layers, one of them growing at a time; 8 prompts share a pass."""
    rows, base = [], {"prompts": 8, "steps": 4, "layers": 6}
    for what, values in {"prompts": (8, 16, 32, 64), "steps": (2, 4, 8, 16), "layers": (3, 6, 12, 24)}.items():
        for value in values:
            seconds, held = grown({**base, what: value}, options)
            each = {"time": f"{seconds:.2f} s", "time by that": f"{1000 * seconds / value:.0f} ms"}
            rows.append({"what grows": what, "to": str(value), **each, "memory": f"{held / 1e6:.0f} MB"})
    return rows


def grown(size: dict[str, int], options: argparse.Namespace) -> tuple[float, int]:
    """Seconds, and the most bytes held above what was held before."""
    config = transformers.GPT2Config(n_embd=256, n_head=8, n_layer=size["layers"], vocab_size=512, **NO_WORDS)
    work = random_attribution(model_of(config, options.device), size["prompts"], options.length, size["steps"])
    ours(work, rows=8)
    before, most = held_while(lambda: ours(work, rows=8), options)
    return clock(lambda: ours(work, rows=8), options), most - before


def foretold(shape: str, options: argparse.Namespace) -> dict[str, str]:
    from analyses.circuits import estimate

    said = estimate(SHAPES[shape], n=options.prompts, length=options.length, steps=options.steps, device=options.device)
    model = model_of(SHAPES[shape], options.device)
    work = random_attribution(model, options.prompts, options.length, options.steps)
    ours(work)
    took = clock(lambda: ours(work), options)
    return {"model": shape, "said": str(said), "took": f"{took:.2f} s"}


def clock(work: Callable[[], object], options: argparse.Namespace) -> float:
    """Seconds: of this process on the CPU, of the device otherwise."""
    if options.device != "cuda":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def show(title: str, rows: list[dict[str, str]], options: argparse.Namespace) -> None:
    columns = list(rows[0])
    if options.markdown:
        print("\n".join(["| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns))]))
        print("\n".join("| " + " | ".join(each.values()) + " |" for each in rows))
        return
    table = Table(*columns, title=title)
    for each in rows:
        table.add_row(*each.values())
    Console().print(table)


if __name__ == "__main__":
    main()
