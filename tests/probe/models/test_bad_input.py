"""Whatever a user gives us wrong is one clear ProbeError, never a traceback out of somebody else's code."""

from __future__ import annotations

import json
import resource
import shutil
import time

import pytest
import torch
from safetensors.torch import save_file

import probe
from probe.decoding import Sampler
from probe.errors import AttentionError, CheckpointError, ProbeError, SelfTestError, TokenError
from probe.models.catalog import entries
from probe.paradigms import Fluid, Masked
from probe.paradigms.fluid import insert
from tests.probe.tiny import MASK, backbone_of, model_of, state_of, tokens_of, write_checkpoint, write_stock


@pytest.fixture
def folder(tmp_path):
    return write_stock(tmp_path / "tiny", backbone_of("llama"))


@pytest.fixture
def sharded(tmp_path):
    return write_stock(tmp_path / "sharded", backbone_of("llama"), shards=3)


def error_of(where, kind=CheckpointError, **how) -> ProbeError:
    how = {"tokenizer": False, **how}
    with pytest.raises(kind) as caught:
        probe.load(where, **how)
    error = caught.value
    assert str(error) == f"{error.thing}: expected {error.expected}; found {error.found}. {error.remedy}"
    assert error.remedy
    return error


# Places


def test_no_such_folder(tmp_path):
    error = error_of(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in error.thing
    assert error.found == "no such folder or name"
    assert len(error.remedy) < 500


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("zoo:nothing-like-it", None),
        ("dream-v0-bsae-7b", "Dream-org/Dream-v0-Base-7B"),
        ("llada", "GSAI-ML/LLaDA-8B-Base"),
        ("FLUID-7", "FLUID-7B"),
    ],
)
def test_a_mistyped_name_is_told_its_nearest(typed, meant):
    error = error_of(typed)
    assert typed in error.thing
    assert meant is None or repr(meant) in error.remedy


def test_a_long_list_of_known_names_is_cut():
    remedy = probe.errors.nearest("qqq", [f"name{i}" for i in range(24)])
    assert remedy.endswith("and 16 more.")
    assert "name0" in remedy


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert error_of(tmp_path / "notes.txt").found == "no such folder or name"


def test_an_empty_folder(tmp_path):
    error = error_of(tmp_path)
    assert "model.safetensors" in error.expected
    assert error.found == "neither"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"])
def test_only_pickles(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04 never opened")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    error = error_of(tmp_path)
    assert name in error.found
    assert "run code" in error.found
    assert "save_file" in error.remedy


def test_shards_without_their_index(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    error = error_of(sharded)
    assert "model-00001-of-00003.safetensors" in error.found
    assert "model.safetensors.index.json" in error.remedy


def test_several_ggufs(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert error_of(tmp_path).found == "a.gguf, b.gguf"


# Files


def test_a_truncated_shard(sharded):
    shard = sharded / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    error = error_of(sharded)
    assert str(shard) in error.thing
    assert "truncated or corrupt" in error.found


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!"])
def test_a_corrupt_header(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    error = error_of(folder)
    assert "model.safetensors" in error.thing
    assert "truncated or corrupt" in error.found


def test_a_missing_shard(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    error = error_of(sharded)
    assert error.found == "no model-00002-of-00003.safetensors"
    assert "3 shards" in error.expected


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', "not json", "[]"])
def test_an_index_that_lists_nothing(sharded, content):
    (sharded / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in error_of(sharded).thing


@pytest.mark.parametrize("content", [b"not a gguf", b"GGUF\x03\x00\x00\x00"])
def test_a_corrupt_gguf(tmp_path, content):
    (tmp_path / "m.gguf").write_bytes(content)
    error = error_of(tmp_path / "m.gguf")
    assert "m.gguf" in error.thing
    assert "GGUF" in error.expected


# config.json


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert error_of(folder).expected == "config.json"


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\xff"])
def test_a_config_that_is_no_json_object(folder, content):
    (folder / "config.json").write_text(content, "latin-1")
    error = error_of(folder)
    assert "config.json" in error.thing
    assert error.expected in ("JSON", "a JSON object", "UTF-8 text")


@pytest.mark.parametrize("model_type", [None, 7, ["llama"]])
def test_a_config_without_a_model_type(folder, model_type):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    error = error_of(folder)
    assert "model_type" in error.expected
    assert error.found == repr(model_type)


def test_an_unknown_model_type(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    error = error_of(folder)
    assert error.found == "'mamba'"
    assert all(known in error.expected for known in ("gpt2", "llama", "qwen2", "qwen3", "Dream", "llada", "wedlm"))
    assert "Layout" in error.remedy


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "wide"},
        {"hidden_size": 30},
        {"num_attention_heads": 0},
        {"rope_parameters": {"rope_type": "nope", "rope_theta": 1e4}},
        {"layer_types": ["nope", "nope"]},
        {"hidden_act": "nope"},
        {"pad_token_id": 48},
    ],
)
def test_settings_that_the_stock_class_does_not_take(folder, wrong):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **wrong}))
    assert str(folder) in error_of(folder).thing


ABSURD = [
    {"num_hidden_layers": 200_000},
    {"num_hidden_layers": 10**9},
    {"hidden_size": 10**9},
    {"hidden_size": 1e9},
    {"intermediate_size": 10**9},
    {"num_attention_heads": 10**6},
    {"num_attention_heads": 10**6, "head_dim": 10**6},
    {"num_key_value_heads": 10**6},
    {"head_dim": 10**9},
    {"max_position_embeddings": 10**12},
    *({"num_hidden_layers": odd} for odd in (-1, 0, True, "2", [2], None, {"a": 1})),
    {"hidden_size": None},
    {"num_attention_heads": None, "head_dim": None},
]


@pytest.mark.parametrize("absurd", ABSURD, ids=str)
def test_a_config_is_held_against_the_weights_before_anything_is_allocated(folder, absurd):
    """Without a look at the header, the first of these makes 200,000 layers, which takes minutes and all memory."""
    config = json.loads((folder / "config.json").read_text())
    written = {name: value for name, value in {**config, **absurd}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(written))
    before, held = time.process_time(), peak_memory()
    error = error_of(folder)
    assert time.process_time() - before < 2
    assert peak_memory() - held < 100_000_000
    assert str(folder / "config.json") in error.thing
    assert next(iter(absurd)) in error.found or "heads" in error.expected


@pytest.mark.parametrize("absurd", [{"n_layer": 200_000}, {"n_positions": 10**6}, {"n_head": 5}, {"hidden_size": 64}])
def test_a_config_of_gpt2_is_held_against_the_weights_too(tmp_path, absurd):
    """n_positions squared is what the stock class allocates; n_embd and hidden_size are one field."""
    folder = write_stock(tmp_path / "tiny", backbone_of("gpt2"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **absurd}))
    assert "header of its weights" in error_of(folder).expected


def peak_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Keys


@pytest.mark.parametrize(
    "odd",
    [
        {"rms_norm_eps": 1e9},
        {"rms_norm_eps": 0.0},
        {"rope_theta": 0},
        {"rope_theta": True},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": -1}},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 0.5, "factor": 2.0}},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 0}},
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "rope_theta": 1e4, "factor": 0.1}}},
        {"partial_rotary_factor": 2},
    ],
    ids=str,
)
def test_numbers_that_no_model_is_trained_with_are_refused(folder, odd):
    """Their logits are finite and wrong, and other layers make up for enough of it that text is still predicted."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **odd}))
    error = error_of(folder)
    assert str(folder / "config.json") in error.thing
    assert " from " in error.expected


def test_a_key_that_lands_nowhere(tmp_path):
    backbone = backbone_of("llama")
    tensors = {**state_of(backbone), "model.layers.0.self_attn.extra.weight": torch.zeros(2)}
    error = error_of(write_checkpoint(tmp_path / "m", backbone.config.to_dict(), tensors))
    assert error.found == "unknown keys: model.layers.0.self_attn.extra.weight"


def test_parameters_that_nothing_sets(tmp_path):
    backbone = backbone_of("llama")
    kept = ("model.layers.0.", "model.layers.1.input", "model.embed", "lm_head")
    tensors = {key: tensor for key, tensor in state_of(backbone).items() if key.startswith(kept)}
    error = error_of(write_checkpoint(tmp_path / "m", backbone.config.to_dict(), tensors))
    assert "parameters left unset: model.layers.1.mlp.down_proj.weight" in error.found
    assert "and 1 more" in error.found  # nine of them, eight named


def test_an_unembedding_that_is_missing_and_not_tied(tmp_path):
    backbone = backbone_of("llama")
    tensors = {key: tensor for key, tensor in state_of(backbone).items() if key != "lm_head.weight"}
    error = error_of(write_checkpoint(tmp_path / "m", backbone.config.to_dict(), tensors))
    assert error.found == "parameters left unset: lm_head.weight"


def test_shapes_that_differ(tmp_path):
    config = {**backbone_of("llama").config.to_dict(), "intermediate_size": 64}
    error = error_of(write_checkpoint(tmp_path / "m", config, state_of(backbone_of("llama"))))
    assert ("intermediate_size 48" in error.expected, error.found) == (True, "intermediate_size 64")


def test_a_shape_that_differs(tmp_path):
    backbone = backbone_of("llama")
    tensors = {**state_of(backbone), "model.norm.weight": torch.zeros(31)}
    error = error_of(write_checkpoint(tmp_path / "m", backbone.config.to_dict(), tensors))
    assert error.found == "shapes that differ: model.norm.weight (31,) ≠ (32,)"


def test_another_architecture_s_config(tmp_path):
    config = backbone_of("gpt2").config.to_dict()
    error = error_of(write_checkpoint(tmp_path / "m", config, state_of(backbone_of("llama"))))
    assert "unknown keys: lm_head.weight" in error.found
    assert "transformer.h.0.attn.c_attn.weight" in error.expected


# Arguments


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"device": "tpu"}, "cuda"),
        ({"device": "cuda:99"}, "cuda"),
        ({"device": "meta"}, "cpu"),
        ({"dtype": "float31"}, "float32"),
        ({"dtype": "int8"}, "bfloat16"),
        ({"dtype": torch.int64}, "bfloat16"),
        ({"dtype": 32}, "bfloat16"),
        ({"paradigm": "maskd"}, "masked"),
        ({"selftest": "fully"}, "full"),
        ({"attention": "sliding"}, "block:N"),
        ({"attention": "block:0"}, "block:N"),
        ({"attention": "block:N"}, "block:N"),
        ({"attention": "block:four"}, "block:N"),
    ],
)
def test_arguments_of_load(folder, how, expected):
    error = error_of(folder, ProbeError, **how)
    assert expected in error.expected
    assert any(str(value) in str(error) for value in how.values())


def test_a_mask_id_outside_the_embedding(folder):
    error = error_of(folder, SelfTestError, paradigm="masked", mask_id=4800)
    assert "4800, outside the embedding" in error.found
    assert "an id below 48" in error.expected


def test_attention_that_needs_a_mask_token(folder):
    assert "mask" in str(error_of(folder, ProbeError, paradigm="masked", attention="masks_last"))


# Tokenizers


def test_no_tokenizer(folder):
    error = error_of(folder, tokenizer=True)
    assert "tokenizer.json" in error.expected
    assert "tokenizer=False" in error.remedy


def test_no_such_tokenizer_folder(folder, tmp_path):
    assert "tokenizer.json" in error_of(folder, tokenizer=tmp_path / "none").expected


@pytest.mark.parametrize("files", [{"tokenizer.json": "{"}, {"vocab.json": "[", "merges.txt": "?"}])
def test_an_unreadable_tokenizer(folder, files):
    for name, content in files.items():
        (folder / name).write_text(content)
    error = error_of(folder, tokenizer=True)
    assert "readable" in error.expected


def test_a_model_without_a_tokenizer_cannot_encode(folder):
    model = probe.load(folder, tokenizer=False)
    with pytest.raises(TokenError, match="a tokenizer"):
        model.encode("hello")


# Tokens


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (torch.tensor([[1, 48]]), "the id 48"),
        (torch.tensor([[-1, 3]]), "the id -1"),
        (torch.tensor([1, 2]), "shape (2,)"),
        (torch.tensor([[1.0, 2.0]]), "float32"),
        (torch.tensor([[True, False]]), "bool"),
        (torch.zeros(0, 3, dtype=torch.long), "shape (0, 3)"),
        ([[1, 2]], "list"),
        ("hello", "str"),
    ],
)
def test_tokens_that_the_model_cannot_take(tokens, told):
    with pytest.raises(TokenError) as caught:
        model_of().logits(tokens)
    assert told in caught.value.found


def test_places_beyond_a_learned_table():
    model = model_of("gpt2", Fluid(mask_id=MASK))
    with pytest.raises(TokenError, match="positions from 0 to 63"):
        model.logits(tokens_of(1, 65))
    anchors = torch.zeros(1, 60, dtype=torch.bool).index_fill(1, torch.tensor([59]), True)
    canvas = insert(tokens_of(1, 60), anchors, torch.full((1, 60), 9), MASK)
    with pytest.raises(TokenError, match="place 68"):
        model.run(canvas)
    assert model.logits(tokens_of(1, 64)).shape == (1, 64, 48)


def test_texts_of_several_lengths_and_text_that_holds_the_mask(speakers):
    model = speakers["masked"]
    with pytest.raises(TokenError, match="texts of one length"):
        model.encode(["oh well", "oh"])
    with pytest.raises(TokenError) as caught:
        model.encode("oh [MASK] well")
    assert "position 1" in caught.value.found
    assert "'[MASK]'" in caught.value.expected


# Attention masks


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (torch.ones(1, 1, 5, 5, dtype=torch.bool), "torch.bool"),
        (torch.ones(1, 1, 5, 5, dtype=torch.long), "torch.int64"),
        (torch.zeros(5, 5), "shape (5, 5)"),
        (torch.zeros(1, 5, 5), "shape (1, 5, 5)"),
        (torch.zeros(1, 1, 4, 5), "(1, 1, 4, 5)"),
        (torch.zeros(3, 1, 5, 5), "(3, 1, 5, 5)"),
        (torch.zeros(1, 4, 5, 5), "(1, 4, 5, 5)"),
        (torch.full((1, 1, 5, 5), 0.5), "0.5"),
        (torch.full((1, 1, 5, 5), -3.0), "-3"),
        (torch.full((1, 1, 5, 5), float("nan")), "nan"),
        (torch.full((1, 1, 5, 5), -float("inf")), "sees nothing"),
    ],
)
def test_attention_masks_that_would_be_misread(mask, told):
    with pytest.raises(AttentionError) as caught:
        model_of().logits(tokens_of(2, 5), mask)
    assert told in caught.value.found


@pytest.mark.parametrize(
    "kind", ["sideways", "block:", "block:-1", "block:x", 3, ["causal"], "block:" + "9" * 10, "block:" + "9" * 5000]
)
def test_unknown_kinds_of_attention(kind):
    with pytest.raises(AttentionError) as caught:
        model_of().logits(tokens_of(2, 5), kind)
    assert "block:N" in caught.value.expected


@pytest.mark.parametrize("padding", [torch.ones(2, 5, dtype=torch.long), torch.zeros(2, 4, dtype=torch.bool)])
def test_padding_that_would_be_misread(padding):
    """A tokenizer's attention_mask is 1 on what is *not* padded."""
    with pytest.raises(AttentionError, match="attention_mask == 0"):
        model_of().logits(tokens_of(2, 5), padding=padding)


# Catalogs


ROW = {"name": "mine", "paradigm": "masked", "mask_id": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {name: mine, paradigm: [", "line 1"),
        ("name: mine", "a mapping"),
        ("- 7", "row"),
        ("- {paradigm: masked}", "name: Field required"),
        ("- {name: mine, paradigm: magic}", "paradigm"),
        ("- {name: mine, paradigm: masked, colour: red}", "colour"),
        ("- {name: mine, paradigm: masked, mask_id: soon}", "mask_id"),
        ("- {name: mine, paradigm: masked, attention: sideways}", "sideways"),
        ("- {name: mine, paradigm: masked, sampler: {order: upwards}}", "upwards"),
        ("- {name: mine, paradigm: masked, sampler: {steps: 0}}", "steps"),
        ("- {name: mine, paradigm: masked, shift: perhaps}", "shift"),
        ("- {name: mine, paradigm: masked, mask_id: true}", "mask_id: Value error, an id, not true or false"),
        ("- {name: mine, paradigm: masked, mask_id: 3, settings: {shift: false}}", "shift beside `settings`"),
        ("- {name: mine, paradigm: masked, mask_id: 3, settings: {mask_id: 5}}", "mask_id beside `settings`"),
        ("- {name: mine, paradigm: masked, mask_id: 3, settings: {attention: causal}}", "attention beside `settings`"),
        ("- {name: mine, paradigm: masked, attention: 'block:9999999999'}", "999,999,999"),
    ],
)
def test_bad_rows(folder, tmp_path, text, told):
    (tmp_path / "own.yaml").write_text(text)
    error = error_of(folder, catalog=tmp_path / "own.yaml")
    assert "own.yaml" in error.thing
    assert told in str(error)


def test_no_such_catalog(folder, tmp_path):
    assert error_of(folder, catalog=tmp_path / "none.yaml").found == "no such file"


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "Expecting"), ("[]", "list"), (json.dumps({"name": "x"}), "paradigm"), (json.dumps({**ROW, "x": 1}), "x")],
)
def test_bad_own_entries(folder, content, told):
    (folder / "twinprobe.json").write_text(content)
    error = error_of(folder)
    assert "twinprobe.json" in error.thing
    assert told in error.found


def test_rows_of_ones_own(folder, tmp_path, monkeypatch):
    own = tmp_path / "own.yaml"
    own.write_text("- {name: me/tiny, paradigm: masked, mask_id: 47, shift: false, sampler: {order: margin}}\n")
    for model in (probe.load(folder, tokenizer=False, catalog=own), _with_variable(folder, own, monkeypatch)):
        assert (model.paradigm, str(model.entry.sampler)) == (Masked(mask_id=47, shift=False), "margin")
    (folder / "twinprobe.json").write_text(json.dumps({**ROW, "attention": "block:2"}))
    model = probe.load(folder, tokenizer=False, catalog=own)
    assert (model.paradigm.attention, model.mask_id) == ("block:2", 3)  # what lies beside the weights wins
    assert entries(own)[0].name == "me/tiny"


def _with_variable(folder, own, monkeypatch):
    monkeypatch.setenv("TWINPROBE_CATALOG", str(own))
    return probe.load(folder, tokenizer=False)


def test_arguments_stand_in_for_a_row(folder):
    model = probe.load(
        folder, tokenizer=False, paradigm="masked", mask_id=47, shift=False, attention="block:8", dtype="float64"
    )
    assert model.paradigm == Masked(mask_id=47, shift=False, attention="block:8")
    assert model.dtype == torch.float64
    assert probe.load(folder, tokenizer=False, paradigm=Fluid(mask_id=4), device="cpu").paradigm == Fluid(mask_id=4)


# Paradigms and samplers


@pytest.mark.parametrize("what", [{"attention": "upwards"}, {"weighting": "heavy"}])
def test_paradigms_that_cannot_be(what):
    with pytest.raises(ProbeError) as caught:
        Masked(mask_id=1, **what)
    assert next(iter(what.values())) in caught.value.found


@pytest.mark.parametrize("paradigm", [Masked(), Fluid(), probe.paradigms.Block()])
def test_a_training_batch_without_a_mask_token(paradigm):
    with pytest.raises(ProbeError, match="mask token"):
        paradigm.training_batch(tokens_of(2, 5), torch.Generator())


@pytest.mark.parametrize(
    "what", [{"order": "backwards"}, {"steps": 0}, {"block": 0}, {"temperature": -1.0}, {"threshold": -0.5}]
)
def test_samplers_that_cannot_be(what):
    with pytest.raises(ProbeError) as caught:
        Sampler(**what)
    assert str(next(iter(what.values()))) in caught.value.found


@pytest.mark.parametrize("length", [0, -3, 2.5, True])
def test_lengths_that_cannot_be_written(length):
    with pytest.raises(TokenError) as caught:
        probe.decode(model_of(), tokens_of(1, 4), length)
    assert str(length) in caught.value.found


def test_a_prompt_that_holds_the_mask():
    with pytest.raises(TokenError, match="without the mask token 47"):
        probe.decode(model_of(paradigm=Masked(mask_id=MASK)), torch.tensor([[1, MASK, 2]]), 3)


def test_a_pickle_beside_safetensors_is_never_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04 never opened")
    probe.load(folder, tokenizer=False)
    shutil.move(folder / "model.safetensors", folder / "adapter_model.safetensors")
    assert "adapter_model.safetensors" in error_of(folder).found


def test_errors_survive_being_sent_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(AttentionError("x", expected="a", found="b", remedy="c")))
    assert (type(error), error.thing, error.remedy) == (AttentionError, "x", "c")


def test_half_precision_tensors_are_read_as_float32_unless_kept(tmp_path):
    backbone = backbone_of("llama")
    folder = write_stock(tmp_path / "half", backbone)
    save_file({key: tensor.bfloat16() for key, tensor in state_of(backbone).items()}, folder / "model.safetensors")
    assert probe.load(folder, tokenizer=False).dtype == torch.float32
    assert probe.load(folder, tokenizer=False, dtype="auto").dtype == torch.bfloat16
