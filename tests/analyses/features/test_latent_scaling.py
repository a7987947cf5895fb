"""Directions of one model alone are told from shared ones; rotations, noise, shrinkage and decoupling fool nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analyses.features import Stream, scaling
from analyses.features.latent_scaling import BOTH
from probe.errors import ProbeError
from tests.analyses.features.planted_states import OPTIONS, D, by_hand, crosscoder, found, planted


def alone(table) -> int:
    return int(table["class"].str.endswith(" only").sum())


def test_a_crosscoder_finds_what_is_planted_and_whose_it_is():
    known = planted()
    dictionary = crosscoder(known.states)
    cosine, at = found(dictionary, known.truth)
    assert (cosine > 0.9).float().mean() > 0.9
    told = scaling(dictionary, known.stream)["class"].to_numpy()[at.numpy()]
    right = [BOTH] * 24 + ["ar only"] * 8 + ["diffusion only"] * 8
    assert sum(map(str.__eq__, told, right)) >= 38, told


def test_two_rotations_of_the_same_states_have_nothing_of_one_alone():
    states = planted(shared=40, alone=0).states
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1))).Q
    both = torch.stack([states[:, 0], states[:, 0] @ turn], 1)
    table = scaling(crosscoder(both), Stream.of_tensor(both, 500))
    assert alone(table) == 0
    assert (table["class"] == BOTH).sum() >= 38


def test_noise_has_nothing_of_one_alone():
    noise = torch.randn(6_000, 2, D, generator=torch.Generator().manual_seed(0))
    assert alone(scaling(crosscoder(noise, replace(OPTIONS, steps=300)), Stream.of_tensor(noise, 300))) == 0


def test_a_length_that_training_lost_is_found_in_what_is_left():
    """Shrinkage: the crosscoder gives latent 0 no length in the diffusion model, whose states have it all the same."""
    known = planted(4_000, shared=10, alone=1)
    shrunk = known.truth.clone()
    shrunk[0, 1] = 0
    table = scaling(by_hand(shrunk), known.stream)
    assert table["class"].tolist() == [BOTH] * 10 + ["ar only", "diffusion only"]


def test_halves_that_went_to_two_latents_are_no_features_of_one_alone():
    """Decoupling: latent 0 of both models is split into one latent for each, which fire on the same rows."""
    known = planted(4_000, shared=10, alone=1)
    halves = torch.stack([known.truth[0], known.truth[0]])
    halves[0, 1] = 0
    halves[1, 0] = 0
    table = scaling(by_hand(torch.cat([halves, known.truth[1:]]), k=6), known.stream)
    assert table["nu_error"][:2].max() < 0.2
    assert table["class"].tolist() == ["undecided"] * 2 + [BOTH] * 9 + ["ar only", "diffusion only"]


def test_latents_that_hardly_fire_are_not_judged():
    known = planted(4_000, shared=10, alone=1)
    gone = by_hand(torch.cat([known.truth, torch.ones(1, 2, D)]))  # a direction that no state has
    gone.b_enc[-1] = -1
    assert scaling(gone, Stream.of_tensor(known.states, 200))["class"].iloc[-1] == "rare"


def test_it_needs_two_models_and_enough_groups():
    known = planted(400)
    with pytest.raises(ProbeError, match="at least 8 blocks"):
        scaling(by_hand(known.truth), known.stream)
