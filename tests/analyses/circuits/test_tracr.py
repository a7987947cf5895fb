"""A program that Tracr compiled says in a stock GPT-2 what Tracr itself says, and its circuit is the program's."""

from __future__ import annotations

import pytest
import torch

from analyses.circuits import AttributionOptions
from analyses.circuits.attribution.attribute import attribute
from tests.analyses.circuits.planted_edges import auroc
from tests.analyses.tracr import CIRCUITS, UpToHere, program, prompts


def said(name: str, attention: str, noise: float = 0.0, texts: tuple | None = None) -> dict[str, list[int]]:
    one = program(name)
    model = one.model(attention, noise=noise)
    found = {}
    for text in texts or one.texts:
        with torch.no_grad():
            logits = model.logits(torch.tensor([one.encode(text)]))[0, 1:, one.first_answer :]
        found["".join(text)] = [int(one.answers[answer]) for answer in logits.argmax(-1)]
    return found


# Under a causal mask `sort` is not defined: it looks for places that are still to come.
@pytest.mark.parametrize(
    ("name", "attention"),
    [("length", "causal"), ("length", "full"), ("hist", "causal"), ("hist", "full"), ("sort", "full")],
)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_host_says_what_tracr_says(name, attention, noise):
    one = program(name)
    expected = {"".join(text): list(map(int, out)) for text, out in zip(one.texts, one.said[attention], strict=True)}
    assert said(name, attention, noise) == expected


def test_every_difference_is_the_masks():
    assert said("length", "causal", texts=("axa",)) == {"axa": [1, 2, 3]}
    assert said("length", "full", texts=("axa",)) == {"axa": [3, 3, 3]}
    assert said("hist", "causal", texts=("axa",)) == {"axa": [1, 1, 2]}
    assert said("hist", "full", texts=("axa",)) == {"axa": [2, 1, 2]}
    for name in ("length", "hist"):
        weights = [program(name).model(attention).backbone.state_dict() for attention in ("causal", "full")]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(("name", "attention"), [("hist", "causal"), ("hist", "full"), ("sort", "full")])
def test_exact_patching_finds_the_program(name, attention):
    """Among the edges of a head in every layer that does not belong to it."""
    one = program(name)
    model, batch = one.model(attention, noise=0.03), prompts(one, attention, 24)
    circuit = attribute(
        model, batch, reading=UpToHere(), method="exact-edges", options=AttributionOptions(metric="logit_difference")
    )
    assert (circuit.about.clean, circuit.about.corrupt) == pytest.approx((1, -1), abs=0.02)
    assert auroc(circuit, CIRCUITS[name]) == 1.0


def test_gradients_find_nothing_where_there_are_none():
    """Compiled attention and compiled steps are flat on both sides: no integrated gradient sees what goes through."""
    one = program("hist")
    batch = prompts(one, "causal", 8)
    how = {"reading": UpToHere(), "options": AttributionOptions(metric="logit_difference")}
    found = {
        method: attribute(one.model("causal"), batch, method=method, **how).edges.set_index(["source", "target"])[
            "score"
        ]
        for method in ("eap-ig", "exact-edges")
    }
    assert abs(found["exact-edges"]["input", "a0.h0<k>"]) > 0.5
    assert abs(found["eap-ig"]["input", "a0.h0<k>"]) < 1e-6
