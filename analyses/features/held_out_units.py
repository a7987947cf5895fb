"""Features or neurons: which single units tell the answers of a task apart better, on examples they were not chosen by?

Sparse features are sought because neurons are said to mean many things at once. Whether they are worth their training
is a matter of measurement (MIB found that they are not). The rivals are the neurons of the MLP that writes last before
the states, and the coordinates of the states themselves. Of each kind the unit that tells an answer best is chosen on
one half of the examples; what counts is how well it does on the other half, ±(2·AUROC − 1) with the sign that it had
where it was chosen: 1 tells perfectly, 0 is chance, however many units there were to choose from. The mean over answers
(those that enough examples have) and over both halves has Student's interval, by leaving groups of held-out examples
out, given the units that were chosen; so has the difference, which is paired.

    features.rivals(dictionaries, pair, batch).figure()       # dictionaries: one, or by role

Cost: one forward pass a model, and two rankings of every unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from analyses.features.dictionary import Dictionary
from analyses.features.recording import SITE, layer_of
from analyses.features.use import activations
from analyses.result import Result
from analyses.specialization.neurons import GROUPS, auroc, one_hot
from analyses.statistics import adjusted
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, reading_for
from probe.tasks import Batch
from probe.tracing import record

FEATURES, NEURONS, COORDINATES = "features", "neurons", "coordinates"
LEAST = 3  # examples of an answer in each half
UNIT = "held-out 2·AUROC − 1"


def rivals(
    dictionaries: Dictionary | Mapping[str, Dictionary],
    models: Model | Pair,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
) -> Result:
    """How well the best single feature, neuron and coordinate tell each answer, on held-out examples, by role."""
    roles = dict(models.models) if isinstance(models, Pair) else {"model": models}
    given = dict.fromkeys(roles, dictionaries) if isinstance(dictionaries, Dictionary) else dict(dictionaries)
    cases = one_hot(batch.target.tolist())
    rows: list[dict[str, Any]] = []
    for role, dictionary in given.items():
        if role not in roles:
            raise ProbeError("dictionaries by role", expected="roles among " + ", ".join(roles), found=repr(role),
                             remedy="Name each dictionary by the role of its model.")  # fmt: skip
        model = roles[role]
        of_one = len(dictionary.models) == 1
        units = {
            FEATURES: activations(dictionary, model if of_one else models, batch, reading=reading)[:, 0],
            **of_stream(model, batch, layer_of(model, dictionary.layer), reading),
        }
        label = {"model": model.name, "role": role, "task": batch.task, "layer": layer_of(model, dictionary.layer)}
        rows += [{**label, **row, "unit": UNIT} for row in told_by(units, cases)]
    table = pd.DataFrame(rows)
    return Result(
        "feature_rivals",
        table.assign(q=adjusted(table["p"])),
        f"Which single units tell the answers of {batch.task} apart?",
        "The unit that tells an answer best on one half of the examples, on the other half: 2·AUROC − 1, mean over "
        "answers (0: chance). Features against the neurons of the MLP before, and the stream's own coordinates.",
        "forest",
        {"axes": {"rows": ["role", "units"], "colour": "role", "x_title": UNIT}, "reading": str(reading)},
    )


def of_stream(model: Model, batch: Batch, layer: int, reading: str | Reading) -> dict[str, NDArray]:
    """The neurons and the states of a layer where the answer is read: example × unit, draws averaged."""
    asked = reading_for(model, reading, runs=False)
    trace = record(model, batch, ["mlp_hidden", SITE], layers=[layer], reading=asked, positions="read")
    example = trace["of_example"].to_numpy()
    found = {}
    for name, site in ((NEURONS, "mlp_hidden"), (COORDINATES, SITE)):
        values = torch.from_numpy(trace[site].values).flatten(1).double().numpy()
        total = np.zeros((len(batch), values.shape[1]))
        np.add.at(total, example, values)
        found[name] = total / np.bincount(example, minlength=len(batch))[:, None]
    return found


def told_by(units: Mapping[str, NDArray], cases: NDArray) -> list[dict[str, Any]]:
    """Rows of each kind of unit, and of the first less each other."""
    found = {name: held_out(values, cases) for name, values in units.items()}
    common = {"n": len(cases), "null": 0.0}
    rows = [{"units": name, **_about(whole, left), **common} for name, (whole, left) in found.items()]
    (first, (whole, left)), *others = found.items()
    for name, (other, other_left) in others:
        rows.append({"units": f"{first} − {name}", **_about(whole - other, left - other_left), **common})
    return rows


def held_out(values: NDArray, cases: NDArray) -> tuple[float, NDArray]:
    """How well the units that tell best in one half tell in the other, mean over cases and both halves; and the same
    with each group of the examples that are told apart left out, the units being those already chosen."""
    rows = np.arange(len(cases))
    half, group = (rows // GROUPS) % 2, rows % GROUPS
    figures = []
    for chosen_by in (0, 1):
        here, there = half == chosen_by, half != chosen_by
        asked = np.minimum(cases[here].sum(0), cases[there].sum(0)) >= LEAST
        if not asked.any():
            continue
        own = 2 * auroc(values[here], cases[here][:, asked]) - 1
        best = np.abs(own).argmax(1)
        signs = np.sign(own[np.arange(len(best)), best])
        sets = [there, *(there & (group != left) for left in range(GROUPS))]
        figures.append([_told(values[some][:, best], cases[some][:, asked], signs) for some in sets])
    if not figures:
        raise ProbeError("answers to tell apart", expected=f"one that {LEAST} examples of each half have",
                         found="none", remedy="Take more examples.")  # fmt: skip
    whole, *left = np.mean(figures, axis=0)
    return float(whole), np.array(left)


def _told(chosen: NDArray, cases: NDArray, signs: NDArray) -> float:
    """Mean over cases, each told by its own unit (example × case)."""
    each = 2 * np.diagonal(auroc(chosen, cases)) - 1
    return float((signs * each)[np.isfinite(each)].mean())


def _about(estimate: float, left_out: NDArray) -> dict[str, float]:
    """With Student's interval and the p of a mean of 0, by the jackknife over groups."""
    count = len(left_out)
    error = float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))
    reach = stdtrit(count - 1, 0.975) * error
    p = float(2 * stdtr(count - 1, -abs(estimate) / error)) if error > 0 else (1.0 if estimate == 0 else 0.0)
    return {"estimate": estimate, "low": estimate - reach, "high": estimate + reach,
            "p": p if np.isfinite(estimate) else float("nan")}  # fmt: skip
