"""What changed between two runs: in the estimates, in the spec, and in how they were made.

A run is repeated because something is new: a library, a checkpoint, a seed, another machine. The question is then
whether any estimate differs, not whether the last digits agree. Estimates are matched by unit and by the labels of
their rows. Each is one of

    equal       the same numbers
    within      other numbers, but each interval contains the other estimate
    moved       an interval does not contain the other estimate
    apart       the intervals do not overlap
    unjudged    other numbers, and no intervals to judge them by
    gone, new   only in the first run, only in the second

    found = compare("runs/before", "runs/after")
    found.table                          # one row for each estimate, with both values and its change
    found.circumstances                  # differences in versions, weights, seeds, spec
    found.save("runs/after/compared")    # compare.html, compare.md, compare.parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.jobs.report import formatting
from probe.jobs.report.significance import STATISTICS
from probe.jobs.run_folder import Entry, RunFolder, open_run

if TYPE_CHECKING:
    import pandas as pd

CHANGES = ("apart", "moved", "unjudged", "gone", "new", "within", "equal")
TELLING = CHANGES[:5]  # changes that are listed one by one
NUMBERS = ("estimate", "low", "high")
_KEYS, _SIDES = ("unit", "of"), ("one", "two")


@dataclass(frozen=True)
class Circumstance:
    """One difference in how two runs were made; None where a run lacks it."""

    kind: str
    name: str
    one: str | None
    two: str | None


@dataclass(frozen=True)
class Comparison:
    """Two runs compared."""

    one: RunFolder
    two: RunFolder
    table: pd.DataFrame
    units: tuple[Circumstance, ...]
    circumstances: tuple[Circumstance, ...]

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two runs, or their folders if the names are equal."""
        names = (self.one.name, self.two.name)
        folders = (str(self.one.folder), str(self.two.folder))
        return names if len(set(names)) == 2 else folders if len(set(folders)) == 2 else ("first", "second")

    @property
    def counts(self) -> dict[str, int]:
        """How many estimates changed how."""
        found = self.table["change"].tolist()
        return {change: found.count(change) for change in CHANGES}

    @property
    def telling(self) -> pd.DataFrame:
        """The estimates that differ, are new, or are gone; the largest change first."""
        return self.table.loc[self.table["change"].isin(TELLING)]

    @property
    def sentence(self) -> str:
        both = len(self.table) - self.counts["gone"] - self.counts["new"]
        if not both:
            return "The two runs have no estimate in common."
        parts = {
            "apart": "have intervals apart",
            "moved": "moved out of an interval",
            "unjudged": "changed and have no interval",
            "within": "stayed within their intervals",
            "equal": "are equal to the last digit",
        }
        counted = [f"{self.counts[change]:,} {words}" for change, words in parts.items() if self.counts[change]]
        return f"Of {both:,} estimates that both runs have, " + ", ".join(counted) + "."

    def save(self, folder: str | Path) -> Path:
        """Write the comparison as a page, as Markdown and as a table; where the page is."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "compare.html", self.html())
        write_atomically(folder / "compare.md", self.markdown())
        write_atomically(folder / "compare.parquet", self.table.to_parquet(index=False))
        return folder / "compare.html"

    def html(self) -> str:
        from probe.jobs.report.render import render_html

        return render_html("compare.html.j2", found=self, rows=self.telling_rows())

    def markdown(self) -> str:
        from probe.jobs.report.render import render_markdown

        return render_markdown("compare.md.j2", found=self, rows=self.telling_rows())

    def telling_rows(self) -> list[dict[str, str]]:
        """Those estimates as text."""
        return [
            {**{key: str(row[key]) for key in (*_KEYS, "change")}, **{which: _written(row, which) for which in _SIDES}}
            for row in self.telling.to_dict("records")
        ]


def _written(row: Mapping[Any, Any], which: str) -> str:
    return formatting.shown(*(row[f"{name}_{which}"] for name in NUMBERS))


def compare(one: RunFolder | str | Path, two: RunFolder | str | Path) -> Comparison:
    """Compare two runs."""
    first, second = (run if isinstance(run, RunFolder) else open_run(run) for run in (one, two))
    differences = (tuple(found(first, second)) for found in (_units, _circumstances))
    return Comparison(first, second, _matched(first, second), *differences)


def _matched(one: RunFolder, two: RunFolder) -> pd.DataFrame:
    """The estimates of both, matched by unit and row labels, with how each changed."""
    import numpy as np

    both = _estimates(one).merge(_estimates(two), on=[*_KEYS], how="outer", suffixes=("_one", "_two"), indicator=True)
    first, second = ({name: both[f"{name}_{which}"].to_numpy(float) for name in NUMBERS} for which in ("one", "two"))
    with np.errstate(invalid="ignore"):
        equal = np.all([_same(first[name], second[name]) for name in NUMBERS], axis=0)
        apart = (first["low"] > second["high"]) | (second["low"] > first["high"])
        moved = _outside(first["estimate"], second) | _outside(second["estimate"], first)
    judged = ~np.isnan([side[bound] for side in (first, second) for bound in ("low", "high")]).any(0)
    gone, new = (both["_merge"] == side for side in ("left_only", "right_only"))
    cases = {"gone": gone, "new": new, "equal": equal, "unjudged": ~judged, "apart": apart, "moved": moved}
    both["change"] = np.select([np.asarray(case, bool) for case in cases.values()], list(cases), default="within")
    both["difference"] = second["estimate"] - first["estimate"]
    width = np.fmax(first["high"] - first["low"], second["high"] - second["low"])
    both["rank"] = [CHANGES.index(change) for change in both["change"]]
    both["near"] = -np.nan_to_num(np.abs(both["difference"].to_numpy()) / np.where(width > 0, width, np.nan))
    ordered = both.sort_values(["rank", "near"], kind="stable", ignore_index=True)
    return ordered.drop(columns=["_merge", "rank", "near"])


def _same(one: Any, two: Any) -> Any:
    return (one == two) | ((one != one) & (two != two))  # NaN in both counts as equal


def _outside(estimate: Any, interval: dict[str, Any]) -> Any:
    return (estimate < interval["low"]) | (estimate > interval["high"])


def _estimates(run: RunFolder) -> pd.DataFrame:
    """Every estimate of a run with its key: the unit, and the labels of its row."""
    import pandas as pd

    columns = [*_KEYS, *NUMBERS]
    parts = [pd.DataFrame(columns=columns)]
    for unit in run.done:
        try:
            table = run.saved(unit).estimates
        except ProbeError:
            continue  # told among the units
        numbers = {name: pd.to_numeric(table[name], errors="coerce") if name in table else None for name in NUMBERS}
        parts.append(pd.DataFrame({"unit": unit.id, "of": _names(table), **numbers}, columns=columns))
    found = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    return found.astype(dict.fromkeys(NUMBERS, float))


def _names(table: pd.DataFrame) -> list[str]:
    """Each row's labels in words, with a number if two rows have the same."""
    labels = [column for column in table.columns if column not in STATISTICS]
    names = [", ".join(f"{key} {formatting.label(row[key])}" for key in labels) for row in table.to_dict("records")]
    turns: dict[str, int] = {}
    numbered = []
    for name in names:
        turns[name] = turns.get(name, 0) + 1
        numbered.append(name if turns[name] == 1 else f"{name} ({turns[name]})")
    return numbered


def _units(one: RunFolder, two: RunFolder) -> Iterator[Circumstance]:
    """Units that are new, gone, or have another outcome."""
    first, second = ({unit.id: _outcome(run, unit) for unit in run.units} for run in (one, two))
    return _differences("unit", first, second)


def _outcome(run: RunFolder, unit: Entry) -> str:
    if unit in run.done:
        try:
            run.saved(unit)
        except ProbeError:
            return "unreadable"
    kind = (unit.error or {}).get("kind")
    return f"{unit.status} ({kind})" if kind and unit.status == "failed" else unit.status


def _circumstances(one: RunFolder, two: RunFolder) -> Iterator[Circumstance]:
    """The differences in how two runs were made."""
    for kind in ("versions", "weights", "device", "git"):
        yield from _differences(kind, *(_weight_hashes(_flat(run.manifest.get(kind))) for run in (one, two)))
    yield from _differences("run", *({"seeds": str(run.manifest.get("seeds"))} for run in (one, two)))
    yield from _differences("spec", _flat(one.spec), _flat(two.spec))


def _weight_hashes(facts: dict[str, str]) -> dict[str, str]:
    """Weights are compared by their hash, which determines all else."""
    hashes = {name.removesuffix(".sha256"): value for name, value in facts.items() if name.endswith(".sha256")}
    return hashes or facts


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Nested values flattened to text: {"budget": {"examples": 64}} as {"budget.examples": "64"}."""
    if isinstance(value, dict):
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in _flat(inner, f"{path}.{name}".strip(".")).items()
        }
    return {} if value is None else {path: str(value)}


def _differences(kind: str, one: dict[str, str], two: dict[str, str]) -> Iterator[Circumstance]:
    for name in dict.fromkeys((*one, *two)):
        if one.get(name) != two.get(name):
            yield Circumstance(kind, name, one.get(name), two.get(name))
