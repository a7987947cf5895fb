"""SAELens' files: written as its release 6 reads them, and read as it and older releases wrote them.

What is held against its own code (6.54.12, whose install needs an older TransformerLens than ours) is kept here as the
formulas of its TopKSAE: relu(topk((x − b_dec) W_enc + b_enc)) W_dec + b_dec, with or without its two options.
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from analyses import features
from analyses.features.saelens import CONFIG, WEIGHTS
from probe.errors import ProbeError
from tests.analyses.features.planted_states import by_hand, planted

K = 3


def theirs(tensors, x, *, rescaled=False, centred=True):
    before = (x - tensors["b_dec"] * centred) @ tensors["W_enc"] + tensors["b_enc"]
    length = tensors["W_dec"].norm(dim=-1) if rescaled else torch.ones(len(tensors["b_enc"]))
    values, at = (before * length).topk(K, dim=-1)
    latents = torch.zeros_like(before).scatter(-1, at, values.relu())
    return latents, latents / length @ tensors["W_dec"] + tensors["b_dec"]


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (8, 16), "W_dec": (16, 8), "b_enc": (16,), "b_dec": (8,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def x():
    return torch.randn(20, 8, generator=torch.Generator().manual_seed(1))


def written(folder, tensors, **config):
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"architecture": "topk", "k": K, "d_in": 8, "d_sae": 16, **config}))
    return folder


@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_theirs_are_read(tmp_path, tensors, x, rescaled, centred):
    hook = {"metadata": {"hook_name": "blocks.3.hook_resid_post", "model_name": "gpt2"}}
    options = {"rescale_acts_by_decoder_norm": rescaled, "apply_b_dec_to_input": centred}
    read = features.load(written(tmp_path, tensors, **hook, **options))
    latents, rebuilt = theirs(tensors, x, rescaled=rescaled, centred=centred)
    assert torch.allclose(read.encode(x), latents, atol=1e-4)
    assert torch.allclose(read.decode(read.encode(x)), rebuilt, atol=1e-4)
    assert read.layer == 3


def test_those_of_releases_3_to_5_are_read(tmp_path, tensors, x):
    older = {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "k": None,
             "hook_name": "blocks.3.hook_resid_pre"}  # fmt: skip
    folder = written(tmp_path, tensors, **older)
    config = json.loads((folder / CONFIG).read_text())
    del config["k"]
    (folder / CONFIG).write_text(json.dumps(config))
    read = features.load(folder)
    assert torch.allclose(read.encode(x), theirs(tensors, x)[0], atol=1e-4)
    assert read.layer == 2  # after layer 2 is before layer 3


def test_ours_are_written_in_the_streams_units(tmp_path):
    states = planted(2_000).states[:, :1] * 5 + 1
    ours = features.fit(features.Stream.of_tensor(states), features.TrainingOptions(latents=16, k=K, steps=20))
    features.save(ours, tmp_path)
    latents, rebuilt = theirs(load_file(tmp_path / WEIGHTS), states[:50, 0])
    assert torch.allclose(rebuilt, ours.decode(ours.encode(states[:50])), atol=1e-4)
    assert torch.allclose(latents / ours.scale, ours.encode(states[:50]), atol=1e-4)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["architecture"], config["k"], config["d_in"], config["d_sae"]) == ("topk", K, 32, 16)
    again = features.load(tmp_path)
    assert torch.allclose(again.decode(again.encode(states[:50])), rebuilt, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "jumprelu"}, "jumprelu"),
        ({"architecture": "standard", "activation_fn_str": "relu"}, "standard"),
        ({"k": "many"}, "k, a whole number"),
        ({"k": 17}, "k from 1 to 16"),
        ({"normalize_activations": "layer_norm"}, "layer_norm"),
    ],
)
def test_what_it_cannot_be_is_refused_by_name(tmp_path, tensors, config, message):
    with pytest.raises(ProbeError, match=message):
        features.load(written(tmp_path, tensors, **config))


def test_spoilt_files_are_refused(tmp_path, tensors):
    with pytest.raises(ProbeError, match="none there"):
        features.load(tmp_path)
    with pytest.raises(ProbeError, match="W_dec of shape"):
        features.load(written(tmp_path, {**tensors, "W_dec": torch.zeros(16, 7)}))
    with pytest.raises(ProbeError, match="none called b_enc"):
        features.load(written(tmp_path, {name: one for name, one in tensors.items() if name != "b_enc"}))
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(ProbeError):
        features.load(tmp_path)


def test_a_crosscoder_has_no_place_in_it(tmp_path):
    with pytest.raises(ProbeError, match="one model"):
        features.save(by_hand(planted(1).truth), tmp_path)
