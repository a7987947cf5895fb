"""Encoding, decoding and directions of a dictionary written by hand; its files, whole and spoilt."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from analyses.features import Dictionary
from analyses.features.dictionary import DICTIONARY
from probe.errors import ProbeError
from tests.analyses.features.planted_states import by_hand, planted


def axes(k: int = 2) -> Dictionary:
    """Latents are the coordinates themselves, of one model twice as large as its scale says."""
    eye = torch.eye(4)
    return Dictionary(eye[None], torch.zeros(4), eye[:, None], torch.zeros(1, 4), torch.tensor([2.0]), k)


def test_the_largest_latents_are_kept_where_they_are_positive():
    state = torch.tensor([[4.0, 2.0, 6.0, -8.0], [-1.0, 1.0, -1.0, -1.0]])
    latents = axes().encode(state)
    assert latents.tolist() == [[2.0, 0.0, 3.0, 0.0], [0.0, 0.5, 0.0, 0.0]]
    assert axes().decode(latents).tolist() == [[4.0, 0.0, 6.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    assert axes().direction(2).tolist() == [0.0, 0.0, 2.0, 0.0]


def test_a_crosscoder_rebuilds_what_it_was_made_for_in_each_model_apart():
    known = planted(50, shared=8, alone=2, noise=0.0)
    dictionary = by_hand(known.truth, k=12)
    rebuilt = dictionary.decode(dictionary.encode(known.states))
    assert torch.allclose(rebuilt, known.states, atol=1e-4)
    assert dictionary.direction(8, "diffusion").norm() == 0
    assert torch.equal(dictionary.direction(3, "ar"), known.truth[3, 0])


def test_it_is_kept_as_it_is(tmp_path):
    one = by_hand(planted(1).truth)
    one.save(tmp_path)
    again = Dictionary.open(tmp_path)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in one.tensors.items())
    assert (again.k, again.models, again.about) == (4, ("ar", "diffusion"), {})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: tensors.pop("W_dec"), "none called W_dec"),
        (lambda tensors: tensors.update(W_dec=tensors["W_dec"][:, :, :-1].contiguous()), "W_dec of shape"),
        (lambda tensors: tensors["b_dec"].fill_(torch.nan), "finite numbers in b_dec"),
        (lambda tensors: tensors["scale"].zero_(), "scales above 0"),
        (lambda tensors: tensors.update(b_enc=tensors["b_enc"].long()), "floating point"),
    ],
)
def test_spoilt_files_are_refused_with_what_is_wrong(tmp_path, spoil, message):
    path = by_hand(planted(1).truth).save(tmp_path)
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    spoil(tensors)
    save_file(tensors, path, metadata=facts)
    with pytest.raises(ProbeError, match=message):
        Dictionary.open(tmp_path)


def test_pickles_strange_files_and_absent_ones_are_refused(tmp_path):
    (tmp_path / "sae.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ProbeError, match="unpickling"):
        Dictionary.open(tmp_path / "sae.pt")
    (tmp_path / DICTIONARY).write_bytes(b"no tensors")
    with pytest.raises(ProbeError, match="safetensors file"):
        Dictionary.open(tmp_path)
    with pytest.raises(ProbeError, match="none there"):
        Dictionary.open(tmp_path / "elsewhere.safetensors")


def test_strange_states_latents_and_models_are_refused():
    dictionary = by_hand(planted(1).truth)
    with pytest.raises(ProbeError, match=r"ar, diffusion"):
        dictionary.encode(torch.zeros(3, 7))
    with pytest.raises(ProbeError, match="from 0 to 39"):
        dictionary.direction(40, "ar")
    with pytest.raises(ProbeError, match="one of ar, diffusion"):
        dictionary.direction(0)
