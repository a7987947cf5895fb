"""Which features two models share by a crosscoder, and which only one has, compared with a second seed.

Two trainings of one model differ too, so a crosscoder of those also finds features that only one of them has: that
number is the null. Its crosscoder is trained in the same way on the same examples (by default of the diffusion model
and its second seed), and the difference of the shares is tested by resampling the latents of each. A crosscoder is
trained on four fifths of the examples; its latents are judged on the rest.

    features.compare(pair, batches, layer=2).figure()

Cost: two crosscoders (see `training`), and a pass of each model over the examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.features.dictionary import Dictionary
from analyses.features.latent_scaling import ABSENT, BOTH, DECOUPLED, GROUPS, RARE, SHARED, UNDECIDED, scaling
from analyses.features.learning import TWINS, at, crosscoder, models_of
from analyses.features.recording import layer_of, recorded
from analyses.features.training import TrainingOptions
from analyses.result import Result
from analyses.statistics import Estimate, adjusted, combination, mean
from analyses.statistics.contrasts import BASES
from probe.errors import ProbeError
from probe.pairs import Pair
from probe.readings import Reading
from probe.tasks import Batch

ALONE = "one model alone"
HELD_OUT = 5  # every fifth part of the examples judges
BLOCKS_A_GROUP = 4
SHARE, RATIO = "share of latents", "ratio of lengths"
NU = "mean ν"
LESS = " − "
RESAMPLES = 2_000


def compare(
    pair: Pair,
    batches: Batch | Iterable[Batch],
    *,
    layer: int | None = None,
    reading: str | Reading = "prefix",
    options: TrainingOptions | None = None,
    beside: Iterable[tuple[str, str]] | None = None,
    folder: str | Path | None = None,
) -> Result:
    """The shares of a crosscoder's latents that both twins have, or only one, compared with a second seed's.

    batches  of the tasks' train split, some hundred examples at least
    beside   the pairs of roles whose crosscoders are the null; the diffusion model and its second seed, where the pair
             has one, or else the AR model and its own
    folder   for states and checkpoints; given again, it resumes
    """
    given = [batches] if isinstance(batches, Batch) else list(batches)
    nulls = second_seeds(pair)[:1] if beside is None else [(str(one), str(two)) for one, two in beside]
    behind = layer_of(pair.ar, layer)
    found: dict[tuple[str, str], pd.DataFrame] = {}
    with at(folder) as place:
        for roles in (TWINS, *nulls):
            own = place / "-".join(roles)
            made = crosscoder(pair, [learns(one) for one in given], roles=roles, layer=behind, reading=reading,
                              options=options, folder=own)  # fmt: skip
            found[roles] = of_latents(made, pair, [judges(one) for one in given], reading, own)
    tasks = ", ".join(dict.fromkeys(batch.task for batch in given))
    table = shares(found)
    table.insert(0, "task", tasks)
    table.insert(0, "model", [pair.models[role].name for role in table.pop("of")])
    return Result(
        "features",
        table,
        f"Features of both twins, and of one alone, {tasks}",
        "Shares of a crosscoder's latents that fire often enough, by latent scaling: absent from the other model "
        f"(ν < {ABSENT:g} with 95% confidence, and no other latent in its stead: < {DECOUPLED:g}), or shared "
        f"(≥ {SHARED:g}). ν: its length in the model where it is shorter, over the other. Grey: of a second seed.",
        "forest",
        {"axes": {"rows": ["class"], "colour": "pair", "facet": "pair", "x_title": "0 to 1"}, "layer": behind,
         "reading": str(reading), "options": str(options or TrainingOptions())},
    )  # fmt: skip


def second_seeds(pair: Pair) -> list[tuple[str, str]]:
    """The pairs of a model and its second seed that a pair has, the diffusion model's first."""
    known = [(BASES[role], role) for role in pair.models if role in BASES]
    return sorted(known, key=lambda roles: roles[0] != "diffusion")


def learns(batch: Batch) -> Batch:
    """The examples that a dictionary learns from."""
    return batch[slice(0, len(batch) - len(batch) // HELD_OUT)]


def judges(batch: Batch) -> Batch:
    """The examples that it is judged on."""
    return batch[slice(len(batch) - len(batch) // HELD_OUT, len(batch))]


def of_latents(
    dictionary: Dictionary, pair: Pair, batches: list[Batch], reading: str | Reading, folder: Path
) -> pd.DataFrame:
    """Latent scaling of a crosscoder over batches that it has not seen: a row a latent."""
    models, layer = models_of(pair, dictionary.models), dictionary.layer
    total = sum(map(len, batches))
    block = max(1, total // (GROUPS * BLOCKS_A_GROUP))
    assert layer is not None
    stream = recorded(models, batches, layer=layer, reading=reading, folder=folder / "judged", block=block)
    return scaling(dictionary, stream)


def shares(found: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """The shares of each class and the mean ν by pair of roles, and the twins' less each other pair's."""
    (twins, own), *nulls = found.items()
    rows = [row for roles, table in found.items() for row in _rows(roles, table)]
    table = pd.DataFrame(rows).assign(null=np.nan, null_low=np.nan, null_high=np.nan, p=np.nan)
    if not nulls:
        return table.assign(q=np.nan)
    _, first = nulls[0]
    here = table["pair"] == named(twins)
    for name in (ALONE, BOTH, UNDECIDED, NU):
        null = share_of(first, name)
        columns = {"null": null.estimate, "null_low": null.low, "null_high": null.high}
        table.loc[here & (table["class"] == name), list(columns)] = [float(value) for value in columns.values()]
    differences = []
    for roles, other in nulls:
        for name in (ALONE, BOTH, NU):
            change = less(own, other, name)
            label = {"of": twins[1], "pair": named(twins) + LESS + named(roles), "class": name, "unit": unit_of(name)}
            differences.append({**label, **change.row(p=True), "null": 0.0})
    table = pd.concat([table, pd.DataFrame(differences)], ignore_index=True)
    return table.assign(q=adjusted(table["p"]))


def named(roles: tuple[str, str]) -> str:
    return " and ".join(roles)


def _rows(roles: tuple[str, str], table: pd.DataFrame) -> list[dict[str, Any]]:
    classes = [BOTH, *(f"{role} only" for role in roles), ALONE, UNDECIDED, NU]
    common = {"of": roles[1], "pair": named(roles)}
    found = [{**common, "class": name, "unit": unit_of(name), **share_of(table, name).row()} for name in classes]
    rare = {"class": "rare or dead, of all latents", "estimate": float(np.mean(table["class"].to_numpy() == RARE))}
    return [*found, {**common, **rare, "unit": SHARE, "n": len(table)}]


def unit_of(name: str) -> str:
    return RATIO if name == NU else SHARE


def is_of(table: pd.DataFrame, name: str) -> np.ndarray:
    """Of the latents that fire often enough, which are of a class; or the ν of each, 1 at most."""
    if name == NU:
        found = table.loc[table["class"] != RARE, "nu_error"].clip(upper=1).to_numpy(dtype=float)
        return found[np.isfinite(found)]  # a latent that stands for nothing in either model has no ratio
    classes = table.loc[table["class"] != RARE, "class"].astype(str)
    alone = classes.str.endswith(" only")
    return (alone if name == ALONE else classes == name).to_numpy(dtype=float)


def less(table: pd.DataFrame, other: pd.DataFrame, name: str, *, count: int = RESAMPLES) -> Estimate:
    """A class's share in one crosscoder less that in another."""
    return combination([share_of(table, name, count=count), share_of(other, name, count=count)], (1, -1))


def share_of(table: pd.DataFrame, name: str, *, count: int = RESAMPLES) -> Estimate:
    """With its interval, over latents."""
    values = is_of(table, name)
    if len(values) < 2:
        raise ProbeError("the shares of a crosscoder's latents", expected="at least 2 latents that fire often enough",
                         found=str(len(values)), remedy="Train on more examples, or longer.")  # fmt: skip
    return mean(values, count=count)
