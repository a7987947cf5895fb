"""Attribution against the textbook's, edge by edge."""

from __future__ import annotations

import pytest
import torch

from analyses.circuits import attribute
from probe.readings import named
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import agree, batch_of, model_of

VARIANTS = ("gpt2", "llama-mha", "llama-gqa", "llama-mqa", "llama-biased", "qwen2", "qwen3", "qwen3-wide-heads-tied")
ATTENTIONS = ("causal", "full")


def difference(batch, slots):
    """The sum of the rows' logit differences."""

    def value(logits):
        read = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))[:, 0]
        return (read.gather(1, batch.target[:, None]) - read.gather(1, batch.distractor[:, None])).sum()

    return value


def expected_edges(model, batch, reading, steps):
    asked = [named(reading).ask(model, batch, which) for which in ("clean", "corrupt")]
    canvas = asked[0].canvas
    return textbook.integrated(
        model.backbone,
        canvas.tokens,
        asked[1].canvas.tokens,
        canvas.allowed,
        canvas.places,
        difference(batch, asked[0].slots),
        steps,
    )


def compare_edges(circuit, expected):
    found = circuit.edges.set_index(["source", "target"])["score"]
    assert set(found.index) == set(expected)
    agree(torch.tensor([found[edge] for edge in expected]), torch.tensor(list(expected.values())))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_eap_ig_is_the_textbook_s(variant, attention):
    model, batch = model_of(variant, attention), batch_of()
    circuit = attribute(model, batch, method="eap-ig", steps=3, metric="logit_difference")
    compare_edges(circuit, expected_edges(model, batch, "prefix", 3))
