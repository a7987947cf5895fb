"""Families: every kind of checkpoint that loads, and what its reading was held against.

A family is an architecture (a `Layout`) or a way of publishing one (a `Format`), shipped here or declared by another
package. How close each came is measured by a command, whose table is in docs/models.md:

    python tests/benchmarks/families.py

`twinprobe catalog` lists them. What is known and does not fit is listed, too, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from probe.models.formats import ADDED, FORMATS, REFUSED, Format
from probe.models.layout import INSTALLED, LAYOUTS, Layout

NOTHING = "the self-tests at every load"


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint: its name, what its config.json says, the class that its weights go into, what was held
    against it."""

    name: str
    model_type: str
    stock: str
    checked: str


def families() -> list[Family]:
    """Architectures first, then those that are published under other names."""
    return [*map(_of_layout, INSTALLED.values()), *_of_formats()]


def refused() -> dict[str, str]:
    """Families that are known and do not fit, and why, by their model_type."""
    return dict(REFUSED)


def _of_layout(layout: Layout) -> Family:
    own = layout in LAYOUTS.values()
    checked = f"transformers' {layout.causal_lm}, to 1e-5" if own else NOTHING
    return Family(layout.family or layout.model_type, layout.model_type, layout.causal_lm, checked)


def _of_formats() -> list[Family]:
    found = {}
    for one in (*FORMATS, *ADDED.values()):
        found.setdefault(one.name, _of_format(one))  # one name may stand for several model types
    return list(found.values())


def _of_format(one: Format) -> Family:
    kinds = [one.stock] if one.stock is not None else sorted(set((one.stock_by or ("", {}))[1].values()))
    stock = ", ".join(INSTALLED[kind].causal_lm for kind in kinds if kind is not None)
    return Family(one.family or one.name, one.model_type, stock, one.checked or NOTHING)
