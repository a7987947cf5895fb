"""Runs made up by hand: what a job leaves in its folder, with numbers whose significance is known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from analyses.result import Result
from probe.jobs.own_folder import MARKER

PAIRS, TASKS = ("zoo:masked", "zoo:fluid"), ("ioi", "countdown")
QUESTION = "Does a diffusion twin compute earlier than the autoregressive model it was made from?"


def index(shift: float) -> Result:
    """Three estimates: two models described, and their difference held against a null."""
    rows = [("ar", 0.10, np.nan), ("diffusion", 0.10 + shift, np.nan), ("difference", shift, 0.0)]
    table = pd.DataFrame(rows, columns=["model", "estimate", "null"])
    table = table.assign(low=table["estimate"] - 0.03, high=table["estimate"] + 0.03, n=256)
    about = {"axes": {"rows": ["model"], "x_title": "front-loading index"}}
    caption = "Right is earlier: the index is 1 if all attribution sits in the first layer, -1 if in the last."
    return Result("front_loading", table, "Front-loading index of each twin", caption, "forest", about)


def depth(shift: float) -> Result:
    """A profile over layers: nothing in it is judged."""
    layers = np.arange(6)
    middles = {"ar": 3.5, "diffusion": 3.5 - 8 * shift}
    masses = {name: np.exp(-(((layers - middle) / 1.6) ** 2)) for name, middle in middles.items()}
    parts = [
        pd.DataFrame({"model": name, "layer": layers, "estimate": mass / mass.sum()}) for name, mass in masses.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(low=table["estimate"] - 0.02, high=table["estimate"] + 0.02, n=256)
    axes = {"x": "layer", "colour": "model", "x_title": "layer", "y_title": "share of attribution"}
    caption = "Each line sums to 1; the band is a 95% interval over prompts."
    return Result("depth", table, "Where attribution sits", caption, "profile", {"axes": axes})


def heads(seed: int) -> Result:
    """Forty-eight heads, of which the first three differ between the twins, and the fourth only before correction."""
    found = np.random.default_rng(seed).normal(0, 0.02, 48)
    found[:4] = [0.6, -0.5, 0.4, 0.12]
    table = pd.DataFrame({"layer": np.repeat(np.arange(6), 8), "head": np.tile(np.arange(8), 6), "estimate": found})
    table = table.assign(low=found - 0.1, high=found + 0.1, n=64, null=0.0, p=0.5, q=0.9)
    table.loc[:2, ["p", "q"]] = 0.0004
    table.loc[3, "p"] = 0.02
    axes = {"x": "head", "y": "layer", "x_title": "head", "y_title": "layer", "z_title": "difference"}
    about = {"axes": axes, "finding": "Three heads changed what they attend to."}
    title = "Previous-token score, diffusion less AR"
    return Result("attention", table, title, "Red: more in the diffusion twin.", "heatmap", about)


def answered(shift: float) -> Result:
    """A verdict on three hypotheses of a paper and a rival's: one came out as claimed, one was not asked."""
    from analyses.hypotheses.decision import Evidence, verdict

    difference = Evidence(shift, shift - 0.03, shift + 0.03, 256)
    more_training = Evidence(0.05, 0.02, 0.08, 256)
    retained = Evidence(0.7, 0.6, 0.8, 256, {"more training": more_training})
    return verdict({"did": difference, "local retention": retained, "right context": Evidence(-0.2, -0.3, -0.1, 256)})


def write_run(
    folder: Path, *, shift: float = 0.12, seed: int = 0, failed: bool = True, hypotheses: bool = False, **manifest: Any
) -> Path:
    """A run of three measures on two tasks of two pairs, with a unit that failed."""
    units = []
    for pair in PAIRS if "units" not in manifest else ():
        for task in TASKS:
            moved = shift if pair == "zoo:masked" and task == "countdown" else 0.01
            results = (index(moved), depth(moved), heads(seed))
            units += [write_unit(folder, result, pair=pair, task=task) for result in results]
    if hypotheses:
        units += [write_unit(folder, answered(shift), pair=pair, task="") for pair in PAIRS]
    if failed:
        units.append(failed_unit())
    written = {
        "format": 1,
        "name": folder.name,
        "question": QUESTION,
        "command": f"twinprobe run spec.yaml --out {folder.name}",
        "started": "2026-11-21T10:00:00+00:00",
        "finished": "2026-11-21T10:12:34+00:00",
        "seconds": 754.0,
        "versions": {"twinprobe": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        "device": {"kind": "cpu", "name": "an ordinary processor", "cores": 2},
        "seeds": [0],
        "weights": {name: {"sha256": "ab" * 32, "described": "llama, 6 layers × 8 heads, d 256"} for name in PAIRS},
        "units": units,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    (folder / "spec.yaml").write_text(yaml.safe_dump({"name": folder.name, "pairs": [*PAIRS], "tasks": [*TASKS]}))
    (folder / "manifest.json").write_text(json.dumps({**written, **manifest}))
    return folder


def write_unit(folder: Path, result: Result, *, pair: str, task: str, **entry: Any) -> dict[str, Any]:
    """One unit done: its table and figure on disk, and the manifest's entry for it."""
    name = f"{pair}.{task}.prefix.{result.name}.0"
    stem = f"{len(list(folder.glob('results/*'))):03}"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    saved = result.save(folder / "results")
    saved.rename(folder / "results" / f"{stem}.parquet")
    (folder / "figures" / f"{stem}.json").write_text(str(result.figure().to_json()))
    made = {
        "id": name,
        "pair": pair,
        "task": task,
        "reading": "prefix",
        "measure": result.name,
        "seed": 0,
        "status": "done",
    }
    files = {"result": f"results/{stem}.parquet", "figure": f"figures/{stem}.json"}
    return {**made, **files, "command": f"twinprobe run spec.yaml --only {name}", "seconds": 1.5, "notes": [], **entry}


def failed_unit() -> dict[str, Any]:
    name = "zoo:fluid.sudoku.prefix.front_loading.0"
    error = {
        "kind": "TaskError",
        "message": "sudoku: expected a tokenizer with digits; found none. Take another.",
        "traceback": 'Traceback (most recent call last):\n  File "sudoku.py", line 3, in examples\nTaskError: sudoku',
    }
    asked = {"pair": "zoo:fluid", "task": "sudoku", "reading": "prefix", "measure": "front_loading", "seed": 0}
    return {
        "id": name,
        **asked,
        "status": "failed",
        "error": error,
        "command": f"twinprobe run spec.yaml --only {name}",
    }
