"""The positions of a circuit's nodes, and the lines between them.

Layers go upward: a layer is a row of heads and, half a step higher in a column on the right, its MLP. Queries, keys and
values enter a head at its left, middle and right; a key or value that several heads share ends at a bar under all of
them. Edges are curved, so that one that passes over a node does not look like two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEAD = re.compile(r"a(?P<layer>\d+)\.h(?P<head>\d+)(?:<(?P<kind>[qkv])>)?")
_ENTERS = {"q": -0.07, "k": 0.0, "v": 0.07, None: 0.0}
_BELOW = 0.12  # where lines end, below a node
_BAR = 0.42  # where they end below heads that share keys or values
_BEND = 0.09  # of an edge's length
_POINTS = 14  # of a bent line


@dataclass(frozen=True)
class Layout:
    """Positions of the nodes of a model's shape."""

    n_layers: int
    n_heads: int
    n_kv_heads: int

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Layout:
        heads = int(about["n_heads"])
        return cls(int(about["n_layers"]), heads, int(about.get("n_kv_heads", heads)))

    @property
    def right(self) -> float:
        """Where the column of MLPs is."""
        return self.n_heads + 0.5

    @property
    def top(self) -> float:
        return 2.0 * self.n_layers

    @cached_property
    def nodes(self) -> dict[str, tuple[float, float]]:
        """Every node by name."""
        middle = (self.n_heads - 1) / 2
        heads = {
            f"a{layer}.h{head}": (float(head), 2.0 * layer)
            for layer in range(self.n_layers)
            for head in range(self.n_heads)
        }
        mlps = {f"m{layer}": (self.right, 2.0 * layer + 1) for layer in range(self.n_layers)}
        return {"input": (middle, -1.6), **heads, **mlps, "logits": (middle, self.top + 0.4)}

    def entrance(self, target: str) -> tuple[float, float]:
        """Where edges into a target end."""
        plain = target.partition("@")[0]
        head = _HEAD.fullmatch(plain)
        if head is None:
            x, y = self.nodes[plain]
            return x, y - _BELOW
        x, y = float(head["head"]), 2.0 * int(head["layer"])
        if head["kind"] in ("k", "v") and self.shared > 1:
            return x * self.shared + (self.shared - 1) / 2 + 2 * _ENTERS[head["kind"]], y - _BAR
        return x + _ENTERS[head["kind"]], y - _BELOW

    @property
    def shared(self) -> int:
        """How many heads share a key and a value."""
        return self.n_heads // self.n_kv_heads

    def bars(self) -> NDArray:
        """Under the heads that share keys and values: (bars × 2 ends × 2)."""
        if self.shared == 1:
            return np.zeros((0, 2, 2))
        firsts = range(0, self.n_heads, self.shared)
        ends = [
            [(first - 0.2, 2.0 * layer - _BAR), (first + self.shared - 0.8, 2.0 * layer - _BAR)]
            for layer in range(self.n_layers)
            for first in firsts
        ]
        return np.array(ends)

    def reader(self, target: str) -> list[str]:
        """The nodes that a target is an input of."""
        plain = target.partition("@")[0]
        head = _HEAD.fullmatch(plain)
        if head is None or head["kind"] not in ("k", "v"):
            return [plain.partition("<")[0]]
        first = int(head["head"]) * self.shared
        return [f"a{head['layer']}.h{number}" for number in range(first, first + self.shared)]

    def lines(self, sources: list[str], targets: list[str]) -> NDArray:
        """Curves (edges × points × 2) from sources to the entry points of targets."""
        places = self.nodes
        start = np.array([places[source] for source in sources]).reshape(-1, 2) + np.array([0.0, _BELOW])
        end = np.array([self.entrance(target) for target in targets]).reshape(-1, 2)
        along = end - start
        aside = np.stack([-along[:, 1], along[:, 0]], axis=1) * _BEND
        t = np.linspace(0, 1, _POINTS)[None, :, None]
        control = (start + end) / 2 + aside
        return (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * control[:, None] + t**2 * end[:, None]
