"""Questions for tiny models with random weights, and close answers."""

from __future__ import annotations

import torch
from torch import Tensor

from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked, Paradigm
from probe.readings import named
from probe.tasks import Batch
from tests.probe import tiny

MASK = tiny.MASK
PARADIGMS: dict[str, Paradigm] = {
    "causal": Autoregressive(mask_id=MASK),
    "full": Masked(attention="full", mask_id=MASK),
    "full-noshift": Masked(attention="full", mask_id=MASK, shift=False),
    "block": Block(attention="block:3", mask_id=MASK, shift=False),
    "fluid": Fluid(mask_id=MASK),
}


def batch_of(n: int = 3, length: int = 7, *, written: int = 2, seed: int = 0, answer: int | None = None) -> Batch:
    """Random text whose last `written` tokens are the completion, and whose prompts differ in two places."""
    generator = torch.Generator().manual_seed(seed)
    clean = tiny.tokens_of(n, length, seed=seed)
    changed = torch.rand(n, length - written, generator=generator).argsort(1)[:, :2]
    corrupt = clean.scatter(1, changed, (clean.gather(1, changed) + 5) % MASK)
    start = length - written
    at = torch.full((n, 1), start if answer is None else answer)
    target = clean.gather(1, at)[:, 0]
    distractor = (target + 1) % MASK
    choices = torch.arange(MASK)
    positions = {
        "answer": at,
        "completion": torch.arange(start, length).expand(n, -1),
        "corrupted": changed,
        "first": torch.zeros(n, 1, dtype=torch.long),
    }
    return Batch(
        task="none", scope="local", seed=seed, split="test", clean=clean, corrupt=corrupt, target=target,
        distractor=distractor, positions=positions, choices=choices, right=choices <= target[:, None],
        wrong=choices > target[:, None], facts=tuple({"number": i} for i in range(n)), spelling={},
    )  # fmt: skip


def model_of(variant: str, attention: str = "causal", *, seed: int = 0) -> Model:
    return tiny.model_of(variant, PARADIGMS[attention], seed=seed)


def agree(found: Tensor, expected: Tensor, within: float = 1e-4) -> None:
    """Equal, the difference measured against the largest of what is expected."""
    found, expected = (torch.as_tensor(each).detach().double() for each in (found, expected))
    assert found.shape == expected.shape
    scale = float(expected.abs().max())
    assert scale > 0
    assert float((found - expected).abs().max()) <= within * scale


def differences(batch: Batch, logits: Tensor, slots: Tensor) -> Tensor:
    """Each row's logit difference, from the logits of all slots."""
    read = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))[:, 0]
    return (read.gather(1, batch.target[:, None]) - read.gather(1, batch.distractor[:, None]))[:, 0]


def slots_and_canvases(model: Model, batch: Batch, reading: str = "prefix") -> tuple[Tensor, tuple]:
    """Where the answers are read, and what the textbook wants to be told of a batch: backbone, both texts, who sees
    whom, places."""
    clean, corrupt = (named(reading).ask(model, batch, which) for which in ("clean", "corrupt"))
    canvas = clean.canvas
    return clean.slots, (model.backbone, canvas.tokens, corrupt.canvas.tokens, canvas.allowed, canvas.places)
