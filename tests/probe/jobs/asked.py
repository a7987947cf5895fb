"""Jobs of stand-in stages on a shipped pair, and what they left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from probe.jobs.spec.file import parse_spec
from probe.jobs.spec.model import Spec

PAIR = {"ar": "zoo:ar", "diffusion": "zoo:masked", "controls": {"ar-cpt": "zoo:ar-cpt"}, "name": "zoo:masked"}
SMALL = {"examples": 4, "resamples": 5, "workers": 0}


def text_of(output: Path, **other: Any) -> str:
    """A spec as YAML."""
    budget = {**SMALL, **other.pop("budget", {})}
    job = {"pairs": [PAIR], "tasks": ["ioi", "greater_than"], "measures": ["mean", "across"], **other}
    return yaml.safe_dump({**job, "budget": budget, "output": str(output)})


def spec_of(output: Path, **other: Any) -> Spec:
    return parse_spec(text_of(output, **other))


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every table of a run by the name of its file."""
    return {file.stem: pd.read_parquet(file) for file in sorted((folder / "results").glob("*.parquet"))}


def same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> bool:
    """Whether two runs have the same tables, to the last digit."""
    return one.keys() == other.keys() and all(one[name].equals(other[name]) for name in one)
