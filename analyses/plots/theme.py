"""The style of all figures: a colour-blind-safe palette (Okabe and Ito), one template, one colour per model.

A model keeps its name and its colour from figure to figure: the AR twin is blue, the diffusion twin vermilion, the
controls have theirs; anything else takes the rest of the palette in order. Tables name a model by its place
(`zoo:masked`), some also by its role (`diffusion`). Figures use its name, and `naming` finds its role: from the table's
own column, else from the order, since tables begin with the AR model and its twin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objs.layout import Template

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
ROLES = {"ar": PALETTE[0], "diffusion": PALETTE[1], "ar-cpt": PALETTE[5], "ar_cpt": PALETTE[5], "ar-seed2": PALETTE[7],
         "masked-seed2": PALETTE[3], "diffusion-seed2": PALETTE[3]}  # fmt: skip
_DIFFERENCE = " − "
_ROLES_OF: ContextVar[Mapping[str, str] | None] = ContextVar("roles of the models drawn", default=None)
NULL = "#999999"
DIVERGING = ((0.0, PALETTE[0]), (0.5, "#F7F7F7"), (1.0, PALETTE[1]))


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in order of appearance; a model has that of its role."""
    names = list(dict.fromkeys(str(name) for name in names))
    roles = _ROLES_OF.get() or {}
    own = {name: ROLES[role] for name in names if (role := roles.get(name, name)) in ROLES}
    free = [colour for colour in PALETTE if colour not in own.values()] or PALETTE
    others = [name for name in names if name not in own]
    return own | {name: free[turn % len(free)] for turn, name in enumerate(others)}


@contextmanager
def naming(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The table with models called by their names, whose colours are those of their roles while it is drawn."""
    roles = roles_of(table)
    names = {role: name for name, role in roles.items()}
    told = [column for column in ("role", "circuit", "series") if {"model", "role", column} <= set(table.columns)]
    every = {role for role in table["role"].astype(str) if _DIFFERENCE not in role} if "role" in table else set()
    one_each = told if every == names.keys() and len(names) == len(roles) else []  # two models may have one name
    token = _ROLES_OF.set(roles)
    try:
        yield table.assign(**{column: [_named(str(one), names) for one in table[column]] for column in one_each})
    finally:
        _ROLES_OF.reset(token)


def roles_of(table: pd.DataFrame) -> dict[str, str]:
    """The role of each model of a table: from its own column, else from the order of names."""
    if "model" not in table:
        return {}
    if "role" in table:
        pairs = table[["model", "role"]].astype(str).drop_duplicates().to_numpy().tolist()
        return {model: role for model, role in pairs if _DIFFERENCE not in role}
    others = table["other"].tolist() if "other" in table else []
    several = [*table["model"], *others]
    models = [name for name in dict.fromkeys(map(str, several)) if _DIFFERENCE not in name]
    if len(models) < 2:
        return {}
    found = dict(zip(models, ("ar", "diffusion"), strict=False))
    return found | {name: role for name in models[2:] if (role := _control(name))}


def _control(name: str) -> str:
    """Which control a model is, by its name; a second seed is of AR or of the twin."""
    if name.endswith("cpt"):
        return "ar-cpt"
    return ("ar-seed2" if name.endswith("ar-seed2") else "diffusion-seed2") if name.endswith("-seed2") else ""


def _named(role: str, names: Mapping[str, str]) -> str:
    """A role, a difference of two, or something matched to one, in terms of the models' names."""
    to, matched, of = role.rpartition(" to ")
    return to + matched + _DIFFERENCE.join(_one_named(part, names) for part in of.split(_DIFFERENCE))


def _one_named(role: str, names: Mapping[str, str]) -> str:
    first, comma, rest = role.partition(", ")  # such as `diffusion, tuned`
    return names.get(first, first) + comma + rest


def shades(names: Iterable[str]) -> dict[str, str]:
    """A colour for each of some names that end in a number (decoding steps, say), from dark to light."""
    from plotly.colors import sample_colorscale

    names = sorted({str(name) for name in names}, key=lambda name: int(name.rsplit(" ", 1)[-1]))
    places = [0.92 * turn / max(1, len(names) - 1) for turn in range(len(names))]  # the last is still visible on white
    sampled = sample_colorscale("Viridis", places, colortype="tuple")
    return {
        name: "#" + "".join(f"{round(255 * float(part)):02X}" for part in of)
        for name, of in zip(names, sampled, strict=True)
    }


def colour_of(name: str) -> str:
    """The colour of one model."""
    return colours([name])[name]


def faint(colour: str, alpha: float = 0.18) -> str:
    """The colour of a band around a line of this colour."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


@cache
def template() -> Template:
    """The project's Plotly template."""
    from plotly.graph_objects import Layout
    from plotly.graph_objs.layout import Template

    axis = {"showline": True, "linecolor": "#444", "gridcolor": "#E6E6E6", "zerolinecolor": "#BBB", "ticks": "outside"}
    return Template(
        layout=Layout(
            colorway=PALETTE,
            font={"family": "Inter, Helvetica, Arial, sans-serif", "size": 13, "color": "#222"},
            title={"x": 0, "xanchor": "left", "xref": "paper"},
            paper_bgcolor="white",
            plot_bgcolor="white",
            xaxis={**axis, "title": {"standoff": 6}},
            yaxis=axis,
            legend={"orientation": "h", "y": -0.22, "x": 0},
            margin={"l": 70, "r": 20, "t": 70, "b": 60},
            hovermode="closest",
            colorscale={"diverging": DIVERGING, "sequential": "Viridis"},
        )
    )
