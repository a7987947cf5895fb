"""The rotary frequencies against their formula.

They are computed when the class is made, not stored; a version of transformers that leaves them uninitialised, or a
configuration that lost its base on the way, gives finite and wrong logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from probe.models.model import Model
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding


def rotary(model: Model) -> Finding:
    if model.layout.rotary is None:
        return Finding("rotary", "rotary frequencies of the formula", "learned positions, no frequencies", NOT_RUN)
    kept = getattr(model.layout.part(model.backbone, "rotary"), "inv_freq", None)
    if not isinstance(kept, torch.Tensor) or kept.is_meta:
        told = "no inv_freq" if kept is None else "an inv_freq that holds no numbers"
        return Finding("rotary", "rotary frequencies of the formula", told, FAIL)
    found = kept.float().cpu()
    settings = model.config.rope_parameters
    kind, theta = settings.get("rope_type", "default"), _published_theta(model.published, settings)
    if kind == "default":
        half = torch.arange(0, model.d_head, 2, dtype=torch.float64)
        formula, name = (theta ** -(half / model.d_head)).float(), f"{theta:g}^(-2i/{model.d_head})"
    else:
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        formula = ROPE_INIT_FUNCTIONS[kind](model.config, torch.device("cpu"))[0].float()
        name = f"rope type {kind!r}, theta {theta:g}"
    expected = f"rotary frequencies {name}"
    if found.shape != formula.shape:
        return Finding("rotary", expected, f"{tuple(found.shape)} frequencies, not {tuple(formula.shape)}", FAIL)
    off = ((found - formula).abs() / formula).max().item()
    # A half-precision model keeps its frequencies in float32; they are exact to rounding or they are wrong.
    outcome = PASS if off < 1e-5 else FAIL
    return Finding("rotary", expected, f"they differ by {off:.0e} of themselves", outcome)


def _published_theta(published: Mapping[str, Any], stock: Mapping[str, Any]) -> float:
    """The base as the checkpoint states it: this test must not trust the configuration that was made from it."""
    inside = published.get("rope_parameters") or {}
    return float(published.get("rope_theta") or inside.get("rope_theta") or stock["rope_theta"])
