"""How checkpoints are published, and which stock architecture each of them is.

Public diffusion models ship remote code around what is, in every case here, a stock architecture under other names. A
`Format` says how to recognise one (its `model_type`, or a prefix that only its keys have) and how to read it as stock:
the configuration's fields, the keys, and the settings that must hold for the stock class to compute the same thing.
Nothing here runs code from a checkpoint, and nothing is guessed: a setting that deviates is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from probe.errors import CheckpointError
from probe.models.layout import INSTALLED


@dataclass(frozen=True)
class Format:
    """One published format. `keys` are regular expressions over checkpoint keys, applied in order (transformers'
    `key_mapping`, which allows each of them one group)."""

    name: str
    model_type: str  # as published in config.json
    stock: str | None  # the architecture that it is, or None where `stock_by` decides
    key_prefix: str | None = None  # tells this format from another one with the same model_type
    keys: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)  # stock field name: published field name, always said
    settings: Mapping[str, Any] = field(default_factory=dict)  # stock fields that the format fixes without saying so
    required: Mapping[str, Any] = field(default_factory=dict)  # published fields that must hold, where they are said
    stock_by: tuple[str, Mapping[Any, str]] | None = None  # (published field, {its value: architecture})

    def architecture(self, published: Mapping[str, Any]) -> str:
        if self.stock is not None:
            return self.stock
        assert self.stock_by is not None
        name, by_value = self.stock_by
        return by_value[bool(published.get(name))]

    def stock_fields(self, published: Mapping[str, Any]) -> dict[str, Any]:
        """The published configuration in the stock architecture's terms."""
        for name, expected in {**self.required, "quantization_config": None}.items():
            if published.get(name) not in (expected, None):
                raise CheckpointError(
                    f"config field {name!r}",
                    expected=f"{expected!r}, which is what the stock class computes with",
                    found=repr(published[name]),
                    remedy="This variant of the format would load wrong, so it is refused.",
                )
        unsaid = [name for name in self.fields.values() if name not in published]
        if unsaid:
            raise CheckpointError(
                f"config.json of a {self.name} checkpoint",
                expected="the fields " + ", ".join(self.fields.values()),
                found="no " + ", ".join(unsaid),
                remedy="Take the config.json that was published with these weights; a default would be a guess.",
            )
        kept = {name: value for name, value in published.items() if name not in _NOT_STOCK and value is not None}
        renamed = {stock: kept[name] for stock, name in self.fields.items() if name in kept}
        return {**kept, **self.settings, **renamed, "model_type": self.architecture(published)}

    def stock_key(self, key: str) -> str:
        """A checkpoint key in the stock architecture's terms."""
        for pattern, replacement in self.keys.items():
            key = re.sub(pattern, replacement, key)
        return key


# What names the published class, other code or other files: it means nothing to the stock class, or must not.
_NOT_STOCK = (
    *("architectures", "model_type", "transformers_version", "_name_or_path", "torch_dtype", "dtype"),
    *("auto_map", "transformers_weights", "fusion_config", "attn_implementation", "_attn_implementation"),
    "is_causal",  # every mask is handed over, and the class left to itself must stay the causal one of its tests
)

_DENOISE = r"^denoise_model\."

FORMATS = (
    Format(
        name="diffugpt",
        model_type="gpt2",
        stock="gpt2",
        key_prefix="denoise_model.",
        keys={_DENOISE: "transformer.", r"^embed_tokens\.": "transformer.wte."},
    ),
    Format(
        name="diffullama",
        model_type="llama",
        stock="llama",
        key_prefix="denoise_model.",
        keys={_DENOISE: "model.", r"^embed_tokens\.": "model.embed_tokens."},
    ),
    Format(name="dream", model_type="Dream", stock="qwen2", required={"use_mrope": False}),
    Format(
        name="llada",
        model_type="llada",
        stock="llama",
        keys={
            r"^model\.transformer\.wte\.": "model.embed_tokens.",
            r"^model\.transformer\.ln_f\.": "model.norm.",
            r"^model\.transformer\.ff_out\.": "lm_head.",
            r"^model\.transformer\.blocks\.(\d+)\.attn_norm\.": r"model.layers.\1.input_layernorm.",
            r"^model\.transformer\.blocks\.(\d+)\.q_proj\.": r"model.layers.\1.self_attn.q_proj.",
            r"^model\.transformer\.blocks\.(\d+)\.k_proj\.": r"model.layers.\1.self_attn.k_proj.",
            r"^model\.transformer\.blocks\.(\d+)\.v_proj\.": r"model.layers.\1.self_attn.v_proj.",
            r"^model\.transformer\.blocks\.(\d+)\.attn_out\.": r"model.layers.\1.self_attn.o_proj.",
            r"^model\.transformer\.blocks\.(\d+)\.ff_norm\.": r"model.layers.\1.post_attention_layernorm.",
            r"^model\.transformer\.blocks\.(\d+)\.ff_proj\.": r"model.layers.\1.mlp.gate_proj.",
            r"^model\.transformer\.blocks\.(\d+)\.up_proj\.": r"model.layers.\1.mlp.up_proj.",
            r"^model\.transformer\.blocks\.(\d+)\.ff_out\.": r"model.layers.\1.mlp.down_proj.",
        },
        fields={
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "num_key_value_heads": "n_kv_heads",
            "intermediate_size": "mlp_hidden_size",
            "vocab_size": "embedding_size",
            "max_position_embeddings": "max_sequence_length",
            "tie_word_embeddings": "weight_tying",
            "rms_norm_eps": "rms_norm_eps",
            "rope_theta": "rope_theta",
        },
        settings={"hidden_act": "silu"},
        required={
            "activation_type": "silu",
            "block_type": "llama",
            "block_group_size": 1,
            "layer_norm_type": "rms",
            "layer_norm_with_affine": True,
            "attention_layer_norm": False,
            "bias_for_layer_norm": False,
            "input_emb_norm": False,
            "scale_logits": False,
            "alibi": False,
            "rope": True,
            "include_bias": False,
            "include_qkv_bias": False,
        },
    ),
    Format(name="tiny-a2d", model_type="a2d-qwen3", stock="qwen3"),
    Format(name="sdar", model_type="sdar", stock="qwen3"),
    Format(name="fast-dllm-v2", model_type="Fast_dLLM_Qwen", stock="qwen2"),
    Format(name="wedlm", model_type="wedlm", stock=None, stock_by=("qk_norm", {True: "qwen3", False: "qwen2"})),
    Format(
        name="openpangu",
        model_type="PanguEmbedded",
        stock="llama",
        fields={"attention_bias": "bias"},
        settings={"mlp_bias": False},
    ),
)


def format_of(published: Mapping[str, Any], keys: list[str]) -> Format:
    """The format of a checkpoint, from its config.json and its keys."""
    model_type = published.get("model_type")
    if not isinstance(model_type, str):
        raise CheckpointError(
            "config.json",
            expected="a field 'model_type', which is a word",
            found=repr(model_type),
            remedy="Is this a transformers checkpoint? Its config.json must say what it is.",
        )
    for known in FORMATS:
        if known.model_type == model_type and (
            known.key_prefix is None or any(key.startswith(known.key_prefix) for key in keys)
        ):
            return known
    if model_type in INSTALLED:
        return Format(name="transformers", model_type=model_type, stock=model_type)
    known_types = sorted({*INSTALLED, *(known.model_type for known in FORMATS)})
    raise CheckpointError(
        f"model_type {model_type!r}",
        expected="one of " + ", ".join(known_types),
        found=repr(model_type),
        remedy="If it is one of these architectures under another name, add a Format in probe/models/formats.py; "
        "if it is a new one, declare a Layout (docs/how_to/add_an_architecture.md).",
    )
