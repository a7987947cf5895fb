"""Whatever a configuration says, a model computes what the stock class does, or is refused by the setting's name."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

import probe
from probe.decoding import PassOptions, decode
from probe.errors import CheckpointError, TokenError
from probe.models.layout import INSTALLED
from probe.models.model import Model
from probe.models.settings import NEUTRAL
from probe.paradigms import Autoregressive
from probe.tracing import edit, patch, record
from tests.probe.tiny import backbone_of, state_of, tokens_of, write_checkpoint, write_stock

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
}
SHAPE = {
    **{"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8},
    "max_position_embeddings": LEARNED,
}
SHAPES = {
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": LEARNED},
    "llama": SHAPE,
    "qwen2": SHAPE,
    "qwen3": SHAPE,
}


def drawn(architecture: str) -> st.SearchStrategy[dict[str, Any]]:
    """Some of an architecture's settings, each with one of its values."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(of) for name, of in FIELDS[architecture].items()})


def test_every_class_that_is_shipped_is_drawn_from():
    assert set(FIELDS) == {name for name in INSTALLED if INSTALLED[name].model_type == name}


@pytest.mark.parametrize("architecture", FIELDS)
def test_every_setting_of_a_known_class_is_applied_or_refused_by_name(architecture):
    agreed = []

    @settings(max_examples=7, deadline=None, derandomize=True, phases=[Phase.generate], database=None)
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
    assert len(agreed) >= 4


def loaded_or_refused(published: dict[str, Any], state: dict[str, Tensor], named: tuple[str, ...]) -> Model | None:
    """The model of a checkpoint with these settings; None where it is refused, which must be by one of the names."""
    with TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), published, state)
        try:
            return probe.load(folder, tokenizer=False, paradigm="autoregressive")
        except CheckpointError as problem:
            refusal = str(problem)
    assert any(name in refusal for name in named), refusal
    return None


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
    trace = record(model, tokens, ["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "logits"])
    parts = {name: torch.tensor(trace[name].values) for name in trace}
    torch.testing.assert_close(parts["logits"], expected, **CLOSE)
    torch.testing.assert_close(parts["resid_pre"] + parts["attn_out"], parts["resid_mid"], **CLOSE)
    torch.testing.assert_close(parts["resid_mid"] + parts["mlp_out"], parts["resid_post"], **CLOSE)
    kept, anew = (decode(model, tokens, 3, seed=0, passes=PassOptions(cache=cache)) for cache in (True, False))
    torch.testing.assert_close(kept.confidence, anew.confidence, **CLOSE, equal_nan=True)


STRANGE = {
    **dict.fromkeys(NEUTRAL, 0.37),
    "sliding_window": 4,
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
        if hasattr(own, name):
            continue
        published = dict(plain)
        if "." in name:
            outer, _, inner = name.partition(".")
            if architecture == "gpt2":
                continue
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
    torch.testing.assert_close(probe.load(folder, tokenizer=False).logits(tokens), expected, **CLOSE)


@pytest.mark.filterwarnings("ignore:a text of 40 tokens:probe.models.lengths.LongTextWarning")
def test_rotary_positions_that_change_with_the_text_s_length_are_used_only_while_they_stand_still():
    """After a text of 40 tokens, stock "dynamic" gives one of 33 other logits than before it."""
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = Model(backbone_of("llama", max_position_embeddings=LEARNED, rope_parameters=rope), Autoregressive())
    before = model.logits(tokens_of(1, LEARNED))
    with pytest.raises(TokenError, match="dynamic"):
        model.logits(tokens_of(1, LEARNED + 8))
    torch.testing.assert_close(model.logits(tokens_of(1, LEARNED)), before, atol=0, rtol=0)
