"""A model that copies the first word to where the answer is read, along directions that are no coordinates; and the
dictionary of those directions."""

from __future__ import annotations

import torch

from analyses.features import Dictionary
from probe.models.model import Model
from probe.paradigms import Masked
from probe.tasks import Batch
from tests.analyses.planted import MASK, WORDS, balance, batch_of, blank

PLACES, AT, ROTATED = 6, 4, 16


def model() -> Model:
    """Layer 0 copies the first word to where the answer is read, and the unembedding says it; the words' directions are
    no coordinates."""
    backbone = blank(2, 1, 32, WORDS + 1, PLACES)
    turn = torch.linalg.qr(torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(0))).Q
    with torch.no_grad():
        trunk = backbone.transformer
        trunk.wte.weight[:WORDS, ROTATED : ROTATED + WORDS] = turn
        trunk.wpe.weight[0, 0] = 30.0
        trunk.wpe.weight[AT - 1, 1] = 1.0
        first = trunk.h[0].attn
        first.c_attn.weight[1, 0] = 30.0  # query: I am where the answer is read
        first.c_attn.weight[0, 32] = 1.0  # key: I am the first
        first.c_attn.weight[ROTATED : ROTATED + WORDS, 64 : 64 + WORDS] = 2 * torch.eye(WORDS)
        first.c_proj.weight[:WORDS, ROTATED : ROTATED + WORDS] = torch.eye(WORDS)
        backbone.lm_head.weight[:WORDS, ROTATED : ROTATED + WORDS] = turn
        balance(backbone)
    return Model(backbone, Masked(mask_id=MASK, shift=True), name="copies")


def batch(n: int = 96, seed: int = 0) -> Batch:
    clean = torch.randint(0, WORDS, (n, PLACES), generator=torch.Generator().manual_seed(seed))
    clean[:, 0] = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed + 1))
    clean[:, AT - 1] = 7  # where the answer is read, the same word always
    clean[:, AT] = clean[:, 0]
    corrupt = clean.clone()
    corrupt[:, 0] = (clean[:, 0] + 1) % 3
    return batch_of(clean, corrupt, AT, corrupt[:, 0])


def words(k: int = 2) -> Dictionary:
    """Latents are the words."""
    rows = model().backbone.transformer.wte.weight[:WORDS].detach().clone()
    rows[:, :ROTATED] = 0
    rows[:, ROTATED + WORDS :] = 0
    W_enc, about = rows.T[None].contiguous(), {"layer": 0}
    return Dictionary(W_enc, torch.zeros(WORDS), rows[:, None], torch.zeros(1, 32), torch.ones(1), k, about=about)
