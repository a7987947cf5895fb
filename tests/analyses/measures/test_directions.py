"""A spec's own circuits work for every family; what an architecture cannot have is left out, and said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analyses.measures.shared_stages import ATTRIBUTION, _circuit
from probe.readings import named
from tests.analyses.circuits.asking import batch_of, model_of


def asked(variant: str, **knobs: Any) -> tuple[Any, list[str]]:
    """The circuit that a job's stage makes of a tiny model with its default knobs, and its notes."""
    notes: list[str] = []
    model = model_of(variant, "full")
    knobs = {**ATTRIBUTION, "steps": 1, **knobs}
    given: Any = SimpleNamespace(
        model=model, batch=batch_of(2), reading=named("prefix"), knobs=knobs, rows=4, note=notes.append
    )
    return _circuit(given), notes


@pytest.mark.parametrize(
    ("variant", "reason"),
    [("phi3", "one projection"), ("olmo2", "one norm over all heads"), ("modernbert", "one projection")],
)
def test_directions_are_left_out_where_keys_cannot_be_split(variant, reason):
    circuit, notes = asked(variant)
    assert not circuit.graph.directions
    assert len(notes) == 1
    assert reason in notes[0]


def test_directions_are_there_where_they_can_be_had():
    circuit, notes = asked("llama-gqa")
    assert circuit.graph.directions
    assert not notes


def test_who_does_not_ask_for_directions_is_told_nothing():
    circuit, notes = asked("phi3", directions=False)
    assert not circuit.graph.directions
    assert not notes
