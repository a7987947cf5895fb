"""Rules as plain data, for those who cannot write Python: a spec, a catalog, a form.

    readings: [{reading: trajectory, sampler: {order: entropy, steps: 4, stop: ["."]}}]

A mapping becomes the kind of rule by which the model at hand writes. A spec is read before its models are, so whoever
only has the mapping asks whether any way of writing has such a rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from probe.decoding.plain_rule import made
from probe.decoding.writer import kinds
from probe.errors import ProbeError


def refuse_misfit(said: Mapping[str, Any]) -> None:
    """Refuse what no way of writing has for a rule, with what is wrong to the kind that it is most like."""

    def likeness(kind: type[Any]) -> int:
        return len({field.name for field in fields(kind)} & set(said))

    problems: list[ProbeError] = []
    for kind in sorted(kinds(), key=likeness, reverse=True):
        try:
            made(kind, said)
            return
        except ProbeError as problem:
            problems.append(problem)
    raise problems[0]
