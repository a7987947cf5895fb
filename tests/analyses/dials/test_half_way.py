"""A dial whose models decide where they were told to: the line, where it changes, and none where it does not."""

from __future__ import annotations

import pytest

from analyses import dials, lens
from probe.batch import Batch
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from tests.analyses.planted import relay

DEPTH = {"measure": "prediction depth", "lens": "logit"}


def pairs(firsts: dict[int, int], *, start: int = 4, seed2: int | None = None) -> tuple[dict[float, Pair], Batch]:
    """Pairs of one AR model and a twin that decides in layer `first` + 1 at each place."""
    planted = {first: relay(n_layers=6, first=first, n=32) for first in {start, *firsts.values()}}
    batch = planted[start].batch
    chosen = batch[batch.target.ne(0).nonzero()[:, 0]]

    def named(first: int, name: str) -> Model:
        return Model(planted[first].model.backbone, planted[first].model.paradigm, name=name)

    controls = {} if seed2 is None else {"masked-seed2": named(seed2, "second seed")}
    ar = named(start, "ar")
    found = {at: Pair(ar, named(first, f"twin@{at}"), controls, name=f"at {at}") for at, first in firsts.items()}
    return {float(at): pair for at, pair in found.items()}, chosen


def test_the_line_is_the_planted_one_and_half_of_it_lies_where_it_jumps():
    """Layer 5 of 6 until step 200, layer 1 from step 300: half-way is 250."""
    given, batch = pairs({100: 4, 200: 4, 300: 0, 400: 0})
    result = dials.along(given, lambda pair: lens.depth(pair, batch, reading="ar"), rows=DEPTH)
    line = result.table[result.table["series"] == dials.TWIN]
    assert line["at"].tolist() == [0, 100, 200, 300, 400]
    assert line["estimate"].tolist() == pytest.approx([1, 1, 1, 2 / 6, 2 / 6])
    half = result.table[result.table["series"] == dials.HALF].iloc[0]
    assert half["estimate"] == pytest.approx(250)
    assert 200 < half["low"] <= half["high"] < 300
    assert len(result.figure().data) >= 2


def test_a_dial_that_changes_nothing_has_no_half():
    given, batch = pairs({100: 4, 200: 4})
    result = dials.along(given, lambda pair: lens.depth(pair, batch, reading="ar"), rows=DEPTH)
    assert set(result.table["series"]) == {dials.TWIN}
    assert "no larger" in result.caption


def test_a_change_that_a_seed_makes_too_is_none():
    """The twin decides earlier at the end, and so much later does its second seed."""
    given, batch = pairs({100: 4, 200: 2}, seed2=4)
    result = dials.along(given, lambda pair: lens.depth(pair, batch, reading="ar"), rows=DEPTH)
    assert set(result.table["series"]) == {dials.TWIN}
    row = result.table.iloc[0]
    assert row["null_high"] - row["null"] == pytest.approx(2 / 6)


def test_rows_have_to_choose_one_a_model():
    given, batch = pairs({100: 4, 200: 2})

    def ask(pair):
        return lens.depth(pair, batch, reading="ar")

    with pytest.raises(ProbeError, match="exactly one"):
        dials.along(given, ask, rows={"lens": "logit"})
    with pytest.raises(ProbeError, match="columns among"):
        dials.along(given, ask, rows={"lense": "logit"})
    with pytest.raises(ProbeError, match="two or more points"):
        dials.along({100: given[100]}, ask, rows=DEPTH)
