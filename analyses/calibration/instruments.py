"""Simulated pairs for the instruments for diffusion: each uses the same statistic as its measure.

A twin that does not differ should be found to differ in 5% of pairs, whatever the examples; if it differs by a known
amount, the interval should contain it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from analyses.calibration.found import Found, Simulate
from analyses.clock.hidden_share import explained, held_out
from analyses.features.comparison import ALONE, less
from analyses.features.held_out_units import told_by
from analyses.features.latent_scaling import ABSENT, BOTH, Sums, beyond, judged
from analyses.representation.probes import one_hot, predicted
from analyses.statistics.contrasts import compared
from analyses.statistics.per_example import PerExample

_EXAMPLES = 128
_SHARES = np.array([3.0, 8.0, 1.0])  # from the left, itself, from the right


def jacobian_share(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """The share that arrives from the right: examples differ far more than twins do."""
    other = _SHARES + np.array([0.0, 0.0, 1.0]) * differ
    shares = [generator.dirichlet(of, _EXAMPLES)[:, 2] for of in (_SHARES, other)]
    truth = other[2] / other.sum() - _SHARES[2] / _SHARES.sum()
    return difference(shares[0], shares[1], truth)


def difference(ar: np.ndarray, diffusion: np.ndarray, truth: float) -> Found:
    """`diffusion − ar` of one number per example, as in every measure that compares roles."""
    figures = {"ar": ar, "diffusion": diffusion}
    made = {role: PerExample.of(values[:, None], measure=["simulated"]) for role, values in figures.items()}
    row = compared(made, {role: role for role in made}, "simulated").iloc[-1]
    return Found(bool(row["p"] < 0.05), bool(row["low"] <= truth <= row["high"]))


def beyond_random(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """The effect of a push beyond random ones: some examples respond more to any push."""
    easily = generator.gamma(2, 0.5, _EXAMPLES)[:, None]
    steered, *others = (easily * generator.normal(0, 1, (_EXAMPLES, 4))).T
    truth = 0.3 * differ
    return tested(truth + steered - np.mean(others, 0), truth)


def tested(values: np.ndarray, truth: float) -> Found:
    """A mean of one number per example, against 0."""
    row = PerExample.of(values[:, None], measure=["simulated"]).table(p=True).iloc[0]
    return Found(bool(row["p"] < 0.05), bool(row["low"] <= truth <= row["high"]))


def clock_gain(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """What a state adds to the share hidden in predicting an entropy: its other features carry nothing, or one carries
    a part.

    The true gain is that with many examples: a regression on few stays below it, so its interval only has to be above
    0."""
    examples = np.repeat(np.arange(48), 5)
    share = generator.uniform(0.05, 0.95, len(examples))
    hidden = generator.normal(size=len(examples))
    entropy = share + 0.5 * generator.normal(size=len(examples)) + 0.5 * hidden * differ
    counted = np.stack([share, share**2], 1)
    state = share + 0.1 * generator.normal(size=len(examples)) + hidden
    known, both = (held_out(of, entropy, examples) for of in (counted, np.column_stack([counted, state])))
    gain = explained(both, entropy) - explained(known, entropy)
    row = PerExample.from_questions(gain[:, None], examples, 48, measure=["gain"]).table(p=True).iloc[0]
    return Found(bool(row["p"] < 0.05 and row["estimate"] > 0), bool(row["low"] > 0))


def lookahead_gain(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """What a state adds to the position in predicting a later token: half of the tokens depend on the position, and all
    or none of the others are in the state. As with the clock, the interval only has to be above 0 if there is
    something."""
    example, place = np.divmod(np.arange(48 * 3), 3)
    label = np.where(generator.random(len(example)) < 0.5, place, generator.integers(0, 3, len(example)))
    state = generator.normal(size=(len(example), 12)) + differ * 2 * np.eye(12)[label]
    state = state + np.eye(12)[9 + place]
    told, counted = (predicted(of, label, example) == label for of in (np.hstack([state, one_hot(place)]),
                                                                       one_hot(place)))  # fmt: skip
    gain = told.astype(float) - counted
    row = PerExample.from_questions(gain[:, None], example, 48, measure=["gain"]).table(p=True).iloc[0]
    return Found(bool(row["p"] < 0.05 and row["estimate"] > 0), bool(row["low"] > 0))


def patchscope_gain(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """How often patched hosts write the source's token, above what they write alone: three in ten do so by chance, and
    six in ten where the state carries the token."""
    alone, patched = (generator.random(64) < share for share in (0.3, 0.6 if differ else 0.3))
    gain = patched.astype(float) - alone
    row = PerExample.of(gain[:, None], measure=["gain"]).table(p=True).iloc[0]
    return Found(bool(row["p"] < 0.05), bool(row["low"] <= 0.3 * differ <= row["high"]))


_GROUPS, _WIDTH, _LATENTS = 20, 16, 64


def _latent_sums(generator: np.random.Generator, nu: np.ndarray) -> Sums:
    """What a pass over the states adds up of latents whose length in the other model is ν: they fire in some groups of
    examples far more than in others, and what they stand for differs from group to group."""
    squares = generator.gamma(2.0, 100.0 / _GROUPS, (_GROUPS, len(nu)))
    length = np.stack([np.ones(len(nu)), nu])[:, None, :, None]
    axis = np.ones(_WIDTH) / np.sqrt(_WIDTH)
    own = length * axis * (1 + 0.3 * generator.normal(size=(2, _GROUPS, len(nu), 1)))
    left = generator.normal(size=(*own.shape[:3], _WIDTH)) * 0.3
    return Sums(squares, squares[None, :, :, None] * own + np.sqrt(squares)[None, :, :, None] * left)


def absent_feature(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """A feature as long in the other model as the threshold allows is called absent by chance alone. Of one half as
    long, what it is short of the threshold lies in its interval."""
    nu = ABSENT / 2 if differ else ABSENT
    sums = _latent_sums(generator, np.array([nu]))
    absent = bool(judged(sums)["absent"].iloc[0])
    excess, error = beyond(*sums.lengths(), np.zeros(1, dtype=int), ABSENT)
    reach = stdtrit(_GROUPS - 1, 0.975) * error[0]
    return Found(absent, bool(abs(excess[0] - (nu - ABSENT)) <= reach))


def features_alone(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """The share of features of one model alone, twins less second seeds: a fifth in both, or two fifths in one."""
    shares = (0.4 if differ else 0.2, 0.2)
    tables = []
    for share in shares:
        nu = np.where(generator.random(_LATENTS) < share, 0.0, 1.0)
        absent = judged(_latent_sums(generator, nu))["absent"]
        tables.append(pd.DataFrame({"class": np.where(absent, "diffusion only", BOTH)}))
    found = less(tables[0], tables[1], ALONE, count=500)
    return Found(bool(found.p < 0.05), bool(found.low <= shares[0] - shares[1] <= found.high))


def features_or_neurons(generator: np.random.Generator, regime: str, differ: bool) -> Found:
    """How well the best feature tells answers apart, less how well the best neuron does: one of each tells an answer by
    1.5 of its deviations (a feature, where they differ, by 2.5), and five more do not."""
    n = 2 * _EXAMPLES
    cases = np.eye(3)[generator.integers(0, 3, n)]
    apart = {"features": 2.5 if differ else 1.5, "neurons": 1.5}
    units = {
        name: np.hstack([by * cases, np.zeros((n, 5))]) + generator.normal(size=(n, 8)) for name, by in apart.items()
    }
    row = told_by(units, cases)[-1]
    truth = 2 * (ndtr(apart["features"] / np.sqrt(2)) - ndtr(apart["neurons"] / np.sqrt(2)))
    return Found(bool(row["p"] < 0.05), bool(row["low"] <= truth <= row["high"]))


INSTRUMENTS: dict[str, Simulate] = {
    "Δ best feature and best neuron": features_or_neurons,
    "features: absent at the threshold": absent_feature,
    "Δ share of exclusive features": features_alone,
    "lookahead: gain over place and count": lookahead_gain,
    "patchscope: gain over the host alone": patchscope_gain,
    "clock: gain over the share hidden": clock_gain,
    "Δ share of the Jacobian from the right": jacobian_share,
    "steering beyond random directions": beyond_random,
}
