"""Families: every kind of checkpoint that loads, and what it was checked against.

A family is an architecture (a `Layout`) or a published format of one (a `Format`), shipped here or declared by another
package. This command measures how close each is to its reference; docs/models.md has the table:

    python tests/benchmarks/families.py

`twinprobe catalog` lists them, and also known families that do not fit, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from probe.models.formats import ADDED, FORMATS, REFUSED, Format
from probe.models.layout import INSTALLED, LAYOUTS, Layout

NOTHING = "the self-tests at every load"


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint: its name, its model_type, the stock class of its weights, and what it was checked
    against."""

    name: str
    model_type: str
    stock: str
    checked: str


def families() -> list[Family]:
    """Architectures first, then formats under other names."""
    return [*map(_of_layout, INSTALLED.values()), *_of_formats()]


def refused() -> dict[str, str]:
    """Known families that do not fit, and why, by model_type."""
    return dict(REFUSED)


def _of_layout(layout: Layout) -> Family:
    own = layout in LAYOUTS.values()
    checked = f"transformers' {layout.causal_lm}, to 1e-5" if own else NOTHING
    return Family(layout.family or layout.model_type, layout.model_type, layout.causal_lm, checked)


def _of_formats() -> list[Family]:
    found = {}
    for one in (*FORMATS, *ADDED.values()):
        found.setdefault(one.name, _of_format(one))  # one name may cover several model types
    return list(found.values())


def _of_format(one: Format) -> Family:
    kinds = [one.stock] if one.stock is not None else sorted(set((one.stock_by or ("", {}))[1].values()))
    stock = ", ".join(INSTALLED[kind].causal_lm for kind in kinds if kind is not None)
    return Family(one.family or one.name, one.model_type, stock, one.checked or NOTHING)
