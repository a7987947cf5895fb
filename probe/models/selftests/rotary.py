"""The rotary frequencies, compared with their formula.

They are computed when the class is created, not stored; a version of transformers that leaves them uninitialised, or a
configuration without its base, gives finite but wrong logits. A model may use other frequencies in its windowed layers,
and rotate only a part of each head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from probe.models.model import Model
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding
from probe.models.settings import rotary_settings


def rotary(model: Model) -> Finding:
    if model.layout.rotary is None:
        return Finding("rotary", "rotary frequencies of the formula", "learned positions, no frequencies", NOT_RUN)
    found = [_of_kind(model, kind, settings) for kind, settings in rotary_settings(model.config).items()]
    failed = [one for one in found if one.outcome == FAIL]
    if failed or len(found) == 1:
        return (failed or found)[0]
    return Finding("rotary", "; ".join(one.expected for one in found), "; ".join(one.found for one in found), PASS)


def _of_kind(model: Model, kind: str, settings: Mapping[str, Any]) -> Finding:
    """The frequencies of one kind of layer ("" is all of them)."""
    module = model.layout.part(model.backbone, "rotary")
    kept = getattr(module, f"{kind}_inv_freq" if kind else "inv_freq", None)
    if not isinstance(kept, torch.Tensor) or kept.is_meta:
        told = "no inv_freq" if kept is None else "an inv_freq that holds no numbers"
        return Finding("rotary", "rotary frequencies of the formula", told, FAIL)
    found = kept.float().cpu()
    formula, name = _formula(model, kind, settings)
    expected = f"rotary frequencies {name}" + (f" in layers of {kind.replace('_', ' ')}" if kind else "")
    if found.shape != formula.shape:
        return Finding("rotary", expected, f"{tuple(found.shape)} frequencies, not {tuple(formula.shape)}", FAIL)
    off = ((found - formula).abs() / formula).max().item()
    # A half-precision model keeps its frequencies in float32; they are exact to rounding or they are wrong.
    outcome = PASS if off < 1e-5 else FAIL
    return Finding("rotary", expected, f"they differ by {off:.0e} of themselves", outcome)


def _formula(model: Model, kind: str, settings: Mapping[str, Any]) -> tuple[torch.Tensor, str]:
    """The expected frequencies, and their description."""
    rope, theta = settings.get("rope_type", "default"), _published_theta(model.published, kind, settings)
    if rope == "default":
        turned = int(model.d_head * (settings.get("partial_rotary_factor") or 1))
        half = torch.arange(0, turned, 2, dtype=torch.float64)
        return (theta ** -(half / turned)).float(), f"{theta:g}^(-2i/{turned})"
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    which = {"layer_type": kind} if kind else {}
    formula = ROPE_INIT_FUNCTIONS[rope](model.config, torch.device("cpu"), **which)[0].float()
    return formula, f"rope type {rope!r}, theta {theta:g}"


# Publishers' names for the base; windowed layers may have one of their own.
_BASES = {"sliding_attention": ("rope_local_base_freq", "local_rope_theta")}
_BASE = ("rope_theta", "rotary_emb_base", "global_rope_theta")


def _published_theta(published: Mapping[str, Any], kind: str, stock: Mapping[str, Any]) -> float:
    """The base from the checkpoint itself, since this test must not trust the configuration made from it."""
    inside = published.get("rope_parameters") or {}
    places = (published, inside.get(kind) or inside)
    said = (place.get(name) for name in _BASES.get(kind, _BASE) for place in places)
    inner = (inside.get(kind) or {}).get("rope_theta")
    return float(inner or next((base for base in said if base), None) or stock["rope_theta"])
