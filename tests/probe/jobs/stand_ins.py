"""Works that cost next to nothing, with which jobs are tested: the same graph of needs as real ones, none of the time.

`TWINPROBE_MEASURES=tests.probe.jobs.stand_ins:STAGES` puts them beside the real ones, in this process and in every
process that it begins. What they are to do wrong, the environment says, so that it reaches those processes too.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analyses.measures.storage import TABLE
from analyses.result import Result
from probe.jobs.stages.stage import A_MODEL, A_PAIR, Stage

PAUSE, COUNTS = "STAND_IN_PAUSE", "STAND_IN_COUNTS"
NAMED = "tests.probe.jobs.stand_ins:STAGES"


class Numbers:
    """An array, as numpy writes it."""

    def save(self, product: np.ndarray, folder: Path) -> None:
        np.save(folder / "numbers.npy", product, allow_pickle=False)

    def open(self, folder: Path, given=None) -> np.ndarray:
        return np.load(folder / "numbers.npy", allow_pickle=False)

    def difference(self, one: Path, other: Path) -> str | None:
        return None if np.array_equal(self.open(one), self.open(other)) else "other numbers"


def _counted(given) -> None:
    """Note that a unit was begun, and take as long as the environment says."""
    if folder := os.environ.get(COUNTS):
        with (Path(folder) / given.unit.id.replace("/", "|")).open("a") as opened:
            opened.write("x")
    time.sleep(float(os.environ.get(PAUSE, 0)))


def _shared(given) -> np.ndarray:
    _counted(given)
    tokens = given.batch.clean.double()
    return np.array([tokens.mean().item(), tokens.std().item(), len(given.role), given.seed])


def _result(given, name: str, values: dict[str, float], *, counted: bool = True) -> Result:
    if counted:
        _counted(given)
    drawn = np.random.default_rng(given.unit.place.get("seed", 0)).normal(size=given.setting("resamples")).mean()
    table = pd.DataFrame({"model": list(values), "estimate": list(values.values())})
    table["low"], table["high"], table["n"] = table.estimate - abs(drawn), table.estimate + abs(drawn), 8
    axes = {"rows": ["model"], "x_title": "mean token id"}
    return Result(name, table, f"Mean token ids ({name})", "Read it from left to right.", "forest", {"axes": axes})


def _mean(given) -> Result:
    return _result(given, "mean", {role: float(found[0]) for role, found in given["numbers"].items()})


def _across(given) -> Result:
    values = {f"{role} {task}": float(found[1]) for (role, task), found in given["numbers"].items()}
    return _result(given, "across", values)


def _waits(given) -> Result:
    return _result(given, "waits", {"all": float(given.seed)})


def _wrong(given) -> Result:
    _counted(given)
    raise ValueError("<b>it went wrong</b>")


def _after_wrong(given) -> Result:
    raise AssertionError("never begun")


def _hungry(given) -> Result:
    rows = given.rows or given.setting("examples")
    if rows > given.knobs["most"]:
        raise torch.OutOfMemoryError(f"CUDA out of memory with {rows}")
    return _result(given, "hungry", {"rows": float(given.knobs["most"])})


def _suicidal(given) -> Result:
    """Takes its process along, as the kernel does when memory runs out; so many times as its knob says."""
    _counted(given)
    times = len((Path(os.environ[COUNTS]) / given.unit.id.replace("/", "|")).read_text())
    if times <= given.knobs["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return _result(given, "suicidal", {"all": 1.0}, counted=False)


def _undrawable(given) -> Result:
    _counted(given)
    table = pd.DataFrame({"model": ["ar"], "estimate": [1.0]})
    return Result("undrawable", table, "No figure", "", "no_such_drawing", {})


def _measure(name: str, make, *, axes=A_PAIR, **how) -> Stage:
    return Stage(name, f"a stand-in: {name}", make, TABLE, axes=axes, measure=True, roles=(), **how)


STAGES = [
    Stage("numbers", "a stand-in for a shared stage", _shared, Numbers(), axes=A_MODEL, needs=("pool",)),
    _measure("mean", _mean, needs=("numbers",), settings=("resamples",)),
    _measure("across", _across, axes=("pair", "reading", "seed"), needs=("numbers",), settings=("resamples",)),
    _measure("waits", _waits, settings=("resamples",)),
    _measure("wrong", _wrong),
    _measure("after_wrong", _after_wrong, needs=("wrong",)),
    _measure("hungry", _hungry, settings=("examples", "resamples"), knobs={"most": 3}),
    _measure("suicidal", _suicidal, settings=("resamples",), knobs={"times": 1}),
    _measure("undrawable", _undrawable),
    _measure("nowhere", _mean, needs=("numbers",), refuses=lambda place, spec: "it never applies"),
]
