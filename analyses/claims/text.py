"""On text: how likely an AR model finds what each model writes, against how varied that is.

Likelihood alone can be gamed: text that repeats itself is likely. So each way of writing is a point of two figures, and
only one that is likelier AND no less varied than another is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses import statistics
from analyses.claims.flows import STEPS, UNIGRAM
from analyses.claims.writing import ROWS, Rule, as_autoregression, write
from analyses.result import Result
from probe.decoding import Flowing, Sampler
from probe.models.model import Model
from probe.paradigms import Flow

TEXT = "text itself"


def frontier(
    models: Mapping[str, Model],
    judge: Model,
    texts: Tensor,
    *,
    given: int = 8,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
) -> Result:
    """How likely an AR model finds what each model writes, and how varied that is.

    `texts` (n × length) are held-out: their first `given` tokens are the prompts, and they themselves, scored alike,
    say where real text lies. Every model draws: a masked one its tokens, a flow its noise, an AR model left to right.
    """
    length, rows = texts.shape[1] - given, []
    prompts = texts[:, :given]
    for name, model in models.items():
        for count in steps if not model.paradigm.in_order else (length,):
            tokens = write(model, prompts, length, _drawing(model, count), seed=seed).tokens
            rows.append({"model": name, "steps": count, **_scored(judge, tokens, given)})
    rows.append({"model": TEXT, "steps": 0, **_scored(judge, texts, given)})
    rows.append({"model": UNIGRAM, "steps": 1, **_scored(judge, _shuffled(texts, given, seed), given)})
    return Result(
        "claim_frontier",
        pd.DataFrame(rows).assign(unit="nats a token"),
        "What the flows write: likelihood and variety",
        "Down is what the AR model finds likelier, right is more varied; text that repeats itself is likely and of low "
        "entropy, so only what lies below AND not left of another is better. Bands: 95% bootstrap over texts.",
        "profile",
        {
            "axes": {
                "x": "entropy",
                "colour": "model",
                "x_title": "unigram entropy of a text (nats)",
                "y_title": "NLL under the AR model (nats a token)",
            },
            "judge": judge.name,
            "given": given,
            "seed": seed,
        },
    )


def _drawing(model: Model, steps: int) -> Rule:
    if isinstance(model.paradigm, Flow):
        return Flowing(steps)
    return Sampler(temperature=1.0) if model.paradigm.in_order else Sampler("random", steps=steps, temperature=1.0)


def _scored(judge: Model, tokens: Tensor, given: int) -> dict[str, Any]:
    """The mean NLL of what stands behind the prompts, and its mean entropy, each with its interval."""
    likely = statistics.mean(_nll(judge, tokens, given)).row()
    varied = statistics.mean(_entropy(tokens[:, given:])).row()
    return {**likely, "entropy": varied["estimate"], "entropy_low": varied["low"], "entropy_high": varied["high"]}


@torch.no_grad()
def _nll(judge: Model, tokens: Tensor, given: int) -> NDArray:
    """The mean NLL (n) of the tokens behind the first `given`."""
    asked, found = as_autoregression(judge), []
    for part in tokens.split(ROWS):
        logits = asked.logits(part)[:, given - 1 : -1].float()
        if judge.mask_id is not None:
            logits[..., judge.mask_id] = -torch.inf
        truth = part[:, given:].to(logits.device)
        found.append(torch.nn.functional.cross_entropy(logits.transpose(1, 2), truth, reduction="none").mean(1).cpu())
    return torch.cat(found).double().numpy()


def _entropy(tokens: Tensor) -> NDArray:
    """The entropy (n) of each text's own frequencies of tokens."""
    same = (tokens[:, :, None] == tokens[:, None, :]).double().mean(2)  # the frequency of the token at each place
    return same.log().neg().mean(1).cpu().numpy()


def _shuffled(texts: Tensor, given: int, seed: int) -> Tensor:
    """Behind each prompt, tokens drawn from the frequencies of all texts."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(texts), texts.shape[1] - given)
    drawn = texts.flatten()[torch.randint(texts.numel(), shape, generator=generator)]
    return torch.cat([texts[:, :given], drawn], 1)
