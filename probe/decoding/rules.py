"""Rules as plain data, for specs, catalogs and forms.

    readings: [{reading: trajectory, sampler: {order: entropy, steps: 4, stop: ["."]}}]

A mapping becomes a rule of the class that the model's writer has. A spec is read before its models are, so there the
mapping is only checked against the rules of all writers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from probe.decoding.plain_rule import made
from probe.decoding.writer import kinds
from probe.errors import ProbeError


def refuse_misfit(said: Mapping[str, Any]) -> None:
    """Refuse a mapping that fits no rule, with the error of the class that it fits best."""

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
