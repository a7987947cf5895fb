"""Surprise: how many nats the next word of plain text costs a model, under each reading.

Tasks ask for an answer that is right; text only has words that stand there. At some place of each text a model is
asked for the token in it, and what is measured is -log p, the mask out of the running. Two models that are asked at the
same places of the same texts can be compared text by text.

    surprise(pair.ar, texts, AR(), at=[32, 64, 96])                 n × 3, in nats
    surprise(pair.diffusion, texts, Prefix(), at=[32, 64, 96])      the same left context, all behind it masked
    surprise(pair.diffusion, texts, OneMask(), at=[32, 64, 96])     everything else in sight
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probe.batch import Batch
from probe.models.model import Model
from probe.readings.reading import Reading, answers, comparable

ROWS = 32  # texts a forward pass: a whole vocabulary is kept of each only at the place that is asked


def surprise(model: Model, texts: Tensor, reading: Reading, at: Sequence[int]) -> Tensor:
    """-log p (texts × places) of the tokens at some places of texts (n × length)."""
    columns = []
    for place in at:
        batch = question(texts, place)
        asked = reading.ask(model, batch)
        logp = answers(model, asked, rows=ROWS, then=lambda logits: comparable(logits, model).log_softmax(-1))
        target = batch.target.to(logp.device)[asked.view.example.to(logp.device)]
        columns.append(-logp.gather(-1, target[:, None])[:, 0].cpu())
    return torch.stack(columns, dim=1)


def question(texts: Tensor, place: int) -> Batch:
    """Texts as a batch that asks for one of their tokens; all from there on is to be written."""
    n, length = texts.shape
    nothing = torch.zeros(n, 0, dtype=torch.bool)
    positions = {
        "answer": torch.full((n, 1), place),
        "completion": torch.arange(place, length).expand(n, -1),
        "corrupted": torch.zeros(n, 0, dtype=torch.long),
    }
    return Batch(
        task="text",
        scope="local",
        seed=0,
        split="test",
        clean=texts,
        corrupt=texts,
        target=texts[:, place],
        distractor=texts[:, place],
        positions=positions,
        choices=torch.zeros(0, dtype=torch.long),
        right=nothing,
        wrong=nothing,
        facts=({},) * n,
        spelling={},
    )
