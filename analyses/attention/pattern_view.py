"""Attention patterns as a view: each head's pattern on one example, both twins side by side.

    attention.patterns(pair, batch, example=0)                   # under the reading "prefix"
    attention.patterns(pair, batch, heads=[(1, 3), (2, 0)])      # for large models: only these
    attention.patterns(pair, batch, reading="trajectory")        # with a slider over the steps of their own decoding

Heads can be sorted by what they attend to (previous, next, induction, …), in one model or by the difference between
two. The view holds the patterns of all its heads, so choose some if a model has many; `attention.heads` finds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from analyses.attention.marks import MARKS, Words
from analyses.attention.watching import MEASURES, scores
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Prompts, Reading, named
from probe.readings.by_role import roles
from probe.tasks import Batch
from probe.tracing import record
from probe.views import View
from probe.views.words import MASK
from probe.views.words import Words as Spelt

MOST_NUMBERS = 4_000_000  # of all patterns together: about 20 MB of JSON
SHOWN = ("model", "ar", "diffusion")
SCORES = (*(mark for mark in MARKS if mark != "offset"), "entropy", "sink")


def patterns(
    models: Model | Pair,
    batch: Batch,
    example: int = 0,
    *,
    reading: str | Reading = "prefix",
    heads: Sequence[tuple[int, int]] | None = None,
) -> View:
    """The view of one example; `heads` are (layer, head)."""
    one = batch[example : example + 1]
    asked = {role: found for role, found in roles(models, named(reading)).items() if role in SHOWN}
    first = next(iter(asked.values()))[0]
    chosen = list(heads or [(layer, head) for layer in range(first.n_layers) for head in range(first.n_heads)])
    prompts = {role: how.ask(model, one) for role, (model, how) in asked.items()}
    _refuse_too_many(len(chosen) * sum(len(of.slots) for of in prompts.values()), one.clean.shape[1])
    words = Spelt(first.tokenizer if first.has_tokenizer else None)
    data: dict[str, Any] = {
        "title": f"Attention on {batch.task}, example {example}",
        "about": f"reading {named(reading)}; click a token or a row to see what that slot attends to",
        "heads": [f"L{layer}H{head}" for layer, head in chosen],
        "scores": list(SCORES),
        "models": [_of_model(model, prompts[role], chosen, words) for role, (model, _) in asked.items()],
    }
    return View("attention", {**data, "words": words.spelt})


@torch.no_grad()
def _of_model(model: Model, prompts: Prompts, chosen: Sequence[tuple[int, int]], words: Spelt) -> dict[str, Any]:
    """A model's patterns and scores by step; there is one unless the reading makes several questions."""
    canvas = prompts.canvas
    trace = record(model, canvas, ["pattern"])
    found = torch.from_numpy(trace["pattern"].transpose("example", "layer", "head", "query", "key").to_numpy())
    spelt = Words.of(model, canvas)
    layers = sorted({layer for layer, _ in chosen})
    told = {layer: scores(found[:, layer], model.allowed(canvas, layer), spelt) for layer in layers}
    columns = [MEASURES.index(name) for name in SCORES]
    steps = [
        {
            "tokens": [MASK if token == model.mask_id else words.code(token) for token in canvas.tokens[step].tolist()],
            "read": int(prompts.slots[step, 0]),
            "heads": [[_or_none(told[layer][step, head, column]) for column in columns] for layer, head in chosen],
            "patterns": [
                [[round(share, 3) for share in row] for row in found[step, layer, head].tolist()]
                for layer, head in chosen
            ],
        }
        for step in range(len(found))
    ]
    return {"name": model.name, "steps": steps}


def _or_none(value: torch.Tensor) -> float | None:
    """None where an example has no such key."""
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None


def _refuse_too_many(patterns_shown: int, slots: int) -> None:
    if patterns_shown * slots * slots > MOST_NUMBERS:
        raise ProbeError(
            "attention patterns to draw",
            expected=f"at most {MOST_NUMBERS:,} numbers, which a browser holds",
            found=f"{patterns_shown} patterns of {slots} × {slots}",
            remedy="Choose heads=[(layer, head), …]; analyses.attention.heads helps to choose.",
        )
