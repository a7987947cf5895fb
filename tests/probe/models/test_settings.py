"""Whatever a configuration says, a model computes what the stock class does, or is refused by the setting's name."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel

import probe
from probe.decoding import PassOptions, decode
from probe.errors import CheckpointError, TokenError
from probe.models.layout import INSTALLED
from probe.models.model import Model
from probe.models.settings import NEUTRAL
from probe.paradigms import Autoregressive, Masked, Paradigm
from probe.tracing import edit, patch, record
from tests.probe.tiny import MASK, backbone_of, state_of, tokens_of, write_checkpoint, write_stock

CLOSE = {"atol": 2e-5, "rtol": 0}
LENGTH, LEARNED = 26, 32

ROPE = [
    {"rope_type": "default", "rope_theta": 500.0},
    {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0},
    {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8},
    {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
    {
        **{"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 16},
        **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    },
]
LLAMA = {
    "hidden_act": ["silu", "gelu", "relu"],
    "rms_norm_eps": [1e-6, 0.5],
    "num_key_value_heads": [1, 2],
    "tie_word_embeddings": [True, False],
    "rope_parameters": ROPE,
    "attention_dropout": [0.0, 0.5],
    "pad_token_id": [None, 0],
    "is_causal": [True, False],
}
WINDOWED = {
    **LLAMA,
    "use_sliding_window": [True, False],
    "sliding_window": [1, 4, 100],
    "max_window_layers": [0, 1, 2],
    "layer_types": [None, ["sliding_attention", "full_attention"], ["full_attention"] * 2],
}
KINDS = [None, ["sliding_attention", "full_attention"], ["full_attention"] * 2]
TURNED_IN_PART = [
    {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    {
        **{"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32},
        **{"short_factor": [1.5] * 4, "long_factor": [9.0] * 4, "factor": 1.0},
    },
]
GEMMA = {
    **{name: LLAMA[name] for name in ("rms_norm_eps", "num_key_value_heads", "tie_word_embeddings", "is_causal")},
    "hidden_activation": ["gelu_pytorch_tanh", "silu"],
    "attention_bias": [True, False],
    "attention_dropout": [0.0, 0.5],
    "head_dim": [4, 6],
    "query_pre_attn_scalar": [8, 20],
    "sliding_window": [1, 4, 100],
    "layer_types": KINDS[1:],
    "final_logit_softcapping": [None, 3.0],
    "attn_logit_softcapping": [None, 0.7],
    "use_bidirectional_attention": [None, False, True],
}
OF_EXPERTS = {
    "num_experts_per_tok": [1, 2],
    "sliding_window": [None, 4],
    "router_aux_loss_coef": [0.1],
    "output_router_logits": [False],
}
FIELDS: dict[str, dict[str, list[Any]]] = {
    "gpt2": {
        "activation_function": ["gelu_new", "gelu", "relu"],
        "layer_norm_epsilon": [1e-5, 0.5],
        "n_inner": [None, 20],
        "scale_attn_weights": [True, False],
        "scale_attn_by_inverse_layer_idx": [True, False],
        "reorder_and_upcast_attn": [True, False],
        "tie_word_embeddings": [True, False],
        "add_cross_attention": [True, False],
        "attn_pdrop": [0.1, 0.5],
    },
    "llama": {**LLAMA, "attention_bias": [True, False], "mlp_bias": [True, False], "head_dim": [4, 6]},
    "qwen2": WINDOWED,
    "qwen3": {**WINDOWED, "attention_bias": [True, False], "head_dim": [4, 6]},
    "mistral": {**LLAMA, "head_dim": [4, 6], "sliding_window": [None, 1, 4, 100], "layer_types": KINDS},
    "smollm3": {
        **{**LLAMA, "attention_bias": [True, False], "mlp_bias": [True, False], "head_dim": [4, 6]},
        **{"no_rope_layers": [[1, 0], [0, 0]], "no_rope_layer_interval": [1, 2], "layer_types": KINDS},
        **{"use_sliding_window": [True, False], "sliding_window": [4, 100]},
    },
    "olmo2": {**LLAMA, "attention_bias": [True, False], "layer_types": KINDS},
    "phi3": {
        **{**LLAMA, "rope_parameters": TURNED_IN_PART},
        **{"sliding_window": [None, 4], "resid_pdrop": [0.0, 0.5], "embd_pdrop": [0.0, 0.5]},
        "original_max_position_embeddings": [32],
    },
    "gemma2": {**GEMMA, "rope_parameters": ROPE},
    "gemma3_text": {
        **GEMMA,
        "rope_parameters": [
            dict.fromkeys(("full_attention", "sliding_attention"), rope) | {"full_attention": other}
            for rope, other in pairwise(ROPE[:3])
        ],
        "sliding_window_pattern": [1, 2],
    },
    "gpt_neox": {
        **{"hidden_act": LLAMA["hidden_act"], "layer_norm_eps": [1e-5, 0.5], "tie_word_embeddings": [True, False]},
        **{"use_parallel_residual": [True, False], "attention_bias": [True, False], "is_decoder": [True, False]},
        **{"rotary_pct": [0.5, 1.0], "rotary_emb_base": [500], "rope_parameters": [*ROPE[:2], TURNED_IN_PART[0]]},
        **{"attention_dropout": [0.5], "hidden_dropout": [0.5], "classifier_dropout": [0.3], "pad_token_id": [None, 0]},
    },
    "mixtral": {
        **LLAMA,
        **OF_EXPERTS,
        "head_dim": [4, 6],
        "num_local_experts": [2, 3],
        "router_jitter_noise": [0.0, 0.5],
    },
    "qwen3_moe": {
        **{**LLAMA, **OF_EXPERTS, "num_experts": [2, 3], "attention_bias": [True, False], "head_dim": [4, 6]},
        **{"norm_topk_prob": [True, False], "decoder_sparse_step": [1, 2], "mlp_only_layers": [None, [0]]},
        **{"use_sliding_window": [True, False], "moe_intermediate_size": [8]},
    },
    "modernbert": {
        **{name: ["gelu", "silu"] for name in ("hidden_activation", "classifier_activation")},
        **{f"{part}_bias": [True, False] for part in ("norm", "attention", "mlp", "decoder", "classifier")},
        **{f"{part}_dropout": [0.5] for part in ("attention", "embedding", "mlp", "classifier")},
        **{"norm_eps": [1e-6, 0.5], "local_attention": [2, 8, 100], "layer_types": KINDS},
        **{"tie_word_embeddings": [True, False], "deterministic_flash_attn": [True], "sparse_prediction": [True]},
        **{"global_attn_every_n_layers": [1, 2], "global_rope_theta": [500.0], "local_rope_theta": [50.0]},
        "rope_parameters": [{"full_attention": rope, "sliding_attention": other} for rope, other in pairwise(ROPE[:3])],
        "is_causal": [True, False],
    },
    "glm4_moe": {
        **{**LLAMA, "attention_bias": [True, False], "head_dim": [4, 8], "num_experts_per_tok": [1, 2]},
        **{"norm_topk_prob": [True, False], "use_qk_norm": [True, False], "routed_scaling_factor": [2.5]},
        **{"n_group": [1, 2], "topk_group": [1], "first_k_dense_replace": [0, 1], "n_shared_experts": [1, 2]},
        **{"n_routed_experts": [4, 6], "moe_intermediate_size": [8], "num_mtp_layers": [0, 1]},
        **{"partial_rotary_factor": [0.5, 1.0], "output_router_logits": [False]},
    },
}
# Sizes, and what no forward pass reads: how weights were drawn, losses, which tokens end a text.
APART = {
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "n_embd", "n_head"),
    *("n_layer", "n_positions", "max_position_embeddings", "initializer_range", "use_cache", "bos_token_id"),
    *("eos_token_id", "pad_token_id", "pretraining_tp", "embd_pdrop", "resid_pdrop"),
    *("cls_token_id", "sep_token_id", "initializer_cutoff_factor", "classifier_pooling", "sparse_pred_ignore_index"),
    *("summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"),
}
SHAPE = {
    **{"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8},
    "max_position_embeddings": LEARNED,
}
_NO_HEAD_DIM = {name: size for name, size in SHAPE.items() if name != "head_dim"}
SHAPES = dict.fromkeys(FIELDS, SHAPE) | {
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": LEARNED},
    "gpt_neox": _NO_HEAD_DIM,
    "modernbert": _NO_HEAD_DIM,
    "mixtral": {**SHAPE, "num_local_experts": 3},
    "glm4_moe": {**SHAPE, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12},
    "qwen3_moe": {**SHAPE, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 12},
}


OLDEST = ("gpt2", "llama", "qwen2", "qwen3")  # many settings differ between their checkpoints


def drawn(architecture: str) -> st.SearchStrategy[dict[str, Any]]:
    """Some of an architecture's settings, each with one of its values."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(of) for name, of in FIELDS[architecture].items()})


def test_every_class_that_is_shipped_is_drawn_from():
    assert set(FIELDS) == {name for name in INSTALLED if INSTALLED[name].model_type == name}


@pytest.mark.parametrize("architecture", FIELDS)
def test_no_setting_of_a_class_is_left_undrawn(architecture):
    every = {field.name for field in dataclasses.fields(CONFIG_MAPPING[architecture])}
    of_all = {field.name for field in dataclasses.fields(PretrainedConfig)}
    assert every - of_all - APART <= set(FIELDS[architecture])


@pytest.mark.parametrize("architecture", FIELDS)
def test_every_setting_of_a_known_class_is_applied_or_refused_by_name(architecture):
    agreed = []

    few = 7 if architecture in OLDEST else 4

    @settings(max_examples=few, deadline=None, derandomize=True, phases=[Phase.generate], database=None)
    @given(drawn(architecture))
    def holds(fields: dict[str, Any]) -> None:
        said = {**SHAPES[architecture], **fields}
        try:
            stock = backbone_of(architecture, **said)
        except ValueError:  # a class of transformers refuses it, too: layers of a window without its width
            return
        model = loaded_or_refused({**stock.config.to_dict(), **said}, state_of(stock), tuple(fields))
        if model is not None:
            stock.config.is_causal = True  # it was loaded as what is causal
            agrees(model, stock)
            agreed.append(fields)

    holds()
    assert len(agreed) >= few // 2


def loaded_or_refused(published: dict[str, Any], state: dict[str, Tensor], named: tuple[str, ...]) -> Model | None:
    """The model of a checkpoint with these settings; None where it is refused, which must be by one of the names."""
    with TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), published, state)
        try:
            return probe.load(folder, tokenizer=False, paradigm=itself(published["model_type"]))
        except CheckpointError as problem:
            refusal = str(problem)
    assert any(name in refusal for name in named), refusal
    return None


def itself(architecture: str) -> Paradigm:
    """A paradigm with the attention of the class left to itself."""
    return Masked(mask_id=MASK) if INSTALLED[architecture].encoder else Autoregressive()


def agrees(model: Model, stock: PreTrainedModel) -> None:
    """By every way in which this project asks a model, it is the stock class."""
    tokens = tokens_of(2, LENGTH)
    stock.set_attn_implementation("eager")
    with torch.no_grad():
        expected = stock(input_ids=tokens, use_cache=False).logits
    canvas = model.canvas(tokens)
    for eager in (True, False):
        torch.testing.assert_close(model.run(canvas, eager=eager), expected, **CLOSE)
    torch.testing.assert_close(model.unembed(model.run_trunk(canvas)), expected, **CLOSE)
    with edit(model, patch("pattern", 0.0, layer=0, step=99)):  # attention of our own, nothing changed
        torch.testing.assert_close(model.logits(tokens), expected, **CLOSE)
    between = [] if model.parallel else ["resid_mid"]
    trace = record(model, tokens, ["resid_pre", "attn_out", *between, "mlp_out", "resid_post", "logits"])
    parts = {name: torch.tensor(trace[name].values) for name in trace}
    torch.testing.assert_close(parts["logits"], expected, **CLOSE)
    middle = parts["resid_pre"] + parts["attn_out"]
    if between:
        torch.testing.assert_close(middle, parts["resid_mid"], **CLOSE)
    torch.testing.assert_close(middle + parts["mlp_out"], parts["resid_post"], **CLOSE)
    if model.layout.encoder:
        return
    kept, anew = (decode(model, tokens, 3, seed=0, passes=PassOptions(cache=cache)) for cache in (True, False))
    torch.testing.assert_close(kept.confidence, anew.confidence, **CLOSE, equal_nan=True)


STRANGE = {
    **dict.fromkeys(NEUTRAL, 0.37),
    "sliding_window": 4,
    "layer_types": ["sliding_attention"] * 2,
    "use_sliding_window": True,
    "local_attention": 128,
    "rope_parameters.partial_rotary_factor": 0.5,
}


@pytest.mark.parametrize("architecture", FIELDS)
def test_a_setting_that_the_class_would_ignore_is_refused_by_name(architecture, tmp_path):
    stock = backbone_of(architecture)
    folder = write_stock(tmp_path / "strange", stock)
    plain = json.loads((folder / "config.json").read_text())
    own = type(stock.config)
    for name, value in STRANGE.items():
        if hasattr(own, name) or name.rpartition(".")[2] in INSTALLED[architecture].takes:
            continue
        published = dict(plain)
        if "." in name:
            outer, _, inner = name.partition(".")
            if architecture == "gpt2":
                continue
            if architecture in ("gemma3_text", "modernbert"):  # one set of settings for each kind of layer
                plain_kind = plain[outer]["full_attention"]
                published[outer] = {**plain[outer], "full_attention": {**plain_kind, inner: value}}
            else:
                published[outer] = {**plain[outer], inner: value}
        else:
            published[name] = value
        (folder / "config.json").write_text(json.dumps(published))
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            probe.load(folder, tokenizer=False, selftest="off")


@pytest.mark.parametrize("architecture", FIELDS)
def test_the_same_settings_with_values_that_change_nothing_load(architecture, tmp_path):
    stock = backbone_of(architecture)
    folder = write_stock(tmp_path / "harmless", stock)
    harmless = {name: (values or (None,))[0] for name, values in NEUTRAL.items()}
    off = {"use_sliding_window": False, "sliding_window": 4096, "some_remark": "of no effect"}
    published = {**harmless, **off, **json.loads((folder / "config.json").read_text())}
    (folder / "config.json").write_text(json.dumps(published))
    tokens = tokens_of(1, 8)
    with torch.no_grad():
        expected = stock(input_ids=tokens).logits
    model = probe.load(folder, tokenizer=False, paradigm=itself(architecture))
    torch.testing.assert_close(model.logits(tokens), expected, **CLOSE)


@pytest.mark.filterwarnings("ignore:a text of 40 tokens:probe.models.lengths.LongTextWarning")
def test_rotary_positions_that_change_with_the_text_s_length_are_used_only_while_they_stand_still():
    """After a text of 40 tokens, stock "dynamic" gives one of 33 other logits than before it."""
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = Model(backbone_of("llama", max_position_embeddings=LEARNED, rope_parameters=rope), Autoregressive())
    before = model.logits(tokens_of(1, LEARNED))
    with pytest.raises(TokenError, match="dynamic"):
        model.logits(tokens_of(1, LEARNED + 8))
    torch.testing.assert_close(model.logits(tokens_of(1, LEARNED)), before, atol=0, rtol=0)
