"""What FLUID's strides save: python tests/benchmarks/fluid.py [--table time] [--n 1000]

passes  Tokens a forward pass and slots computed a token of `zoo:fluid`, for every way of checking. Every text is held
        to greedy autoregression of the same weights; one that differs stops the benchmark. Some prompts are written one
        by one, most in batches, and both with and without a cache. `slots a token` counts those alone with a cache.

time    CPU seconds beside autoregression with a cache, for 1 and for 8 rows. `zoo:fluid` writes answers to sudoku. The
        larger shapes have random weights, so how good drafts are is not theirs to say: "none right" is how they come,
        "all right" is with an unembedding that says one word for ever. Between the two lies what a trained model does,
        and `pays from` is the number of tokens a pass from which it is quicker than autoregression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
import transformers
from frame import arguments, main, seconds, show
from torch import Tensor

import probe
from probe.decoding import ELASTIC, PassOptions, Strides, Trajectory
from probe.models.model import Model
from probe.paradigms import Autoregressive, Fluid
from probe.tasks import TASKS

FIXED = (1, 2, 4, 8, 16)
SHAPES = {
    "GPT-2 small": transformers.GPT2Config(),
    "Llama 135M": transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True,
    ),
}  # fmt: skip
PROMPT = 32
ALONE = 20  # prompts that are written one by one, with a cache and as many without


def run() -> None:
    options = arguments(__doc__, table=("passes", "time"), n=60, length=16, tasks=["countdown", "sudoku"])
    if options.table == "passes":
        model = probe.load("zoo:fluid", device=options.device, selftest="off")
        rows = (row for name in options.tasks for row in passes(model, name, options.n))
        return show("Tokens a pass, of the text of greedy autoregression", rows, options.markdown)
    show("Time beside autoregression", times(options.length, options.device), options.markdown)


# Passes


def rules() -> Iterator[tuple[str, Strides]]:
    """Every way of checking, of every length."""
    lengths = [*(Strides(k) for k in FIXED), Strides(ELASTIC), Strides(ELASTIC, least=4)]
    yield from (("overlapped", rule) for rule in lengths)
    yield from (("overlapped", replace(rule, threshold=0.5)) for rule in lengths[3:])
    yield from (("apart", replace(rule, overlap=False)) for rule in lengths)


def passes(model: Model, name: str, n: int) -> Iterator[dict[str, str]]:
    """One task's rows: every rule on n prompts."""
    if name not in TASKS:
        raise SystemExit(f"task {name!r}: expected one of {', '.join(TASKS)}")
    batch = probe.task(name).examples(model, n, fewer=True)
    start = int(batch.positions["completion"].min())
    if start == 0 or batch.clean.shape[1] - start < 2:
        start = 4  # whole texts, where the answer is over before a stride is
    prompts, length = batch.clean[:, :start], batch.clean.shape[1] - start
    ar = Model(model.backbone, Autoregressive(mask_id=model.mask_id))
    wanted = probe.decode(ar, prompts, length).tokens
    for way, rule in rules():
        runs = list(_runs(model, prompts, length, rule))
        texts, alone = torch.cat([one.tokens for one in runs]), runs[-min(ALONE, n // 4) :]
        differ = int((texts != wanted).any(1).sum())
        if differ:
            raise SystemExit(f"{rule}: {differ} of {len(prompts)} texts differ from greedy autoregression")
        made = sum(int(one.passes.sum()) for one in runs)
        again = sum(one.slots for one in alone) / (len(alone) * length)
        yield {
            "task": name,
            "stride": str(rule.length) + (f" from {rule.least}" if rule.least > 1 else ""),
            "checks": way,
            "γ": f"{rule.gamma:g}",
            "tokens a pass": f"{len(prompts) * length / made:.2f}",
            "slots a token": f"{again:.1f}",
            "equal to greedy": f"{len(prompts)} of {len(prompts)}",
        }


def _runs(model: Model, prompts: Tensor, length: int, rule: Strides) -> Iterator[Trajectory]:
    """Batched with a cache and without, then one by one without a cache and with."""
    alone = min(ALONE, len(prompts) // 4)
    batched = len(prompts) - 2 * alone
    sizes = [batched - batched // 2, batched // 2, alone, alone]
    ways = zip(prompts.split(sizes), (None, False, False, None), (64, 64, 1, 1), strict=True)
    for part, cache, together in ways:
        for rows in part.split(together):
            yield probe.decode(model, rows, length, sampler=rule, passes=PassOptions(cache=cache))


# Time


def times(length: int, device: str) -> Iterator[dict[str, str]]:
    fluid = probe.load("zoo:fluid", device=device, selftest="off")
    sudoku = probe.task("sudoku").examples(fluid, 8)
    start = int(sudoku.positions["completion"].min())
    for rows in (1, 8):
        found = _timed(fluid, sudoku.clean[:rows, :start], sudoku.clean.shape[1] - start, device)
        yield from _rows("zoo:fluid", rows, {"as trained": found})
    for name, config in SHAPES.items():
        torch.manual_seed(0)
        backbone = transformers.AutoModelForCausalLM.from_config(config).to(device)
        model = Model(backbone, Fluid(mask_id=config.vocab_size - 1))
        prompt = torch.randint(0, config.vocab_size - 1, (8, PROMPT), device=device)
        silent = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False).to(device)
        torch.nn.init.zeros_(silent.weight)  # every token is as likely, and the first of them is taken
        for rows in (1, 8):
            found = {"none right": _timed(model, prompt[:rows], length, device)}
            own, backbone.lm_head = backbone.lm_head, silent
            found["all right"] = _timed(model, prompt[:rows], length, device)
            backbone.lm_head = own
            yield from _rows(name, rows, found)


def _kept(runs: list[Trajectory], model: Model, prompt: Tensor, length: int, rule: Strides | None) -> None:
    runs.append(probe.decode(model, prompt, length, sampler=rule))


Timed = dict[int, tuple[float, float]]  # length of stride (0: autoregression) -> seconds, tokens a pass


def _timed(model: Model, prompt: Tensor, length: int, device: str) -> Timed:
    ar = Model(model.backbone, Autoregressive(mask_id=model.mask_id))
    probe.decode(ar, prompt, 2)  # warms up
    found = {}
    for stride in (0, 4, 8):
        writer, rule = (ar, None) if stride == 0 else (model, Strides(stride))
        runs: list[Trajectory] = []
        write = partial(_kept, runs, writer, prompt, length, rule)
        found[stride] = (seconds(write, device), runs[0].tokens_per_forward)
    return found


def _rows(name: str, rows: int, found: dict[str, Timed]) -> Iterator[dict[str, str]]:
    for drafts, timed in found.items():
        ar, _ = timed[0]
        for stride in (4, 8):
            took, per_pass = timed[stride]
            yield {
                "model": name,
                "rows": str(rows),
                "stride": str(stride),
                "drafts": drafts,
                "autoregression": f"{ar:.2f} s",
                "FLUID": f"{took:.2f} s",
                "tokens a pass": f"{per_pass:.2f}",
                "pays from": f"{per_pass * took / ar:.1f}",
            }


if __name__ == "__main__":
    main(run)
