"""Each published format, written tiny with its publisher's names, is its AR architecture under the declared mask."""

from __future__ import annotations

import json

import pytest
import torch

import probe
from probe.errors import CheckpointError, SelfTestError
from probe.models.catalog import entries
from probe.models.formats import REFUSED
from tests.probe.models.published import PUBLISHED
from tests.probe.slow_masks import slow_visible
from tests.probe.tiny import (
    DECODERS,
    VARIANTS,
    backbone_of,
    state_of,
    stock_logits,
    tokens_of,
    write_checkpoint,
    write_stock,
)

CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module", params=PUBLISHED)
def case(request, tmp_path_factory):
    """A family, its stock backbone, and what is loaded from a folder named as it is published."""
    published = PUBLISHED[request.param]
    backbone = published.backbone()
    folder = published.write(tmp_path_factory.mktemp("published") / published.folder, backbone)
    return published, backbone, probe.load(folder, tokenizer=False)


def test_a_published_checkpoint_gives_its_ar_architecture_s_logits_under_the_declared_mask(case):
    published, backbone, model = case
    tokens = tokens_of(2, 40, vocabulary=10_000)  # longer than a block of 32
    tokens[:, 3::5] = published.mask_id
    assert model.layout.model_type == published.architecture
    assert type(model.backbone).__module__.startswith("transformers.models")
    allowed = slow_visible(published.attention, tokens, published.mask_id)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens, allowed), **CLOSE)


def test_what_is_declared_of_it(case):
    published, _, model = case
    found = (model.paradigm.name, model.mask_id, model.shift, model.paradigm.clean_shift, model.paradigm.attention)
    expected = (published.paradigm, published.mask_id, published.shift, published.clean_shift, published.attention)
    assert found == expected
    sampler = model.entry.sampler
    assert (None if sampler is None else str(sampler)) == published.sampler
    assert not model.selftests.failed


def test_shards_are_the_same_as_a_single_file(case, tmp_path):
    published, backbone, model = case
    sharded = probe.load(
        published.write(tmp_path / published.folder, backbone, shards=3), tokenizer=False, selftest="off"
    )
    tokens = tokens_of(1, 6)
    torch.testing.assert_close(sharded.logits(tokens), model.logits(tokens), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["dream", "llada", "sdar", "fast-dllm-v2", "wedlm 8B"])
def test_a_folder_under_another_name_is_known_by_its_format(name, tmp_path):
    published = PUBLISHED[name]
    model = probe.load(published.write(tmp_path / "elsewhere", published.backbone()), tokenizer=False)
    found = (model.paradigm.name, model.mask_id, model.shift, model.paradigm.attention)
    assert found == (published.paradigm, published.mask_id, published.shift, published.attention)


@pytest.mark.parametrize(
    ("name", "rivals", "said"),
    [
        ("diffugpt-s", ("diffugpt-s", "diffugpt-m"), {"mask_id": 10541}),
        ("tiny-a2d bd3lm", ("mdlm", "bd3lm"), {"paradigm": "block"}),
        ("fluid", ("openPangu", "FLUID"), {"paradigm": "fluid"}),
    ],
)
def test_a_format_that_several_kinds_share_must_be_told_apart(name, rivals, said, tmp_path):
    published = PUBLISHED[name]
    folder = published.write(tmp_path / "elsewhere", published.backbone())
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert all(rival in caught.value.found for rival in rivals)
    assert "paradigm=" in caught.value.remedy
    model = probe.load(folder, tokenizer=False, **said)
    found = (model.paradigm.name, model.mask_id, model.shift, model.paradigm.attention)
    assert found == (published.paradigm, published.mask_id, published.shift, published.attention)


def snapshot(cache, repository: str):
    """A folder as the Hub's cache has them."""
    return cache / f"models--{repository.replace('/', '--')}" / "snapshots" / "5f0b02c75b57c5855da9ae460ce51323ea669d8a"


@pytest.mark.parametrize("name", ["diffullama", "tiny-a2d bd3lm", "fluid"])
def test_a_snapshot_of_the_hub_is_known_by_its_repository(name, tmp_path, monkeypatch):
    """Its folder is called by a hash: DiffuLLaMA loaded from there as causal, and its logits were off by 13."""
    published = PUBLISHED[name]
    repository = next(row.name for row in entries() if row.name.endswith("/" + published.folder))
    backbone = published.backbone()
    folder = published.write(snapshot(tmp_path, repository), backbone)
    (tmp_path / "mine").symlink_to(folder)
    for place in (folder, tmp_path / "mine"):
        model = probe.load(place, tokenizer=False, selftest="off")
        assert (model.paradigm.name, model.mask_id) == (published.paradigm, published.mask_id)
    monkeypatch.chdir(folder)
    assert probe.load(".", tokenizer=False, selftest="off").paradigm.name == published.paradigm


def test_a_checkpoint_that_cannot_say_what_it_is_must_be_told_apart(tmp_path):
    """DiffuLLaMA's files are a LLaMA-2's."""
    published = PUBLISHED["diffullama"]
    backbone = published.backbone()
    folder = published.write(tmp_path / "elsewhere", backbone)
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert "diffusionfamily/diffullama" in caught.value.found
    assert "paradigm='autoregressive'" in caught.value.remedy
    assert "paradigm='masked', mask_id=811" in caught.value.remedy
    tokens = tokens_of(1, 12, vocabulary=10_000)
    plain = probe.load(folder, tokenizer=False, paradigm="autoregressive")
    torch.testing.assert_close(plain.logits(tokens), stock_logits(backbone, tokens), **CLOSE)
    assert plain.mask_id is None
    for said in ({"paradigm": "masked"}, {"mask_id": 811}):
        model = probe.load(folder, tokenizer=False, **said)
        assert (model.paradigm.name, model.mask_id, str(model.entry.sampler)) == ("masked", 811, "random")


@pytest.mark.parametrize("place", ["Llama-2-7b-hf", "snapshot"])
def test_a_plain_llama_that_has_a_name_is_not_asked(place, tmp_path):
    published = PUBLISHED["diffullama"]
    where = snapshot(tmp_path, "TinyLlama/TinyLlama-1.1B") if place == "snapshot" else tmp_path / place
    model = probe.load(published.write(where, published.backbone()), tokenizer=False, selftest="off")
    assert (model.paradigm.name, model.mask_id) == ("autoregressive", None)


@pytest.mark.parametrize(
    "sign", [{"is_causal": False}, {"mask_token_id": 40}, {"use_bidirectional_attention": True}], ids=str
)
def test_a_config_that_says_it_is_no_ar_model_is_not_loaded_as_one_in_silence(sign, tmp_path):
    folder = write_stock(tmp_path / "m", backbone_of("llama"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **sign}))
    with pytest.raises(CheckpointError, match=next(iter(sign))):
        probe.load(folder, tokenizer=False)


def test_another_repository_of_a_family_may_have_another_mask(tmp_path):
    """A row's mask is a default for its own repository."""
    published = PUBLISHED["dream"]
    for place in (tmp_path / "elsewhere", snapshot(tmp_path, "someone/Dream-v0-Base-7B")):
        folder = published.write(place, published.backbone())
        (folder / "config.json").write_text(json.dumps({**published.config, "mask_token_id": 151665}))
        model = probe.load(folder, tokenizer=False)
        assert (model.paradigm.name, model.paradigm.attention, model.mask_id) == ("masked", "full", 151665)


def test_a_family_whose_rows_differ_by_the_mask_alone_takes_the_config_s(tmp_path):
    published = PUBLISHED["diffugpt-s"]
    folder = published.write(tmp_path / "elsewhere", published.backbone())
    (folder / "config.json").write_text(json.dumps({**published.config, "mask_token_id": 4000}))
    assert probe.load(folder, tokenizer=False, selftest="off").mask_id == 4000


def test_the_current_folder_has_a_name_too(tmp_path, monkeypatch):
    published = PUBLISHED["diffullama"]
    monkeypatch.chdir(published.write(tmp_path / published.folder, published.backbone()))
    assert probe.load(".", tokenizer=False).mask_id == 811


@pytest.mark.parametrize("variant", DECODERS)
@pytest.mark.parametrize("shards", [1, 2])
def test_plain_checkpoints_of_every_architecture(variant, shards, tmp_path):
    architecture, other = VARIANTS[variant]
    backbone = backbone_of(architecture, **other)
    model = probe.load(write_stock(tmp_path / "plain", backbone, shards=shards), tokenizer=False)
    assert (model.paradigm.name, model.mask_id, model.shift) == ("autoregressive", None, True)
    tokens = tokens_of(2, 9)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens), **CLOSE)
    assert not model.selftests.failed


def test_an_encoder_loads_as_masked_diffusion_without_shift(tmp_path):
    architecture, other = VARIANTS["modernbert"]
    backbone = backbone_of(architecture, **other)
    folder = write_stock(tmp_path / "plain", backbone)
    model = probe.load(folder, tokenizer=False, mask_id=47)
    assert (model.paradigm.name, model.paradigm.attention, model.mask_id, model.shift) == ("masked", "full", 47, False)
    tokens = tokens_of(2, 9)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens), **CLOSE)
    assert not model.selftests.failed
    with pytest.raises(SelfTestError, match="50284, outside the embedding"):  # the published tokenizer's mask
        probe.load(folder, tokenizer=False)


def test_gpt2_as_it_is_published_without_the_prefix_of_the_full_class(tmp_path):
    backbone = backbone_of("gpt2")
    bare = {key.removeprefix("transformer."): tensor for key, tensor in state_of(backbone).items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
    config = {"model_type": "gpt2", **backbone.config.to_dict()}
    model = probe.load(write_checkpoint(tmp_path / "gpt2-tiny", config, bare), tokenizer=False)
    tokens = tokens_of(2, 9)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens), **CLOSE)


@pytest.mark.parametrize("scaling", ["llama3", "linear", "dynamic", "yarn"])
def test_scaled_rotary_frequencies_are_the_class_s_own(scaling, tmp_path):
    rope = {"rope_type": scaling, "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
    if scaling == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    backbone = backbone_of("llama", rope_parameters=rope)
    model = probe.load(write_stock(tmp_path / "scaled", backbone), tokenizer=False)
    tokens = tokens_of(2, 9)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens), **CLOSE)
    assert model.selftests["rotary"].outcome == "pass"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("llada", "block_type", "sequential"),
        ("llada-moe", "clip_qkv", 8.0),
        ("llada-moe", "shared_expert_intermediate_size", 12),
        ("llada2", "use_bias", True),
        ("llada", "alibi", True),
        ("llada", "include_qkv_bias", True),
        ("llada", "activation_type", "swiglu"),
        ("dream", "use_mrope", True),
        ("sdar", "quantization_config", {"quant_method": "gptq", "bits": 4}),
    ],
)
def test_a_variant_that_would_load_wrong_is_refused(name, field, value, tmp_path):
    published = PUBLISHED[name]
    folder = published.write(tmp_path / published.folder, published.backbone())
    (folder / "config.json").write_text(json.dumps({**published.config, field: value}))
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert field in caught.value.thing
    assert repr(value) in caught.value.found


@pytest.mark.parametrize("field", ["n_heads", "rms_norm_eps", "rope_theta"])
def test_what_a_remapped_format_leaves_unsaid_is_not_guessed(field, tmp_path):
    published = PUBLISHED["llada"]
    folder = published.write(tmp_path / published.folder, published.backbone())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in published.config.items() if k != field}))
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert caught.value.found == f"no {field}"


def test_a_mask_that_only_config_json_knows_must_be_there(tmp_path):
    published = PUBLISHED["wedlm 8B"]
    folder = published.write(tmp_path / published.folder, published.backbone())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in published.config.items() if k != "mask_token_id"}))
    with pytest.raises(CheckpointError, match=r"mask_token_id in its config\.json"):
        probe.load(folder, tokenizer=False)
    assert probe.load(folder, tokenizer=False, mask_id=151665).mask_id == 151665


def test_a_catalog_and_a_config_that_disagree_about_the_mask(tmp_path):
    published = PUBLISHED["dream"]
    folder = published.write(tmp_path / published.folder, published.backbone())
    (folder / "config.json").write_text(json.dumps({**published.config, "mask_token_id": 151665}))
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert "151666" in caught.value.expected
    assert "151665" in caught.value.found
    assert probe.load(folder, tokenizer=False, mask_id=151665).mask_id == 151665


def test_llada_s_two_ways_of_counting_key_heads_must_agree(tmp_path):
    published = PUBLISHED["llada, multi-query"]
    folder = published.write(tmp_path / published.folder, published.backbone())
    (folder / "config.json").write_text(json.dumps({**published.config, "n_kv_heads": 2}))
    with pytest.raises(CheckpointError, match="multi_query_attention"):
        probe.load(folder, tokenizer=False)


def test_dllm_s_llama_is_a_llama(tmp_path):
    backbone = backbone_of("llama")
    folder = write_stock(tmp_path / "a2d", backbone)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "a2d-llama"}))
    model = probe.load(folder, tokenizer=False, paradigm="masked", mask_id=47, shift=False)
    tokens = tokens_of(2, 9)
    everywhere = torch.ones(2, 9, 9, dtype=torch.bool)
    torch.testing.assert_close(model.logits(tokens), stock_logits(backbone, tokens, everywhere), **CLOSE)


@pytest.mark.parametrize("model_type", ["bert", "diffusion_gemma", "gemma3"])
def test_a_known_family_that_does_not_fit_is_refused_with_the_reason(model_type, tmp_path):
    folder = write_stock(tmp_path / "m", backbone_of("llama"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert caught.value.found == REFUSED[model_type]


def test_code_beside_the_weights_is_never_run(tmp_path):
    published = PUBLISHED["dream"]
    folder = published.write(tmp_path / published.folder, published.backbone())
    trace = tmp_path / "was run"
    code = f"open({str(trace)!r}, 'w').close()\n\nclass Config: ...\n\nclass Model: ...\n\nclass Words: ...\n"
    for module in ("configuration_published", "modeling_published", "tokenization_published", "custom_generate"):
        (folder / f"{module}.py").write_text(code)
    (folder / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    own_class = {"tokenizer_class": "Words", "auto_map": {"AutoTokenizer": ["tokenization_published.Words", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own_class))
    config = {**published.config, "transformers_weights": "../other.bin", "attn_implementation": "someone/kernels"}
    (folder / "config.json").write_text(json.dumps(config))
    model = probe.load(folder)
    assert type(model.tokenizer).__module__.startswith("transformers")
    assert not trace.exists()
