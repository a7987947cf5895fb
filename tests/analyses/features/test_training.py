"""Planted directions are found; a training that was killed ends with the same weights; dead latents are revived."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from analyses.features import Dictionary, Stream, TrainingOptions, fit
from analyses.features.training import CHECKPOINT
from probe.errors import ProbeError
from tests.analyses.features.planted_states import OPTIONS, found, planted

SHORT = TrainingOptions(latents=16, k=2, steps=30, rows=64, checkpoint_every=8, dead_after=200)


class Killed(Stream):
    """A stream that breaks off after some batches."""

    def __init__(self, stream: Stream, after: int):
        self.stream, self.after = stream, after

    sizes = property(lambda self: self.stream.sizes)
    mark = property(lambda self: self.stream.mark)

    def read(self, block):
        return self.stream.read(block)

    def batches(self, rows, *, seed=0, first=0):
        for count, batch in enumerate(self.stream.batches(rows, seed=seed, first=first)):
            if count == self.after:
                raise KeyboardInterrupt
            yield batch


def same(one: Dictionary, other: Dictionary) -> bool:
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_an_sae_finds_the_directions_of_one_model():
    known = planted(shared=40, alone=0)
    stream = Stream.of_tensor(known.states[:, :1], block=500)
    dictionary = fit(stream, OPTIONS)
    assert (found(dictionary, known.truth[:, :1])[0] > 0.9).float().mean() > 0.9
    assert torch.allclose(dictionary.W_dec.flatten(1).norm(dim=1), torch.ones(48), atol=1e-5)


def test_it_begins_at_the_mean_with_decoders_of_length_1_that_encoders_mirror():
    states = planted(2_000).states + 3
    begun = fit(Stream.of_tensor(states), replace(SHORT, steps=1, rate=0.0), models=("ar", "diffusion"))
    assert torch.allclose(begun.b_dec * begun.scale[:, None], states.mean(0), atol=1e-4)
    assert torch.allclose(begun.W_dec.flatten(1).norm(dim=1), torch.ones(16), atol=1e-5)
    assert torch.allclose(begun.W_enc.permute(2, 0, 1), begun.W_dec, atol=1e-6)
    assert torch.allclose(begun.scaled(states).sub(begun.b_dec).square().sum(-1).mean(0), torch.ones(2), atol=1e-3)


def test_killed_and_resumed_it_ends_with_the_same_weights(tmp_path):
    stream = planted(2_000).stream
    whole = fit(stream, SHORT, models=("ar", "diffusion"))
    for after in (11, 10):  # of the second attempt's own batches
        with pytest.raises(KeyboardInterrupt):
            fit(Killed(stream, after), SHORT, models=("ar", "diffusion"), folder=tmp_path)
    assert (tmp_path / CHECKPOINT).is_file()
    resumed = fit(stream, SHORT, models=("ar", "diffusion"), folder=tmp_path)
    assert same(whole, resumed)
    read = fit(Killed(stream, 0), SHORT, models=("ar", "diffusion"), folder=tmp_path)  # finished: nothing is trained
    assert same(whole, read)


def test_another_training_is_not_resumed(tmp_path):
    stream = planted(2_000).stream
    with pytest.raises(KeyboardInterrupt):
        fit(Killed(stream, 9), SHORT, models=("ar", "diffusion"), folder=tmp_path)
    with pytest.raises(ProbeError, match="other states or options"):
        fit(stream, replace(SHORT, seed=1), models=("ar", "diffusion"), folder=tmp_path)


def test_a_spoilt_checkpoint_is_refused_with_what_to_do(tmp_path):
    stream = planted(2_000).stream
    with pytest.raises(KeyboardInterrupt):
        fit(Killed(stream, 9), SHORT, models=("ar", "diffusion"), folder=tmp_path)
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118  (no mapping)
    tensors["b_enc.exp_avg"] = tensors["b_enc.exp_avg"][:-1].clone()
    save_file(tensors, tmp_path / CHECKPOINT, metadata=facts)
    with pytest.raises(ProbeError, match=r"b_enc.exp_avg of shape \(16,\)"):
        fit(stream, SHORT, models=("ar", "diffusion"), folder=tmp_path)


def test_the_auxiliary_loss_revives_dead_latents():
    """Begun where nothing reaches it, a latent stays dead without that loss."""
    known, options = planted(4_000), replace(OPTIONS, steps=200, dead_after=1_000)
    dead = []
    for auxiliary in (0.0, 1 / 4):
        trained = fit(known.stream, replace(options, auxiliary=auxiliary, k=1), models=("ar", "diffusion"))
        dead.append(int((trained.encode(known.states) <= 0).all(0).sum()))
    assert dead[1] < dead[0], dead


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ProbeError, match="k of at most the latents"):
        TrainingOptions(latents=8, k=9)
    with pytest.raises(ProbeError, match="steps 0"):
        TrainingOptions(steps=0)
