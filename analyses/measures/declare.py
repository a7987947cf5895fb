"""Declaring a measure in one line, since nearly all give one table of one pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from analyses.measures.storage import TABLE
from probe.jobs.stages.stage import A_PAIR, Stage

if TYPE_CHECKING:
    from analyses.circuits.circuit import Circuit
    from probe.jobs.stages.stage import Inputs

TWINS = ("ar", "diffusion")


class StageOptions(TypedDict, total=False):
    """What else a measure may declare; each field is explained at `Stage`."""

    axes: tuple[str, ...]
    settings: tuple[str, ...]
    roles: tuple[str, ...] | None
    knobs: Mapping[str, Any]
    passes: float
    refuses: Callable[[Mapping[str, Any], Any], str | None]
    resumes: bool
    formerly: tuple[str, ...]


def measure(
    name: str, about: str, make: Callable[[Inputs], Any], *needs: str, **options: Unpack[StageOptions]
) -> Stage:
    """A measure that gives a table, of one pair unless `axes` say otherwise."""
    return Stage(name, about, make, TABLE, needs=needs, measure=True, **{"axes": A_PAIR, **options})


def of_circuits(name: str, about: str, make: Callable[[Inputs], Any], **options: Unpack[StageOptions]) -> Stage:
    """A measure that needs nothing but circuits, and loads no model."""
    return measure(name, about, make, "circuit", **{"roles": (), **options})


def in_order(circuits: Mapping[str, Circuit]) -> list[Circuit]:
    """A pair's circuits: AR, diffusion, then the controls."""
    return [circuits["ar"], circuits["diffusion"], *(of for role, of in circuits.items() if role not in TWINS)]
