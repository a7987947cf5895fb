"""Models that know the toy language, each learnt once a session, by the first process of it that asks."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked, Paradigm
from tests.probe import toy_language
from tests.probe.toy_language import MASK_ID

TAUGHT: dict[str, tuple[Paradigm, int]] = {
    "ar": (Autoregressive(), 180),
    "masked": (Masked(mask_id=MASK_ID), 320),
    "masked_noshift": (Masked(mask_id=MASK_ID, shift=False), 250),
    "block": (Block(mask_id=MASK_ID, shift=False), 200),
    "fluid": (Fluid(mask_id=MASK_ID, longest=2), 180),
    "masks_last": (Masked(mask_id=MASK_ID, shift=False, clean_shift=True, attention="masks_last"), 200),
}


class Speakers(dict[str, Model]):
    """A model of the toy language for each way of writing, learnt when it is asked for.

    Six models take half a minute to learn, so processes of one session (pytest-xdist's workers) share a folder: who
    comes second waits for the first, and reads its weights.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __missing__(self, name: str) -> Model:
        paradigm, steps = TAUGHT[name]
        weights = self.folder / f"{name}.safetensors"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if weights.exists():
                self[name] = toy_language.remember(paradigm, weights)
            else:
                self[name] = toy_language.learn(paradigm, steps=steps)
                toy_language.memorise(self[name], weights)
        return self[name]


class Folders(dict[str, Path]):
    """The same models as folders to load, each written when it is asked for."""

    def __init__(self, speakers: Speakers, root: Path):
        self.speakers, self.root = speakers, root

    def __missing__(self, name: str) -> Path:
        speaker = self.speakers[name]
        speaker.paradigm = TAUGHT[name][0]  # a pair that some test made of it may have lent it a mask
        self[name] = toy_language.write(self.root / name, speaker)
        return self[name]


@pytest.fixture(scope="session")
def speakers(tmp_path_factory) -> Speakers:
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "speakers"
    folder.mkdir(exist_ok=True)
    return Speakers(folder)


@pytest.fixture(scope="session")
def folders(speakers, tmp_path_factory) -> Folders:
    return Folders(speakers, tmp_path_factory.mktemp("folders"))
