"""Claims about FLUID's strides: do elastic ones gain anything, and are they longer where the text is predictable?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyses import statistics
from analyses.replications.written_answers import (
    Written,
    answers,
    as_autoregression,
    share,
    strides_to_try,
    sums_per,
    write,
)
from analyses.result import Result
from probe.decoding import ELASTIC, Strides, writer_of
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms.inserted import LONGEST_BLOCK
from probe.tasks.task import Task

BINS = 5
_VERIFIED = {"verified as the next is drafted": "overlapped", "verified": "apart", "unverified": "no"}


def horizons(
    model: Model,
    task: Task,
    n: int = 500,
    *,
    rules: Iterable[Strides] | None = None,
    seed: int = 0,
    split: str = "test",
) -> Result:
    """Fixed strides and elastic ones, verified and not: tokens per forward pass, drafts rejected, accuracy.

    `verified` says where: "overlapped" in the pass that drafts the next stride, "apart" in a pass of its own, or "no".
    Verified strides all write the text of greedy autoregression, so they are equally accurate and differ only in cost.
    The accuracy of unverified ones is that of the drafts themselves.
    """
    _refuse_without_strides(model)
    tried = list(rules) if rules is not None else strides_to_try(model)
    batch = task.examples(model, n, seed=seed, split=split, fewer=True)
    parts = []
    for rule in tried:
        written, right = answers(model, task, batch, rule, seed=seed)
        length = str(rule.length) + (rule.bounds if rule.elastic else "")
        named = {"model": model.name, "task": batch.task, "stride": length, "verified": _VERIFIED[rule.checked]}
        parts.append(_of_strides(written, right, seed).assign(**named))
    first = ["model", "task", "stride", "verified", "measure"]
    table = pd.concat(parts, ignore_index=True)
    return Result(
        "claim_horizons",
        table.loc[:, [*first, *(name for name in table if name not in first)]],
        f"Elastic horizons against fixed strides: {task.name}",
        "One row per stride length; verified strides all write what greedy autoregression writes, so compare their "
        "tokens per pass at the same accuracy. Intervals: 95%, Wilson for accuracy, bootstrap over examples for "
        "others.",
        "forest",
        {
            "axes": {"rows": ["stride"], "colour": "verified", "facet": "measure"},
            "reference": None,
            "length": batch.clean.shape[1] - int(batch.positions["completion"].min()),
            "seed": seed,
            "split": split,
        },
    )


def _of_strides(written: Written, right: NDArray, seed: int) -> pd.DataFrame:
    """One row per measure, for one sampler."""
    n = len(right)
    strides = written.strides.assign(rejected=lambda found: found["proposed"] - found["accepted"], count=1)
    total = sums_per(strides, n, ("proposed", "accepted", "rejected", "count"))
    figures = {
        "tokens a pass": (np.full(n, written.length), written.passes),
        "rejection rate": (total["rejected"], total["proposed"]),
        "accepted a stride": (total["accepted"], total["count"]),
    }
    rows: list[dict[str, Any]] = [{"measure": "accuracy", **share(right), "unit": "share right"}]
    units = {"tokens a pass": "tokens", "rejection rate": "share of drafts", "accepted a stride": "tokens"}
    for measure, (over, under) in figures.items():
        found = statistics.ratio(over, under, seed=seed)
        rows.append({"measure": measure, **{k: v[0] if k != "n" else v for k, v in found.columns().items()}})
        rows[-1]["unit"] = units[measure]
    return pd.DataFrame(rows)


def foresight(
    model: Model, prompts: Tensor, length: int, *, rules: Iterable[Strides] | None = None, seed: int = 0
) -> Result:
    """The length of strides where the next tokens are uncertain, and where the model predicts them with confidence.

    With verification the text is that of greedy autoregression, and one causal pass over it gives the true entropy of
    every token. Each stride is compared with the mean entropy of the (up to 16) tokens after its start. Strides cut
    short by the end of the text are left out, since their full length is not known. The rows are strides binned by that
    entropy; `rho` in `about` is Spearman's correlation, with an interval over examples.
    """
    _refuse_without_strides(model)
    tables, correlations = [], {}
    for rule in rules if rules is not None else _foreseeing(model):
        if not rule.verify:
            raise ProbeError(
                f"foresight of {rule}",
                expected="verified strides: only these write the text of greedy autoregression, whose entropy is "
                "needed",
                found="verify=False",
                remedy="Leave verify as it is.",
            )
        written = write(model, prompts, length, rule, seed=seed)
        strides = _whole(written, rule, prompts.shape[1] + length)
        ahead = _entropy_ahead(model, written.tokens)
        strides = strides.assign(entropy=ahead[strides["example"], strides["start"]])
        table, correlations[str(rule.length)] = _binned(strides, len(prompts), seed)
        tables.append(table.assign(stride=str(rule.length)))
    table = pd.concat(tables, ignore_index=True).assign(model=model.name, unit="tokens")
    return Result(
        "claim_foresight",
        table,
        "Length of strides against the entropy of the text",
        "Strides in bins of the mean true entropy of the 16 tokens after their start (fewer at the end). Longer "
        "strides on the left, where the text is predictable, mean that the horizon follows it. Bands: 95% bootstrap "
        "over examples.",
        "profile",
        {
            "axes": {"x": "entropy", "colour": "stride", "x_title": "true entropy (nats)", "y_title": "drafts kept"},
            "rho": correlations,
            "seed": seed,
        },
    )


def _foreseeing(model: Model) -> list[Strides]:
    return [Strides(8), *([Strides(ELASTIC)] if "horizon" in model.attachments else [])]


def _whole(written: Written, rule: Strides, end: int) -> pd.DataFrame:
    """The strides that were not cut short by the end of the text."""
    strides = written.strides
    wanted = np.maximum(strides["predicted"], rule.least) if rule.elastic else rule.longest
    return strides.loc[strides["start"] + wanted <= end, :]


@torch.no_grad()
def _entropy_ahead(model: Model, tokens: Tensor) -> NDArray:
    """(n, position): the mean entropy of the tokens from a position on, up to 16 of them, under causal attention."""
    logits = as_autoregression(model).logits(tokens, "causal").float()
    if model.mask_id is not None:
        logits[..., model.mask_id] = -torch.inf
    each = torch.special.entr(logits.softmax(-1)).sum(-1).double()
    of_place = torch.cat([each.new_zeros(len(each), 1), each[:, :-1]], 1)  # the slot before answers
    total = torch.cat([each.new_zeros(len(each), 1), of_place.cumsum(1)], 1)
    start = torch.arange(tokens.shape[1], device=each.device)
    stop = (start + LONGEST_BLOCK).clamp(max=tokens.shape[1])
    return ((total[:, stop] - total[:, start]) / (stop - start)).cpu().numpy()


def _binned(strides: pd.DataFrame, n: int, seed: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Mean drafts kept in bins of entropy, and the rank correlation of the two, both resampled by example."""
    if len(strides) < 2 * BINS:
        raise ProbeError(
            "foresight",
            expected=f"at least {2 * BINS} strides that the end of the text does not cut short",
            found=str(len(strides)),
            remedy="Write longer texts, or for more prompts.",
        )
    bins = pd.qcut(strides["entropy"], BINS, duplicates="drop")
    rows = []
    for _, part in strides.groupby(bins, observed=True):
        total = sums_per(part.assign(count=1), n, ("accepted", "count"))
        seen = total["count"] > 0
        found = statistics.ratio(total["accepted"][seen], total["count"][seen], seed=seed)
        columns = {name: value[0] if name != "n" else len(part) for name, value in found.columns().items()}
        rows.append({"entropy": part["entropy"].mean(), **columns})
    return pd.DataFrame(rows), _rank_correlation(strides, n, seed)


def _rank_correlation(strides: pd.DataFrame, n: int, seed: int) -> dict[str, float]:
    """Spearman's rho (Pearson's of the ranks), its interval by resampling examples with all their strides."""
    from scipy.stats import rankdata

    x, y = rankdata(strides["entropy"]), rankdata(strides["accepted"])
    x, y = (x - x.mean()) / len(x), (y - y.mean()) / len(y)
    moments = pd.DataFrame(
        {"example": strides["example"], "xx": x * x, "xy": x * y, "yy": y * y, "x": x, "y": y, "one": 1}
    )
    per = np.stack(list(sums_per(moments, n, ("xx", "xy", "yy", "x", "y", "one")).values()), 1)

    def rho(weights: NDArray) -> NDArray:
        xx, xy, yy, mx, my, one = (weights @ per).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return (xy - mx * my / one) / np.sqrt((xx - mx**2 / one) * (yy - my**2 / one))

    found = statistics.bootstrap(rho, n, kind="percentile", seed=seed)
    return {"estimate": float(found.estimate), "low": float(found.low), "high": float(found.high), "n": len(strides)}


def _refuse_without_strides(model: Model) -> None:
    if not writer_of(model).in_strides:
        raise ProbeError(
            f"model {model.name!r}",
            expected="a FLUID model: only these write in strides",
            found=f"a {model.paradigm.name} one",
            remedy="Pass the fluid twin.",
        )
