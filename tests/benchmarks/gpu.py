"""A 7B-shaped pair on one GPU: what recording, attribution and decoding take, beside estimates and plain loops.

    python tests/benchmarks/gpu.py                 # on an H200: under ten minutes
    python tests/benchmarks/gpu.py --tiny --device cpu

Two models of Qwen2.5-7B's shape with random weights in bfloat16 are made on the device: one autoregressive, one masked.
Each line of the table is one piece of work: its time by the clock, the most memory that was allocated beyond the models
(by torch's own count), what the toolkit's estimate says of either, and the time of the least that could do the same: a
bare forward pass, or a loop around transformers' own forward. With `--tiny` the shape is small, so that the script can
be tried where there is no GPU.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from frame import main, most_allocated, show
from scale import texts
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import Qwen2Config, Qwen2ForCausalLM

import probe
from analyses import circuits
from analyses.circuits.attribution.cost import Asked, Shape, cost
from probe.decoding import Sampler
from probe.memory import readable
from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Masked
from probe.paradigms.paradigm import Paradigm

MASK = 1
SHAPE = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152_064,
}  # fmt: skip
TINY = {
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 211,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much is asked."""

    texts: int = 64
    length: int = 128
    attributed: int = 16
    written: int = 64
    side_by_side: int = 8


@dataclass(frozen=True)
class Bench:
    """The pair, and how much is asked of it."""

    pair: Pair
    sizes: Sizes

    @property
    def device(self) -> torch.device:
        return self.pair.ar.device

    def taken(self, work: Callable[[], Any]) -> tuple[float, int, Any]:
        """Seconds by the clock, the most bytes that were allocated beyond what stood there, and what came out. On a GPU
        the work is done twice: the first time it loads its kernels."""
        gc.collect()
        if self.device.type != "cuda":
            began = time.perf_counter()
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
                made = work()
            return time.perf_counter() - began, most_allocated(seen), made
        work()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before, began = torch.cuda.memory_allocated(), time.perf_counter()
        made = work()
        torch.cuda.synchronize()
        return time.perf_counter() - began, torch.cuda.max_memory_allocated() - before, made


def model_of(paradigm: Paradigm, shape: dict[str, int], device: str, seed: int) -> Model:
    torch.manual_seed(seed)
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            backbone = Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=False))
    finally:
        torch.set_default_dtype(dtype)
    return Model(backbone, paradigm, name=f"random {paradigm.name}")


def line(what: str, took: float, held: int, **beside: str) -> dict[str, str]:
    """A row of the table; what is not known of it stays empty."""
    cells = {"what": what, "seconds": f"{took:.2f}", "memory": readable(held)}
    return cells | {name: beside.get(name, "") for name in ("memory said", "seconds said", "least", "times the least")}


def against(took: float, least: float) -> dict[str, str]:
    return {"least": f"{least:.2f} s", "times the least": f"{took / least:.2f} ×"}


def told(said: float, held: int) -> str:
    return f"{readable(said)} ({said / held - 1:+.0%})"


def recorded(bench: Bench) -> Iterator[dict[str, str]]:
    model, sizes = bench.pair.diffusion, bench.sizes
    tokens = texts(sizes.texts, sizes.length, model.vocabulary).clean.to(bench.device)
    canvas = model.canvas(tokens)
    with torch.no_grad():
        least, _, _ = bench.taken(lambda: model.run_trunk(canvas))
    sites = ["resid_post", "head_out"]
    took, held, trace = bench.taken(lambda: probe.record(model, tokens, sites, positions=[-1]))
    kept = sum(trace[name].nbytes for name in sites)
    yield line(f"record {', '.join(sites)} at one position ({readable(kept)})", took, held, **against(took, least))


def attributed(bench: Bench) -> Iterator[dict[str, str]]:
    model, sizes = bench.pair.ar, bench.sizes
    batch = texts(sizes.attributed, sizes.length, model.vocabulary)
    config: Any = model.backbone.config
    said = cost(config, n=sizes.attributed, length=sizes.length, device=bench.device, dtype=torch.bfloat16,
                at_once=sizes.attributed)  # fmt: skip
    for words, asked in (
        ("edges", Asked()),
        ("edges by prompt, directions", Asked(directions=True, by_row=True)),
    ):
        options = circuits.AttributionOptions(
            directions=asked.directions, example_edges=asked.by_row, rows=sizes.attributed
        )
        took, held, _ = bench.taken(
            lambda options=options: circuits.attribute(model, batch, reading="ar", options=options)
        )
        expected = Shape.of(model).together(sizes.attributed, sizes.length, bench.device.type, asked)
        seconds = {} if asked.directions else {"seconds said": f"{said.seconds:.2f} ({said.seconds / took - 1:+.0%})"}
        yield line(f"attribute {words}, m = 5", took, held, **{"memory said": told(expected, held)}, **seconds)


def decoded(bench: Bench) -> Iterator[dict[str, str]]:
    sizes = bench.sizes
    prompt = texts(sizes.side_by_side, sizes.length, bench.pair.vocabulary).clean.to(bench.device)
    ar, masked = bench.pair.ar, bench.pair.diffusion
    least, _, plain = bench.taken(lambda: continued(ar, prompt, sizes.written))
    took, held, run = bench.taken(lambda: probe.decode(ar, prompt, sizes.written))
    alike = float((run.tokens == plain).float().mean())
    yield line(f"decode, autoregressive ({alike:.0%} of tokens are the loop's)", took, held, **against(took, least))
    steps = sizes.written // 2
    for words, temperature in (("greedy", 0.0), ("T = 0.3", 0.3)):
        rule = Sampler("entropy", steps=steps, temperature=temperature)
        least, _, _ = bench.taken(lambda: unmasked(masked, prompt, sizes.written, steps))
        took, held, _ = bench.taken(lambda rule=rule: probe.decode(masked, prompt, sizes.written, sampler=rule))
        yield line(f"decode, masked, {steps} steps, {words}", took, held, **against(took, least))


@torch.no_grad()
def continued(model: Model, prompt: Tensor, length: int) -> Tensor:
    """Greedy text by transformers' own forward and cache."""
    tokens = last = prompt
    cache = None
    for _ in range(length):
        out = model.backbone(last, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[:, -1]
        logits[:, MASK] = -torch.inf
        last = logits.argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, last], 1)
    return tokens


@torch.no_grad()
def unmasked(model: Model, prompt: Tensor, length: int, steps: int) -> Tensor:
    """As many whole passes, and the best tokens of as many masks."""
    tokens = torch.cat([prompt, prompt.new_full((len(prompt), length), MASK)], 1)
    for step in range(steps):
        logits = model.unembed(model.run_trunk(model.canvas(tokens))[:, prompt.shape[1] - 1 : -1])
        now = slice(prompt.shape[1] + step * length // steps, prompt.shape[1] + (step + 1) * length // steps)
        tokens[:, now] = logits.argmax(-1)[:, now.start - prompt.shape[1] : now.stop - prompt.shape[1]]
    return tokens


def lines(options: Any) -> Iterator[dict[str, str]]:
    shape = TINY if options.tiny else SHAPE
    sizes = Sizes(4, 24, 3, 6, 2) if options.tiny else Sizes()
    began = time.perf_counter()
    pair = Pair(
        model_of(Autoregressive(mask_id=MASK), shape, options.device, 0),
        model_of(Masked(mask_id=MASK), shape, options.device, 1),
        name="random",
    )
    bench = Bench(pair, sizes)
    weights = 2 * 2 * pair.ar.n_parameters
    yield line("make the pair", time.perf_counter() - began, weights)
    for part in (recorded, attributed, decoded):
        try:
            yield from part(bench)
        except torch.OutOfMemoryError as problem:
            yield line(f"{part.__name__}: out of memory ({str(problem).splitlines()[0]})", 0.0, 0)


def run() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the script without a GPU")
    options = parser.parse_args()
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "a CPU"
    show(f"A pair of {'a tiny' if options.tiny else 'a 7B'} shape on {where}", lines(options), markdown=True)


if __name__ == "__main__":
    main(run)
