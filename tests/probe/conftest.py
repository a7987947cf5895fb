"""Models that know the toy language, learnt once a session."""

from __future__ import annotations

import pytest

from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked
from tests.probe import toy_language
from tests.probe.toy_language import MASK_ID


@pytest.fixture(scope="session")
def speakers() -> dict[str, Model]:
    """A model of the toy language for each way of writing."""
    taught = {
        "ar": (Autoregressive(), 180),
        "masked": (Masked(mask_id=MASK_ID), 320),
        "masked_noshift": (Masked(mask_id=MASK_ID, shift=False), 250),
        "block": (Block(mask_id=MASK_ID, shift=False), 200),
        "fluid": (Fluid(mask_id=MASK_ID, longest=2), 180),
        "masks_last": (Masked(mask_id=MASK_ID, shift=False, clean_shift=True, attention="masks_last"), 200),
    }
    return {name: toy_language.learn(paradigm, steps=steps) for name, (paradigm, steps) in taught.items()}


@pytest.fixture(scope="session")
def folders(speakers, tmp_path_factory) -> dict:
    """The same models as folders to load."""
    return {name: toy_language.write(tmp_path_factory.mktemp(name) / name, model) for name, model in speakers.items()}
