"""Linear probes and their baselines: what can be read off a state, and whether the state represents it.

A linear classifier on a few hundred states of a few hundred dimensions finds something even in noise. So every probe
has two baselines. A *control task* (Hewitt and Liang) gives every kind of input a random label and trains the same
probe on those: it can only memorise them, and the accuracy above that is *selectivity*. And across the steps of a
decoding run the number of masks left can be read off the residual stream and correlates with almost anything that
develops over a run; so there a probe is compared with one on *the mask count alone*.

Every accuracy is out of sample: folds keep all questions of one example together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.activations.answer_states import AnswerStates, GivenStates, states_of
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.folds import out_of_fold
from analyses.statistics.per_example import PerExample
from probe.errors import ProbeError
from probe.models.model import Model
from probe.pairs import Pair
from probe.readings import Reading, TrajectoryReading
from probe.tasks import Batch

SITES = ("resid_pre", "attn_out", "mlp_out")
FOLDS = 5
PENALTIES = (1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)
STATE, CONTROL, SELECTIVITY = "probe", "control task", "selectivity"
COUNT, GAIN = "mask count alone", "gain over the mask count"


def probes(
    models: Model | Pair,
    batch: Batch,
    labels: Sequence[Any] | None = None,
    *,
    kinds: Sequence[Any] | None = None,
    reading: str | Reading = "prefix",
    states: GivenStates = None,
    seed: int = 0,
) -> Result:
    """The accuracy of a linear probe for `labels` (one per example; by default the target) after each layer.

    kinds   the kinds that the control task labels, one per example; by default the tokens in which the prompt differs
            from its corrupt version
    """
    states = states_of(models, batch, SITES, reading, states)
    chosen = np.asarray(batch.target.tolist() if labels is None else list(labels))
    of_kind = kinds_of(batch) if kinds is None else np.asarray([str(kind) for kind in kinds])
    _refuse("labels for a probe", chosen, len(batch))
    _refuse("kinds for a control task", of_kind, len(batch))
    parts = []
    for role, each in states.items():
        found = _of_model(each, chosen, of_kind, seed)
        parts.append(found.table({"model": each.model.name, "role": role, "task": batch.task}, p=True))
    table = pd.concat(parts, ignore_index=True)
    # Only a difference is tested against 0: an accuracy is above it trivially.
    table.loc[~table["measure"].isin([SELECTIVITY, GAIN]), "p"] = np.nan
    table = table.assign(q=adjusted(table["p"]))
    axes = {"x": "layer", "colour": "role", "facet": "measure", "x_title": "layer"}
    return Result(
        "linear_probes",
        table,
        f"Linear probes, {batch.task}",
        "Accuracy on held-out examples. Selectivity is the accuracy above that of a control "
        "task with random labels; across decoding steps, the gain is the accuracy above that from the number of masks "
        "left. A probe without either shows nothing about what the model represents.",
        "by_depth",
        {"axes": axes, "reading": str(reading), "folds": FOLDS, "seed": seed},
    )


def _of_model(states: AnswerStates, labels: NDArray, kinds: NDArray, seed: int) -> PerExample:
    """Whether each probe answers each question right: example × (step ×) layer × measure."""
    example = states.example.numpy()
    wanted, control = labels[example], control_labels(kinds, labels, seed)[example]
    residual = after_each_layer(states)
    layers = residual.shape[1]

    def right(features: NDArray, which: NDArray) -> NDArray:
        return predicted(features, which, example) == which

    probe = np.stack([right(residual[:, layer], wanted) for layer in range(layers)], 1)
    memory = np.stack([right(residual[:, layer], control) for layer in range(layers)], 1)
    measures = {STATE: probe, CONTROL: memory, SELECTIVITY: probe.astype(float) - memory}
    if isinstance(states.reading, TrajectoryReading):
        counted = right(one_hot(mask_count(states)), wanted)[:, None].repeat(layers, 1)
        measures |= {COUNT: counted, GAIN: probe.astype(float) - counted}
    values = np.stack(list(measures.values()), -1).astype(float)
    return states.per_example(values, layer=range(layers), measure=measures)


def after_each_layer(states: AnswerStates) -> NDArray:
    """question × layer × feature."""
    h, a, m = (states.at(site) for site in SITES)
    return (h + a + m).float().numpy()


def mask_count(states: AnswerStates) -> NDArray:
    """The number of masks in each question's input."""
    view = np.asarray(states.trace["ratio"].values, dtype=np.float64)
    slots = states.batch.clean.shape[1]
    return np.rint(view * slots).astype(int)


def one_hot(values: NDArray) -> NDArray:
    return (values[:, None] == np.unique(values)).astype(np.float64)


def control_labels(kind: NDArray, labels: NDArray, seed: int) -> NDArray:
    """A fixed label for every kind of input, drawn from the distribution of the real ones."""
    kinds, which = np.unique(kind, return_inverse=True)
    return np.random.default_rng(seed).choice(labels, len(kinds))[which]


def predicted(features: NDArray, labels: NDArray, groups: NDArray) -> NDArray:
    """Each row's label by a ridge classifier fitted to the other folds, with the penalty chosen within them: a ridge
    regression of each label (1 for the label, −1 for any other), and the label with the highest prediction."""
    from sklearn.linear_model import RidgeCV

    kinds = np.unique(labels)
    if len(kinds) < 2:
        return labels  # nothing to tell apart
    signs = np.where(labels[:, None] == kinds, 1.0, -1.0)
    told = out_of_fold(lambda: RidgeCV(alphas=PENALTIES), features, signs, groups=groups, folds=FOLDS)
    return kinds[told.argmax(1)]


def kinds_of(batch: Batch) -> NDArray:
    """Each question's kind: the tokens in which it differs from its corrupt version."""
    made_of = batch.clean.gather(1, batch.positions["corrupted"])
    return np.asarray([" ".join(map(str, row)) for row in made_of.tolist()])


def _refuse(what: str, given: NDArray, n: int) -> None:
    if len(given) != n or len(np.unique(given)) < 2:
        raise ProbeError(
            what,
            expected=f"one for each of {n} examples, of at least 2 kinds",
            found=f"{len(given)}, {len(np.unique(given))} different",
            remedy="For example [fact['distance'] > 3 for fact in batch.facts].",
        )
