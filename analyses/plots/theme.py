"""How every figure looks: colours that the colour-blind tell apart (Okabe and Ito), one template, one colour a model.

A model keeps its colour from figure to figure: the AR twin is blue, the diffusion twin vermilion, the controls have
theirs; whatever else is drawn takes the rest of the palette in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objs.layout import Template

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
ROLES = {"ar": PALETTE[0], "diffusion": PALETTE[1], "ar-cpt": PALETTE[5], "ar_cpt": PALETTE[5], "ar-seed2": PALETTE[7]}
NULL = "#999999"
DIVERGING = ((0.0, PALETTE[0]), (0.5, "#F7F7F7"), (1.0, PALETTE[1]))


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in order of appearance; a model's role has its own."""
    names = list(dict.fromkeys(str(name) for name in names))
    free = [colour for colour in PALETTE if colour not in {ROLES[name] for name in names if name in ROLES}] or PALETTE
    others = [name for name in names if name not in ROLES]
    found = {name: free[turn % len(free)] for turn, name in enumerate(others)}
    return {name: ROLES.get(name) or found[name] for name in names}


def shades(names: Iterable[str]) -> dict[str, str]:
    """A colour for each of some names that end in a number (decoding steps, say), from dark to light."""
    from plotly.colors import sample_colorscale

    names = sorted({str(name) for name in names}, key=lambda name: int(name.rsplit(" ", 1)[-1]))
    places = [0.92 * turn / max(1, len(names) - 1) for turn in range(len(names))]  # the last is still seen on white
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
    """The house's Plotly template."""
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
