"""One name and one colour for each model, wherever it stands in a report.

Tables name models as they are called (`zoo:masked`), by their role (`diffusion`), as a difference (`zoo:masked −
zoo:ar`) or by what the difference is made of (`more training`). All of these are the same few models. The report knows
each by its role in the pair, with the same words and the same colour in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probe.jobs.run_folder import RunFolder

DIFFERENCE = " − "
AR, DIFFUSION, CPT, SEED, TWIN_SEED = "ar", "diffusion", "ar-cpt", "ar-seed2", "diffusion-seed2"
WORDS = {
    AR: "AR",
    DIFFUSION: "diffusion twin",
    CPT: "AR-CPT",
    SEED: "AR, second seed",
    TWIN_SEED: "twin, second seed",
}
HUES = {AR: "ar", DIFFUSION: "diffusion", CPT: "cpt", SEED: "seed", TWIN_SEED: "twin2"}
_PARTS = {"total": DIFFUSION, "more training": CPT}


def names_of(run: RunFolder, pair: str) -> dict[str, str]:
    """What the models of a pair are called, by role, as the manifest has it."""
    called = {str(of.get("sha256")): name for name, of in _mapping(run.manifest.get("weights")).items() if _is(of)}
    found: dict[str, str] = {}
    for unit in run.units:
        if unit.pair == pair:
            of_pair = _mapping(_mapping(unit.record.get("made")).get("pair"))
            shas = {role: str(sha) for role, sha in _mapping(of_pair.get("weights")).items()}
            found |= {role: called[sha] for role, sha in shas.items() if sha in called}
    return found


def role_of(value: str, names: Mapping[str, str]) -> str | None:
    """Which model a value of a table speaks of: of a difference, the one that AR is taken from. None: of no one."""
    first, _, second = value.partition(DIFFERENCE)
    if second and second not in (AR, names.get(AR)):
        return None
    if value.startswith(("seed (", "again (")):
        inner = value.partition("(")[2].rstrip(")")
        return SEED if value.startswith("seed (ar") else TWIN_SEED if value.startswith("again") and inner else None
    if value in _PARTS:
        return _PARTS[value]
    by_name = {name: role for role, name in reversed(list(names.items()))}
    return canonical(by_name.get(first, first))


def canonical(role: str) -> str | None:
    """A role under its one name: a second seed of the twin is called after the twin in the tables."""
    if role in WORDS:
        return role
    return TWIN_SEED if role.endswith("-seed2") else None


def _is(value: Any) -> bool:
    return isinstance(value, Mapping)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
