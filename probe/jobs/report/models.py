"""One name and one colour for each model, everywhere in a report.

Tables name models by their place (`zoo:masked`), their role (`diffusion`), as a difference (`zoo:masked − zoo:ar`) or
by a part of the difference (`more training`). All of these are the same few models. The report identifies each by its
role in the pair, with the same words and the same colour in every figure.
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
    """The names of a pair's models by role, from the manifest."""
    called = {str(of.get("sha256")): name for name, of in _mapping(run.manifest.get("weights")).items() if _is(of)}
    found: dict[str, str] = {}
    for unit in run.units:
        if unit.pair == pair:
            of_pair = _mapping(_mapping(unit.record.get("made")).get("pair"))
            shas = {role: str(sha) for role, sha in _mapping(of_pair.get("weights")).items()}
            found |= {role: called[sha] for role, sha in shas.items() if sha in called}
    return found


def role_of(value: str, names: Mapping[str, str]) -> str | None:
    """The model that a table's value is about; for a difference, the one that AR is subtracted from. None: no model."""
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
    """A role's one name: tables name a second seed of the twin after the twin."""
    if role in WORDS:
        return role
    return TWIN_SEED if role.endswith("-seed2") else None


def _is(value: Any) -> bool:
    return isinstance(value, Mapping)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
