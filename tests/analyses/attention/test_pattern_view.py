"""Attention as a view: patterns are those that were recorded, scores those of `attention.heads`."""

from __future__ import annotations

import json

import pytest

import probe
from analyses import attention
from probe.errors import ProbeError


@pytest.fixture(scope="module")
def pair():
    return probe.load_pair("zoo:masked", selftest="off")


def test_patterns_and_scores_are_those_of_the_example(pair):
    batch = probe.task("ioi").examples(pair, 2, seed=1, fewer=True)
    view = json.loads(attention.patterns(pair, batch, 1).json())
    for model, shown in zip((pair.ar, pair.diffusion), view["models"], strict=True):
        reading = probe.readings.reading_for(model, "prefix")
        trace = probe.record(model, batch[1:2], ["pattern"], reading=reading)
        table = attention.heads(model, batch[1:2], reading=reading).table.set_index(["layer", "head"])
        (shown,) = shown["steps"]
        for at, name in enumerate(view["heads"]):
            layer, head = int(name[1]), int(name[3])
            kept = trace["pattern"].sel(layer=layer, head=head).isel(example=0).to_numpy()
            assert shown["patterns"][at] == pytest.approx(kept.round(3), abs=6e-4)
            for score, value in zip(view["scores"], shown["heads"][at], strict=True):
                if score in table.columns and value is not None:
                    assert value == pytest.approx(table.loc[(layer, head), score], abs=1e-3)


def test_more_than_a_browser_holds_is_refused(pair, monkeypatch):
    batch = probe.task("ioi").examples(pair, 1, fewer=True)
    monkeypatch.setattr("analyses.attention.pattern_view.MOST_NUMBERS", 1000)
    with pytest.raises(ProbeError, match="which a browser holds"):
        attention.patterns(pair, batch)
    assert len(attention.patterns(pair, batch, heads=[(0, 1)]).data["heads"]) == 1
