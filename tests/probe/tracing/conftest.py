"""What every test of tracing may ask for: each architecture, each kind of attention, one model, its tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from probe.models.model import Model
from tests.probe.tracing.architectures import ARCHITECTURES, ATTENTIONS, model_of, tokens_of


@pytest.fixture(params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


@pytest.fixture(params=ATTENTIONS)
def attention(request) -> str:
    return request.param


@pytest.fixture
def model() -> Model:
    """The model of tests that need only one: grouped queries, full attention."""
    return model_of("llama", "full")


@pytest.fixture
def models() -> Callable[..., Model]:
    return model_of


@pytest.fixture
def tokens() -> torch.Tensor:
    return tokens_of()
