"""The differences between the models of a pair, and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses.statistics import adjusted
from analyses.statistics.per_example import PerExample

DIFFERENCE = " − "


def compared(made: Mapping[str, PerExample], names: Mapping[str, str], task: str, **labels: str) -> pd.DataFrame:
    """Rows of each role, then rows `role − ar`."""
    parts = [of.table({"model": names[role], "role": role, "task": task, **labels}) for role, of in made.items()]
    base = made.get("ar")
    for role, of in made.items():
        difference = None if base is None or role == "ar" else of.minus(base)
        if difference is not None:
            model = names[role] + DIFFERENCE + names["ar"]
            parts.append(
                difference.table({"model": model, "role": role + DIFFERENCE + "ar", "task": task, **labels}, p=True)
            )
    table = pd.concat(parts, ignore_index=True)
    return table.assign(q=adjusted(table["p"])) if "p" in table else table


BASES = {"ar-seed2": "ar", "masked-seed2": "diffusion", "diffusion-seed2": "diffusion"}


def contrasts(roles: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The two roles whose difference gives each part, for the roles present."""
    found = {"total": ("ar", "diffusion")}
    if "ar-cpt" in roles:
        found |= {"more training": ("ar", "ar-cpt"), "beyond training": ("ar-cpt", "diffusion")}
    seeds = {f"seed ({role})": (base, role) for role, base in BASES.items() if role in roles}
    seeds |= {f"again ({role})": ("ar", role) for role, base in BASES.items() if base != "ar" and role in roles}
    others = {f"{role} − ar": ("ar", role) for role in roles if role not in {"ar", "diffusion", "ar-cpt", *BASES}}
    return {**found, **seeds, **others}
