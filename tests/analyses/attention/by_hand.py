"""The scores of one pattern by their definitions, a query and a key at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from analyses.attention.marks import MARKS


def scores_of(pattern: Tensor, tokens: list[int], mask: int | None, shift: bool, visible: Tensor) -> dict[str, float]:
    """One head of one text (query × key). Padding is given as None among the tokens."""
    slots = [slot for slot, token in enumerate(tokens) if token is not None]
    place = {slot: number for number, slot in enumerate(slots)}
    word = {place[slot]: tokens[slot] for slot in slots if tokens[slot] != mask}
    hidden = {place[slot] for slot in slots if mask is not None and tokens[slot] == mask}
    sums = {name: [] for name in (*MARKS, "entropy")}
    for q in slots:
        here = place[q]
        question = here + 1 if shift else here  # the place that this slot answers for
        left, right = (question - 1, question + 1) if question in hidden else (here, here)
        keys = {
            "previous": {here - 1},
            "next": {here + 1},
            "same": {here},
            "duplicate": {at for at in word if at != here and here in word and word[at] == word[here]},
            "induction": {at + 1 for at in word if at < left and left in word and word[at] == word[left]} - {here},
            "reverse_induction": {at - 1 for at in word if at > right and right in word and word[at] == word[right]}
            - {here},
        }
        for name, wanted in keys.items():
            there = [k for k in slots if place[k] in wanted]
            if there:
                sums[name].append(sum(pattern[q, k].item() for k in there))
        sums["offset"].append(sum(pattern[q, k].item() * (place[k] - here) for k in slots))
        seen = [k for k in slots if visible[q, k]]
        if len(seen) > 1:
            entropy = -sum(p * math.log(p) for k in seen if (p := pattern[q, k].item()) > 0)
            sums["entropy"].append(entropy / math.log(len(seen)))
    found = {name: sum(values) / len(values) if values else math.nan for name, values in sums.items()}
    mass = {k: sum(pattern[q, k].item() for q in slots) / len(slots) for k in slots}
    sink = max(mass, key=mass.__getitem__)
    return {**found, "sink": mass[sink], "sink_place": place[sink], "sink_masked": float(place[sink] in hidden)}


def random_pattern(visible: Tensor, heads: int, generator: torch.Generator) -> Tensor:
    """Attention (1 × heads × query × key) over what is visible (query × key)."""
    scores = 2 * torch.randn(1, heads, *visible.shape, generator=generator)
    return scores.masked_fill(~visible, -torch.inf).softmax(-1)
