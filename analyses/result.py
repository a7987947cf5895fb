"""A Result: one measure's answer, as a tidy table, the words that go with it, and a figure made from that table alone.

A figure that cannot be redrawn from numbers on disk cannot be checked. So a measure never draws: it returns a table,
one row per estimate, and names the drawing (see `analyses.plots`) that turns such a table into a figure. A report, the
app and a notebook all open the same file and show the same numbers.

    result = front_loading.index(circuits)
    result.table                         # model, task, estimate, low, high, n, null, p, q, …
    result.figure()                      # Plotly, from result.table and result.about
    result.save("run/results")           # run/results/front_loading.parquet; Result.open() gives it back

Columns with the same meaning have the same name everywhere: `model`, `task`, `layer`, `head`, …, then `estimate`,
`low`, `high` (a 95% interval unless `about` says otherwise), `n`, `unit`; `null`, `null_low`, `null_high` for the value
that chance or noise would give; `p`, and `q`, which is `p` after Benjamini-Hochberg over the table. A table with one
column per measure (`attention.heads`: `previous`, `previous_low`, …) gets this form by `result.long`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probe.errors import ProbeError
from probe.jobs.run_folder import one_row_an_estimate
from probe.outside_files import FileKind, cut

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FILE = FileKind("file", remedy="Run the job again that makes it.", finite=False)
_KEY = b"twinprobe"
_SHOWN = 8  # rows in a notebook, before anyone asks for the table


@dataclass(frozen=True, eq=False)
class Result:
    """A table of estimates with a title, a caption, and the name of the drawing that makes its figure.

    `about` holds what the drawing needs to know of the columns (`axes`) and what else distinguishes this table:
    reading, method, seed, number of resamples. It is plain data, since it is saved with the table.
    """

    name: str
    table: pd.DataFrame
    title: str
    caption: str
    drawing: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_p_of_nothing(self.name, self.table)

    @property
    def long(self) -> pd.DataFrame:
        """The table with one row per estimate (`measure`, `estimate`, `low`, `high`), if it has one column per
        measure."""
        return one_row_an_estimate(self.table)

    def figure(self) -> Figure:
        from analyses import plots

        return plots.draw(self.drawing, self.table, self.about, self.title)

    def save(self, folder: str | Path) -> Path:
        """Write `folder/NAME.parquet`, with title and caption."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.table, preserve_index=False)
        words = {name: getattr(self, name) for name in ("name", "title", "caption", "drawing")}
        written = json.dumps({**words, "about": dict(self.about)}, default=_plain, ensure_ascii=False)
        path = Path(folder) / f"{self.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: written.encode()}), path)
        return path

    @classmethod
    def open(cls, path: str | Path) -> Result:
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (OSError, ValueError) as problem:  # pyarrow's own errors derive from these
            raise FILE.refuse(path, "a Parquet file", cut(" ".join(str(problem).split()))) from None
        written = (table.schema.metadata or {}).get(_KEY)
        if written is None:
            raise ProbeError(
                f"file {str(path)!r}",
                expected="a table written by Result.save",
                found="a Parquet file without a title and caption",
                remedy="Open it with pandas, or run the job again that makes it.",
            )
        words = FILE.object_of(written, path)
        if "reads" in words:  # what older files call the caption
            words["caption"] = words["reads"]
        texts = {name: str(words.get(name, "")) for name in ("name", "title", "caption", "drawing")}
        about = words.get("about")
        return cls(table=table.to_pandas(), about=about if isinstance(about, dict) else {}, **texts)

    def _repr_html_(self) -> str:
        """What a notebook shows: the title, the caption, and the first rows. `.figure()` draws the figure."""
        more = len(self.table) - _SHOWN
        rest = f"<p>… and {more:,} more rows in <code>.table</code></p>" if more > 0 else ""
        told, shown = _what_differs(self.table)
        rows = shown.head(_SHOWN).to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
        alike = f"<p>In every row: {escape(told)}.</p>" if told else ""
        return (
            f"<div><p><b>{escape(self.title)}</b></p><p>{escape(self.caption)}</p>{alike}{rows}{rest}"
            f"<p><code>.figure()</code> draws it ({escape(self.drawing)}).</p></div>"
        )

    def __repr__(self) -> str:
        return f"Result({self.name}: {len(self.table)} rows; {', '.join(map(str, self.table.columns))})"


def _what_differs(table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The values that are the same in all rows, in words, and the columns that differ; empty columns are left out."""
    if len(table) < 2:
        return "", table
    filled = table.loc[:, [not bool((table[name].isna() | (table[name].astype(str) == "")).all()) for name in table]]
    alike = [name for name in filled if filled[name].astype(str).nunique(dropna=False) == 1]
    kept = [name for name in ("estimate", "low", "high") if name in alike]  # they are the table's subject
    said = [name for name in alike if name not in kept]
    words = ", ".join(f"{name} {_said(filled[name].iloc[0])}" for name in said)
    return words, filled.drop(columns=said)


def _said(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _refuse_p_of_nothing(name: str, table: pd.DataFrame) -> None:
    """Refuse a p-value for an estimate that is NaN or infinite: it came from comparisons with NaN, which are all
    false."""
    if not {"estimate", "p"} <= set(table.columns):
        return
    estimate, p = (np.asarray(pd.to_numeric(table[column], errors="coerce"), float) for column in ("estimate", "p"))
    wrong = ~np.isfinite(estimate) & ~np.isnan(p)
    if wrong.any():
        row = int(wrong.argmax())
        labels = ", ".join(f"{of} {table[of].iloc[row]}" for of in table if of in ("model", "task", "measure", "layer"))
        raise ProbeError(
            f"the result {name!r}",
            expected="a p-value only where there is an estimate",
            found=f"p = {p[row]:.3g} for an estimate of {estimate[row]} in row {row} ({labels})",
            remedy="Find where the values stop being finite, and compute the result again.",
        )


def _plain(value: Any) -> Any:
    """Values that JSON lacks, as ones that it has."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
