"""How a measure is declared: one line, since nearly all are a table of one pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analyses.measures.storage import TABLE
from probe.jobs.stages.stage import A_PAIR, Stage

if TYPE_CHECKING:
    from analyses.circuits.circuit import Circuit

TWINS = ("ar", "diffusion")


def measure(name: str, about: str, make: Any, *needs: str, axes: tuple[str, ...] = A_PAIR, **how: Any) -> Stage:
    """A measure: of one pair, as a table."""
    return Stage(name, about, make, TABLE, axes=axes, needs=needs, measure=True, **how)


def of_circuits(name: str, about: str, make: Any, **how: Any) -> Stage:
    """A measure that needs nothing but circuits, and loads no model."""
    return measure(name, about, make, "circuit", roles=(), **how)


def in_order(circuits: Mapping[str, Circuit]) -> list[Circuit]:
    """A pair's circuits: AR, diffusion, then the controls."""
    return [circuits["ar"], circuits["diffusion"], *(of for role, of in circuits.items() if role not in TWINS)]
