"""Surprise: a model's negative log-likelihood, in nats, of tokens in plain text, under each reading.

Tasks have right answers; plain text has only its tokens. At some position of each text a model predicts the token
there, and -log p is measured, with the mask excluded. Two models can be compared text by text at the same positions of
the same texts.

    surprise(pair.ar, texts, AR(), at=[32, 64, 96])                 n × 3, in nats
    surprise(pair.diffusion, texts, Prefix(), at=[32, 64, 96])      the same left context, everything after it masked
    surprise(pair.diffusion, texts, OneMask(), at=[32, 64, 96])     everything else visible
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probe.batch import Batch
from probe.models.model import Model
from probe.readings.reading import Reading, answers, comparable

ROWS = 32  # texts per forward pass: logits over the vocabulary are kept only at the predicted position


def surprise(model: Model, texts: Tensor, reading: Reading, at: Sequence[int]) -> Tensor:
    """-log p (texts × positions) of the tokens at some positions of texts (n × length)."""
    columns = []
    for place in at:
        batch = question(texts, place)
        asked = reading.ask(model, batch)
        logp = answers(model, asked, rows=ROWS, then=lambda logits: comparable(logits, model).log_softmax(-1))
        target = batch.target.to(logp.device)[asked.view.example.to(logp.device)]
        columns.append(-logp.gather(-1, target[:, None])[:, 0].cpu())
    return torch.stack(columns, dim=1)


def question(texts: Tensor, place: int) -> Batch:
    """Texts as a batch whose answer is one of their tokens; everything from there on is the completion."""
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
