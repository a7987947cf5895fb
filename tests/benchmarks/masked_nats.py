"""How well masked models of running text know hidden tokens, by the mask rate and by what stands before the token.

    python tests/benchmarks/masked_nats.py --twins my-twin my-twin/snapshots/step-300 [--n 12] [--markdown]

Nats a hidden token on held-out pieces of 128 tokens of enwik8 (`twinprobe fetch smollm2-text`), the same tokens hidden
for every twin, and for their base. With shift, the slot before a hidden token answers for it: where that slot shows its
token, an AR model already knows much of the answer; where it is hidden too, little. A training that works lowers both.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from frame import arguments, main, show
from torch import Tensor

import probe
from probe.training.recipe import Text
from probe.training.text import held_out

RATES = (0.15, 0.5, 0.85)
LENGTH = 128


def run() -> None:
    options = arguments(__doc__, n=12, twins=["zoo:smollm2-masked"])
    twins = [probe.load(where, selftest="off") for where in options.twins]
    base = probe.load("zoo:smollm2", selftest="off")
    text = Text(files=("cache:smollm2-text/wiki.txt",), length=LENGTH)
    pieces = held_out(text, base.tokenizer, options.n)
    models = {"the base": base, **dict(zip(options.twins, twins, strict=True))}
    show("Nats a hidden token", rows(models, pieces, twins[0].paradigm.given_mask()), options.markdown)


def rows(models: dict[str, probe.Model], pieces: Tensor, mask_id: int) -> Iterator[dict[str, str]]:
    for name, model in models.items():
        for rate in RATES:
            behind = nats(model, pieces, mask_id, rate)
            yield {"model": name, "hidden": f"{rate:.0%}", **{where: f"{found:.2f}" for where, found in behind.items()}}


@torch.no_grad()
def nats(model: probe.Model, pieces: Tensor, mask_id: int, rate: float) -> dict[str, float]:
    """The mean over hidden tokens, apart by whether the token before is shown."""
    hidden = torch.rand(pieces.shape, generator=torch.Generator().manual_seed(1)) < rate
    hidden[:, 0] = False
    logits = model.logits(pieces.masked_fill(hidden, mask_id)).float()
    cost = -logits.log_softmax(-1)[:, :-1].gather(2, pieces[:, 1:, None])[..., 0]
    asked, shown = hidden[:, 1:], ~hidden[:, :-1]
    return {
        "behind a shown token": cost[asked & shown].mean().item(),
        "behind a hidden one": cost[asked & ~shown].mean().item(),
    }


if __name__ == "__main__":
    main(run)
