"""The verdict on a pair: what its results, taken together, say of each claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.measures.declaring import measure

if TYPE_CHECKING:
    from analyses.result import Result
    from probe.jobs.inputs import Inputs

EVIDENCE = (
    *("overlap", "did?", "spread", "robustness", "controls?", "two_by_two"),
    *("cross_faithfulness", "knockout_curve", "targeted_knockouts", "causal_profile", "cka"),
)


def _verdict(given: Inputs) -> Result:
    from analyses.evidence import gather
    from analyses.verdict import verdict

    results: list[Result] = []
    for need in given.unit.needs:
        found = given[need]
        results += found.values() if isinstance(found, Mapping) else [found]
    names = given.names
    pair = str(given.unit.place["pair"])
    return verdict(gather(results, ar=names["ar"], diffusion=names["diffusion"]), pair=pair)


MEASURES = [
    measure(
        "verdict",
        "the claims: supported, contradicted or undecided, and what else explains it",
        _verdict,
        *EVIDENCE,
        axes=("pair", "reading", "seed"),
        roles=(),
    ),
]
