"""A model is looked up once, and tells before it is loaded what it will be."""

from __future__ import annotations

import pickle

import pytest

import probe
from probe.errors import ProbeError
from probe.models import source as lookup
from probe.models.source import Declared, Source
from probe.paradigms import Masked


@pytest.mark.parametrize(
    "declared",
    [
        Declared(),
        Declared(attention="causal", shift=False),
        Declared(paradigm="autoregressive"),
        Declared(paradigm="block", mask_id=3),
        Declared(paradigm=Masked(mask_id=2, weighting="1/t")),
    ],
)
def test_it_tells_what_the_loaded_model_will_be(declared):
    source = Source("zoo:masked", declared=declared)
    model = probe.load(source, device="cpu", selftest="off")
    assert model.paradigm == source.paradigm
    assert model.entry == source.entry
    settings = {name: getattr(declared, name) for name in ("paradigm", "mask_id", "shift", "attention")}
    assert probe.load("zoo:masked", device="cpu", selftest="off", **settings).paradigm == source.paradigm
    assert len(source.tokenizer()) == len(model.tokenizer)


def test_files_are_looked_at_once_and_a_copy_elsewhere_looks_again(monkeypatch):
    looked, real = [], lookup.open_checkpoint
    monkeypatch.setattr(lookup, "open_checkpoint", lambda path: looked.append(path) or real(path))
    source = Source("zoo:ar")
    probe.load(source, selftest="off")
    assert (source.paradigm.name, source.tokenizer(False)) == ("autoregressive", None)
    assert len(looked) == 1
    assert pickle.loads(pickle.dumps(source)).entry == source.entry
    assert len(looked) == 2


def test_what_overrides_the_catalog_stands_in_the_source_alone():
    with pytest.raises(ProbeError, match="inside the Source"):
        probe.load(Source("zoo:ar"), paradigm="masked")
