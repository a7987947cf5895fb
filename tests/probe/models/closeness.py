"""How close a model of ours comes to its stock class, asked of both: logits, hidden states, attentions, sums."""

from __future__ import annotations

import torch
from torch import Tensor

import probe
from probe.models.model import Model
from probe.models.selftests.streams import streams
from probe.paradigms import Masked
from tests.probe.tiny import MASK, VARIANTS, backbone_of, stock_logits, tokens_of

CLOSE = 1e-5


def closeness(variant: str) -> dict[str, float]:
    """The largest difference from the stock class, left to itself or handed a mask of zeros; and by how much the parts
    of the stream miss their sum, relative to them."""
    architecture, other = VARIANTS[variant]
    model, stock = Model(backbone_of(architecture, **other), Masked(mask_id=MASK)), backbone_of(architecture, **other)
    tokens = tokens_of(2, 11)
    everywhere = torch.ones(2, 11, 11, dtype=torch.bool)
    itself = model.paradigm if model.layout.encoder else probe.paradigms.Autoregressive()
    canvas = model.paradigm.canvas(tokens, attention=itself.attention)
    stock.set_attn_implementation("eager")  # SDPA gives no attentions
    with torch.no_grad():
        own = stock(input_ids=tokens, use_cache=False, output_hidden_states=True, output_attentions=True)
    trace = probe.record(Model(model.backbone, itself), tokens, ["resid_pre", "final_norm", "pattern"])
    ours = [*torch.tensor(trace["resid_pre"].values).unbind(1), torch.tensor(trace["final_norm"].values)]
    pattern = torch.tensor(trace["pattern"].values).unbind(1)
    sums = streams(model)
    assert sums.outcome == "pass", sums.found
    return {
        "logits": _apart([model.run(canvas)], [own.logits]),
        "logits, full attention": _apart([model.logits(tokens)], [stock_logits(stock, tokens, everywhere)]),
        "hidden states": _apart(ours, own.hidden_states),
        "attentions": _apart(pattern, own.attentions),
        "sums": float(sums.found.rpartition("at most ")[2].partition(" ")[0]),
    }


def _apart(ours, theirs) -> float:
    pairs: list[tuple[Tensor, Tensor]] = list(zip(ours, theirs, strict=True))
    return max(float((mine - other).abs().max()) for mine, other in pairs)
