"""Published formats of checkpoints, and the stock architecture of each.

Public diffusion models ship remote code, but all of those here are a stock architecture under other names. A `Format`
says how to recognise one (its `model_type`, or a prefix that only its keys have) and how to map it to the stock class:
the configuration's fields, the keys, and the settings under which the stock class computes the same. No code of a
checkpoint runs, and nothing is guessed: any other setting is refused. Your own package adds a format like an
architecture:

    [project.entry-points."twinprobe.formats"]
    my-format = "my_package:FORMAT"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from probe.errors import CheckpointError
from probe.installed import Installed
from probe.models.layout import INSTALLED


@dataclass(frozen=True)
class Format:
    """One published format. `keys` are regular expressions over checkpoint keys, applied in order (transformers'
    `key_mapping`, which allows each of them one group)."""

    name: str
    model_type: str  # as published in config.json
    stock: str | None  # its stock architecture, or None if `stock_by` decides
    key_prefix: str | None = None  # distinguishes this format from another one with the same model_type
    keys: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)  # stock field name: published field name, required
    settings: Mapping[str, Any] = field(default_factory=dict)  # stock fields that the format fixes implicitly
    required: Mapping[str, Any] = field(
        default_factory=dict
    )  # published fields that must have these values, if present
    stock_by: tuple[str, Mapping[Any, str]] | None = None  # (published field, {its value: architecture})
    derived: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None  # stock fields, of what is published
    splits: Mapping[str, tuple[str, str, str]] = field(
        default_factory=dict
    )  # a joint stock key: its keys for q, k and v
    family: str = ""  # in words, for a list of families
    checked: str = ""  # what it was checked against, and how close it came

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
                    remedy="This variant of the format would be computed wrongly, so it is refused.",
                )
        unsaid = [name for name in self.fields.values() if name not in published]
        if unsaid:
            raise CheckpointError(
                f"config.json of a {self.name} checkpoint",
                expected="the fields " + ", ".join(self.fields.values()),
                found="no " + ", ".join(unsaid),
                remedy="Take the config.json that was published with these weights; a default would be a guess.",
            )
        said = (*_NOT_STOCK, *self.required)  # the required values are what the stock class computes anyway
        kept = {name: value for name, value in published.items() if name not in said and value is not None}
        renamed = {stock: kept[name] for stock, name in self.fields.items() if name in kept}
        derived = self.derived(published) if self.derived is not None else {}
        return {**kept, **self.settings, **renamed, **derived, "model_type": self.architecture(published)}

    def stock_key(self, key: str) -> str:
        """A checkpoint key in the stock architecture's terms."""
        for pattern, replacement in self.keys.items():
            key = re.sub(pattern, replacement, key)
        return key


# Fields that name the published class, other code or other files; the stock class must not see them.
_NOT_STOCK = (
    *("architectures", "model_type", "transformers_version", "_name_or_path", "torch_dtype", "dtype"),
    *("auto_map", "transformers_weights", "fusion_config", "attn_implementation", "_attn_implementation"),
    "is_causal",  # masks are always passed explicitly, and the class's own default must stay causal for its tests
)


def _llada_key_heads(published: Mapping[str, Any]) -> dict[str, Any]:
    """LLaDA gives the number of key heads directly, or by `multi_query_attention`: one for all, or one per query
    head."""
    said, shared = published.get("n_kv_heads"), published.get("multi_query_attention")
    by_word = None if shared is None else 1 if shared else published.get("n_heads")
    if said is not None and by_word is not None and said != by_word:
        raise CheckpointError(
            "config field 'n_kv_heads'",
            expected=f"{by_word}, as multi_query_attention {shared} says",
            found=repr(said),
            remedy="Take the config.json that was published with these weights.",
        )
    return {"num_key_value_heads": next(n for n in (said, by_word, published.get("n_heads")) if n is not None)}


def _plain_layers(published: Mapping[str, Any]) -> dict[str, Any]:
    """LLaDA-MoE has a 0 or 1 per layer for experts; Qwen3-MoE lists the layers without."""
    listed = published.get("moe_layer_freq") or []
    return {"mlp_only_layers": [layer for layer, experts in enumerate(listed) if not experts]}


_DENOISE = r"^denoise_model\."

FORMATS = (
    Format(
        name="diffugpt",
        family="DiffuGPT",
        checked="its published code, to 6e-5",
        model_type="gpt2",
        stock="gpt2",
        key_prefix="denoise_model.",
        keys={_DENOISE: "transformer.", r"^embed_tokens\.": "transformer.wte."},
    ),
    Format(
        name="diffullama",
        family="DiffuLLaMA",
        checked="its published code, to 6e-5",
        model_type="llama",
        stock="llama",
        key_prefix="denoise_model.",
        keys={_DENOISE: "model.", r"^embed_tokens\.": "model.embed_tokens."},
    ),
    Format(
        name="dream",
        family="Dream, DiffuCoder",
        checked="its published code, to 6e-5",
        model_type="Dream",
        stock="qwen2",
        required={"use_mrope": False},
    ),
    *(
        Format(
            name="llada-moe",
            model_type=model_type,
            key_prefix="model.layers.",
            stock="qwen3_moe",
            fields={
                "moe_intermediate_size": "expert_intermediate_size",
                "intermediate_size": "dense_intermediate_size",
            },
            settings={"norm_topk_prob": False, "decoder_sparse_step": 1},
            derived=_plain_layers,
            required={
                "qk_layernorm": True,
                "clip_qkv": None,
                "shared_expert_intermediate_size": None,
                "moe_router_enable_expert_bias": False,
                "moe_router_score_function": "softmax",
                "routed_scaling_factor": 1,
            },
            family="LLaDA-MoE",
            checked="its published code, to 3e-6",
        )
        for model_type in ("llada", "lladamoe")
    ),
    Format(
        name="llada2",
        model_type="llada2_moe",
        stock="glm4_moe",
        keys={
            r"^model\.word_embeddings\.": "model.embed_tokens.",
            r"\.attention\.dense\.": ".self_attn.o_proj.",
            r"\.attention\.query_layernorm\.": ".self_attn.q_norm.",
            r"\.attention\.key_layernorm\.": ".self_attn.k_norm.",
            r"\.attention\.query_key_value\.": ".self_attn.query_key_value.",
            r"\.mlp\.gate\.expert_bias$": ".mlp.gate.e_score_correction_bias",
        },
        splits={".self_attn.query_key_value.": (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj.")},
        fields={"n_routed_experts": "num_experts", "n_shared_experts": "num_shared_experts"},
        derived=lambda published: {"norm_topk_prob": published.get("num_experts_per_tok") != 1, "num_mtp_layers": 0},
        required={"use_bias": False, "norm_head": False, "rope_scaling": None},
        family="LLaDA2",
        checked="its published code, to 4e-6",
    ),
    Format(
        name="llada",
        family="LLaDA",
        checked="its published code, to 6e-5; with one key head for all, to 1e-6",
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
        derived=_llada_key_heads,
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
    Format(
        name="tiny-a2d",
        family="Tiny-A2D, Qwen3",
        checked="its published code, to 6e-5",
        model_type="a2d-qwen3",
        stock="qwen3",
    ),
    Format(
        name="a2d-qwen2",
        family="Tiny-A2D, Qwen2.5",
        checked="dLLM's published code, to 2e-6",
        model_type="a2d-qwen2",
        stock="qwen2",
    ),
    Format(
        name="a2d-llama",
        family="Tiny-A2D, LLaMA",
        checked="LlamaForCausalLM under full attention; no checkpoint is published",
        model_type="a2d-llama",
        stock="llama",
    ),
    Format(name="sdar", family="SDAR", checked="its published code, to 6e-5", model_type="sdar", stock="qwen3"),
    Format(
        name="fast-dllm-v2",
        family="Fast-dLLM v2",
        checked="its published code, to 6e-5",
        model_type="Fast_dLLM_Qwen",
        stock="qwen2",
    ),
    Format(
        name="wedlm",
        family="WeDLM",
        checked="its published code, to 6e-5",
        model_type="wedlm",
        stock=None,
        stock_by=("qk_norm", {True: "qwen3", False: "qwen2"}),
    ),
    Format(
        name="modernbert",
        family="ModernBERT chat",
        checked="ModernBertForMaskedLM, which dLLM's code runs unchanged",
        model_type="modernbert",
        stock="modernbert",
    ),
    Format(
        name="openpangu",
        family="openPangu, FLUID",
        checked="its published code, to 6e-5",
        model_type="PanguEmbedded",
        stock="llama",
        fields={"attention_bias": "bias"},
        settings={"mlp_bias": False},
    ),
)


REFUSED = {
    "bert": "norms on the residual stream itself, so that a part's output is not in the stream one layer later",
    "diffusion_gemma": "an encoder whose keys and values a second stack reads, heads of different widths, and layers "
    "that scale the whole stream",
    "gemma3": "images and text; only its text part (model_type gemma3_text) loads",
}
"""Known families that do not fit, and why."""

INSTEAD = {
    "diffusion_gemma": "Load it with transformers' DiffusionGemmaForBlockDiffusion; probe.tracing.record_denoising "
    "writes with it and records its decoder. Circuits and edits need one stack of equal layers.",
    "gemma3": "Take the checkpoint's text part, whose model_type is gemma3_text.",
}
"""What can be done with some of them."""

ADDED: Installed[Format] = Installed(
    "twinprobe.formats", {}, lambda thing: isinstance(thing, Format), "a probe.models.formats.Format"
)
"""The formats that other packages declare."""


def format_of(published: Mapping[str, Any], keys: list[str]) -> Format:
    """The format of a checkpoint, from its config.json and its keys."""
    model_type = published.get("model_type")
    if not isinstance(model_type, str):
        raise CheckpointError(
            "config.json",
            expected="a field 'model_type' with a text",
            found=repr(model_type),
            remedy="Is this a transformers checkpoint? Its config.json must have its model_type.",
        )
    formats = (*FORMATS, *ADDED.values())
    for known in formats:
        if known.model_type == model_type and (
            known.key_prefix is None or any(key.startswith(known.key_prefix) for key in keys)
        ):
            return known
    if model_type in INSTALLED:
        return Format(name="transformers", model_type=model_type, stock=model_type)
    if model_type in REFUSED:
        raise CheckpointError(
            f"model_type {model_type!r}",
            expected="an architecture whose residual stream is the sum of its parts' outputs",
            found=REFUSED[model_type],
            remedy=INSTEAD.get(model_type, "Run it with transformers itself; its parts cannot be attributed here."),
        )
    known_types = sorted({*INSTALLED, *(known.model_type for known in formats)})
    raise CheckpointError(
        f"model_type {model_type!r}",
        expected="one of " + ", ".join(known_types),
        found=repr(model_type),
        remedy="If it is one of these architectures under another name, declare a Format (docs/how_to/"
        "add_an_architecture.md); if it is a new one, a Layout (the same page).",
    )
