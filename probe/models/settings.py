"""Settings that change a forward pass, checked against what the stock class applies.

A configuration class of transformers keeps every field that it is given, including those that its model never reads. A
checkpoint whose code caps its logits, scales its embedding or omits rotary positions in every fourth layer would thus
silently load into a stock class that computes something else. So this module lists the known settings of that kind,
each with its neutral values. A field that the stock class does not declare, with any other value, is refused by name:

    {"model_type": "llama", "final_logit_softcapping": 30.0}      # refused: LLaMA's class has no cap
    {"model_type": "llama", "logit_scale": 1.0}                   # loads

A class applies what it declares; a property test checks this for every known class
(tests/probe/models/test_settings.py). If a class is an exception, its `Layout` says so: `takes` names settings that it
applies without declaring them, `only` the values that a declared one may have. Layers of several kinds are in
`probe.models.windows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from probe.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from probe.models.layout import Layout

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    # caps and scales
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "attention_logit_cap"), ()),
    **dict.fromkeys(("logits_soft_cap", "logit_soft_cap", "output_logit_soft_cap", "clip_qkv"), ()),
    **dict.fromkeys(("query_pre_attn_scalar", "attention_multiplier", "softmax_scale", "scale_depth"), ()),
    **dict.fromkeys(("logit_scale", "logits_scaling", "lm_head_multiplier", "key_multiplier"), (1,)),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier", "scale_emb", "embedding_scale"), (1,)),
    **dict.fromkeys(("attention_in_multiplier", "attention_out_multiplier", "attention_value_scale"), (1,)),
    **dict.fromkeys(("scale_embedding", "rescale_embeddings", "mup_enabled", "use_mup"), (False,)),
    **dict.fromkeys(
        ("scale_attn_by_inverse_layer_idx", "add_out_norm", "use_post_norm", "use_sandwich_norm"), (False,)
    ),
    # norms without weights, and the position of norms
    **dict.fromkeys(("use_qk_norm", "qk_layernorm", "apply_residual_connection_post_layernorm"), (False,)),
    "do_layer_norm_before": (True,),
    **dict.fromkeys(("use_parallel_residual", "parallel_attn", "parallel_residual"), (False,)),
    # positions
    **dict.fromkeys(("alibi", "use_alibi", "use_mrope", "rope_interleave"), (False,)),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct", "rotary_percent", "rope_pct"), (1,)),
    **dict.fromkeys(("no_rope_layers", "no_rope_layer_interval", "rotary_dim", "layer_rope_theta"), ()),
    # who sees whom
    **dict.fromkeys(("sliding_window_size", "attention_window_size", "local_attention", "window_size"), ()),
    **dict.fromkeys(("sliding_window_pattern", "attention_chunk_size", "num_sink_tokens", "attention_types"), ()),
    "use_sliding_window": (False,),
    **dict.fromkeys(("sliding_window", "layer_types"), ()),
}
"""Fields that change a forward pass, and their neutral values besides None."""

_NARROW = ("sliding_attention", "chunked_attention", "linear_attention")  # layers with a narrower view
IN_ROPE = ("partial_rotary_factor",)  # those that may also be inside the rotary settings


def refuse_not_understood(published: Mapping[str, Any], stock: type[PretrainedConfig], layout: Layout) -> None:
    """Refuse a field that changes the forward pass and that the stock class would ignore."""
    switched_off = published.get("use_sliding_window") is False
    for name, value in published.items():
        if name in layout.only and not _among(value, layout.only[name]):
            raise _refused(name, value, layout.only[name], f"since {layout.causal_lm} applies nothing else")
        if name not in NEUTRAL or _declares(stock, name) or name in layout.takes:
            continue
        if not _neutral(name, value) and not (name == "sliding_window" and switched_off):
            raise _refused(name, value, NEUTRAL[name], f"since {stock.__name__} has no such setting")
    for place in ("rope_parameters", "rope_scaling"):
        for inside in _each(published.get(place)):
            for name in (name for name in IN_ROPE if name not in layout.takes):
                if not _neutral(name, inside.get(name)):
                    why = f"since {stock.__name__} has no such setting"
                    raise _refused(f"{place}.{name}", inside[name], NEUTRAL[name], why)


def _each(rope: Any) -> list[Mapping[str, Any]]:
    """Rotary settings: one set of them, or one for each kind of layer."""
    if not isinstance(rope, Mapping):
        return []
    return [rope, *(inner for inner in rope.values() if isinstance(inner, Mapping))]


def _declares(stock: type[PretrainedConfig], name: str) -> bool:
    return hasattr(stock, name) or name in stock.attribute_map


def _neutral(name: str, value: Any) -> bool:
    if name == "layer_types":  # anything but a list of known kinds is refused by the stock class itself
        return not isinstance(value, list | tuple) or not any(kind in _NARROW for kind in value)
    return _among(value, (None, *NEUTRAL[name]))


def _among(value: Any, harmless: tuple[Any, ...]) -> bool:
    return value is None or any(value == one and type(value) is not str for one in harmless)


def _refused(name: str, value: Any, harmless: tuple[Any, ...], why: str) -> CheckpointError:
    wanted = " or ".join(dict.fromkeys(map(repr, (*harmless, None))))
    return CheckpointError(
        f"config field {name!r}",
        expected=f"{wanted}, {why}",
        found=repr(value)[:60],
        remedy="The stock class would ignore it and compute something else. If the checkpoint's own code ignores "
        "it too, remove the field from config.json; a class that has it needs a Layout "
        "(docs/how_to/add_an_architecture.md).",
    )


def rotary_settings(config: PretrainedConfig) -> dict[str, dict[str, Any]]:
    """Rotary settings by kind of layer; those of all layers are under ""."""
    rope = getattr(config, "rope_parameters", None) or {}
    if any(isinstance(inner, Mapping) for inner in rope.values()):
        kinds = set(getattr(config, "layer_types", ()))
        return {kind: inner for kind, inner in rope.items() if kind in kinds and inner is not None}
    return {"": rope} if rope else {}


def steady_length(config: PretrainedConfig) -> tuple[str, int] | None:
    """How many positions have rotary frequencies that do not depend on a text's length, and the rotary type; None if
    all have.

    Two kinds of rotary positions change all frequencies once a text grows beyond a length. "dynamic" then keeps those
    of the longest text seen, so that logits depend on earlier inputs; with either, a cache of the first part of a text
    differs from the whole text's keys there.
    """
    for rope in rotary_settings(config).values():
        kind = rope.get("rope_type", "default")
        if kind == "dynamic":
            return kind, config.max_position_embeddings
        if kind == "longrope":
            return kind, rope.get("original_max_position_embeddings") or config.max_position_embeddings
    return None
