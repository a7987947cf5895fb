"""A small model computes on one thread, whatever the machine has; what the caller set comes back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from probe.models.threads import LITTLE, SMALL, fitting_threads
from tests.probe.tiny import model_of, tokens_of


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def of_size(parameters: int, device: str = "cpu"):
    return SimpleNamespace(n_parameters=parameters, device=torch.device(device))


@pytest.mark.parametrize(
    ("model", "slots", "threads"),
    [
        (of_size(1_000_000), 64, 1),
        (of_size(1_000_000), int(LITTLE / 1_000_000) + 1, 3),
        (of_size(SMALL + 1), 1, 3),
        (of_size(1_000_000, "meta"), 64, 3),
    ],
)
def test_by_the_size_of_the_work(three_threads, model, slots, threads):
    with fitting_threads(model, slots):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 3


def test_it_comes_back_after_an_error(three_threads):
    with pytest.raises(RuntimeError), fitting_threads(of_size(10), 1):
        raise RuntimeError
    assert torch.get_num_threads() == 3


def test_a_forward_pass_of_a_small_model(three_threads):
    model, seen = model_of("gpt2"), []
    model.before_run.append(lambda canvas: seen.append(torch.get_num_threads()))
    model.logits(tokens_of(2, 7))
    model.run_trunk(model.canvas(tokens_of(2, 7)))
    assert seen == [1, 1]
    assert torch.get_num_threads() == 3
