"""What approximate caches cost in truth, and what remasking changes: python tests/benchmarks/samplers.py [--n 500]

caches      Fast-dLLM's prefix and dual caches beside the exact run, block by block, the surest place first. `off by` is
            how far the probability of an open place's best token lies from the exact one of the same state, on average
            over all open places of a block and all passes after its first. Tasks are answered by `zoo:masked`; "text"
            is 40 characters behind 8 of the novel, by `zoo:text-masked`. Seconds are of this process, 32 rows together.

remasking   `zoo:masked` at temperature 1, each place by itself: plain, and under ReMDM's schedules, in as many steps.
            How many answers are right (with a 95% Wilson interval), and what became of them (`analyses.revision`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from frame import arguments, main, show
from scipy.stats import binomtest
from torch import Tensor

import probe
from analyses import revision
from probe.decoding import Remasking, Sampler, Trajectory
from probe.models.model import Model
from probe.training.recipe import Text
from probe.training.text import held_out

ROWS = 32
GIVEN, WRITTEN = 8, 40
TEXT_BLOCK = 10
WAYS: dict[str, Remasking | None] = {
    "none": None,
    "cap": Remasking("cap", 0.1),
    "rescale": Remasking("rescale", 0.1),
    "conf": Remasking("conf"),
    "loop": Remasking("loop", 0.1),
}


def run() -> None:
    options = arguments(__doc__, table=("caches", "remasking"), n=500, tasks=["countdown", "sudoku"], steps=32)
    if options.table == "caches":
        return show("Approximate caches beside the exact run", caches(options), options.markdown)
    model = probe.load("zoo:masked", device=options.device, selftest="off")
    rows = (row for name in options.tasks for row in remasking(model, name, options.n, options.steps))
    show(f"Remasking in {options.steps} steps", rows, options.markdown)


# Caches


def caches(options: Any) -> Iterator[dict[str, str]]:
    model = probe.load("zoo:masked", device=options.device, selftest="off")
    for name in options.tasks:
        task = probe.task(name)
        batch = task.examples(model, options.n, fewer=True)
        start = int(batch.positions["completion"].min())
        length = batch.clean.shape[1] - start
        block = -(-length // 2)
        for row in beside(model, batch.clean[:, :start], length, block):
            written = row.pop("tokens").cpu().gather(1, batch.positions["completion"])
            yield {"task": name, **row, "answers right": f"{float(task.check(batch, written).float().mean()):.1%}"}
    model = probe.load("zoo:text-masked", device=options.device, selftest="off")
    for row in beside(model, _beginnings(model, options.n), WRITTEN, TEXT_BLOCK):
        del row["tokens"]
        yield {"task": "text", **row, "answers right": "–"}


def _beginnings(model: Model, n: int) -> Tensor:
    """The first characters of `n` held-out pieces of the novel."""
    plan = Text(files=("zoo:moby-dick",), length=GIVEN + WRITTEN)
    return held_out(plan, model.tokenizer, n)[:, :GIVEN]


def beside(model: Model, prompts: Tensor, length: int, block: int) -> Iterator[dict[str, Any]]:
    """The exact run, and each of the approximate ones beside it."""
    exact: Tensor | None = None
    for cache in (None, "prefix", "dual"):
        began = time.process_time()
        rule = Sampler("confidence", block=block, cache=cache)
        runs = [probe.decode(model, rows, length, sampler=rule) for rows in prompts.split(ROWS)]
        took = time.process_time() - began
        tokens = torch.cat([one.tokens for one in runs])
        exact = tokens if exact is None else exact
        off = "–" if cache is None else f"{_off(model, runs, len(prompts[0]), block):.3f}"
        yield {
            "block": str(block),
            "cache": cache or "none",
            "slots a token": f"{sum(one.slots for one in runs) / (len(prompts) * length):.1f}",
            "seconds": f"{took:.1f}",
            "tokens that differ": f"{float((tokens != exact)[:, -length:].float().mean()):.1%}",
            "off by": off,
            "tokens": tokens,
        }


@torch.no_grad()
def _off(model: Model, runs: list[Trajectory], start: int, block: int) -> float:
    """How far best tokens' probabilities are from the exact ones, where the cache was used."""
    total = count = 0.0
    for one in runs:
        for step in range(len(one)):
            if step % block == 0:  # a token a pass: this one enters a block, and is exact
                continue
            said, state = one.confidence[:, step], one.states[:, step]
            logits = model.logits(state).float()
            logits[..., model.mask_id] = -torch.inf
            exact = logits.softmax(-1).amax(-1)
            if model.shift:
                exact = exact.roll(1, 1)
            known = ~said.isnan()
            total += float((said - exact)[known].abs().sum())
            count += int(known.sum())
    return total / max(count, 1)


# Remasking


def remasking(model: Model, name: str, n: int, steps: int) -> Iterator[dict[str, str]]:
    task = probe.task(name)
    batch = task.examples(model, n, fewer=True)
    for how, remask in WAYS.items():
        rule = Sampler("random", steps=steps, temperature=1.0, remask=remask)
        table = revision.by_step(model, task, batch, sampler=rule).table.set_index(["measure", "at"])["estimate"]
        share = float(table["right", 1.0])
        low, high = binomtest(round(share * len(batch)), len(batch)).proportion_ci(method="wilson")
        yield {
            "task": name,
            "remasking": how if remask is None else str(remask),
            "right": f"{share:.1%} ({low:.1%} to {high:.1%})",
            **{figure: f"{float(table[figure, 1.0]):.2f}" for figure in revision.FIGURES},
        }


if __name__ == "__main__":
    main(run)
