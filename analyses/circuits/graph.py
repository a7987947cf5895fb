"""The graph of a transformer: what writes to the residual stream, what reads from it, and in which order.

Every node is a *source*, whose output is added to the residual stream: the input (token embeddings), each attention
head, each MLP. A *target* is a place where the stream is read: the query, key or value projection of a head, an MLP,
the logits. An edge goes from a source to every target after it. The residual stream is a sum, so nothing lies between a
source and a target, and the graph of any architecture is one matrix, `sources × targets`, with a mask of the cells that
are edges (`valid`).

Names are those of EAP-IG: `input`, `a3.h1`, `m3`, `logits`, and `a3.h1<q>` for a head's query input. With grouped
queries several query heads share a key and a value head. These are one target each, and in `a3.h1<k>` and
`a3.h1<v>` the number counts key-value heads (as `head` does in an edit of `k` or `v`). `feeds` says which nodes a
target belongs to; in a model without grouped queries it is the head of the same name.

Two options make finer graphs. With `position_roles` a target is split by the position at which it reads, named as the
task names its positions: `a3.h1<q>@answer`. An edge stays at its position, so its score is the sum over its roles. With
`directions` keys and values are split by the query that looks at them: one at the same position or after it
(`a3.h1<k>`), or one before it (`a3.h1<k>@from_right`), which no causal model has. In a `parallel` model (GPT-NeoX) an
MLP does not read the heads of its own layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from probe.models.model import Model

Kind = Literal["q", "k", "v", "mlp", "logits"]
ELSEWHERE = "elsewhere"  # positions that the task does not name
FROM_RIGHT = "from_right"


@dataclass(frozen=True)
class Target:
    """One place where the residual stream is read. `head` counts query heads for q, key-value heads for k and v."""

    kind: Kind
    layer: int
    head: int | None = None
    position_role: str | None = None
    from_right: bool = False

    def __str__(self) -> str:
        if self.kind == "logits":
            name = "logits"
        else:
            name = f"m{self.layer}" if self.head is None else f"a{self.layer}.h{self.head}<{self.kind}>"
        return "@".join(
            [name, *([FROM_RIGHT] if self.from_right else []), *([self.position_role] if self.position_role else [])]
        )


@dataclass(frozen=True)
class Graph:
    """The graph of a model's shape. `position_roles` name positions; the last of them takes all positions without a
    name."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    position_roles: tuple[str, ...] = ()
    directions: bool = False
    parallel: bool = False

    @classmethod
    def of(cls, model: Model, *, position_roles: tuple[str, ...] = (), directions: bool = False) -> Graph:
        return cls(model.n_layers, model.n_heads, model.n_kv_heads, position_roles, directions, model.parallel)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Graph:
        """A graph as `dataclasses.asdict` wrote it; files made before 0.2 call the position roles `roles`."""
        known = {"position_roles" if name == "roles" else name: value for name, value in fields.items()}
        sizes = {name: known.get(name) for name in ("n_layers", "n_heads", "n_kv_heads")}
        roles, directions = known.get("position_roles", ()), known.get("directions", False)
        whole = all(type(size) is int and 0 < size < 100_000 for size in sizes.values())
        if not whole or not isinstance(roles, list | tuple) or not all(isinstance(role, str) for role in roles):
            raise ProbeError(
                "the graph of a circuit",
                expected="whole numbers n_layers, n_heads and n_kv_heads, and position roles that are names",
                found=str({**sizes, "position_roles": roles})[:200],
                remedy="Attribute again, and save the circuit.",
            )
        return cls(*sizes.values(), tuple(roles), bool(directions), bool(known.get("parallel")))  # type: ignore[arg-type]  # whole, as was checked

    @property
    def n_sources(self) -> int:
        """The number of sources."""
        return 1 + self.n_layers * (self.n_heads + 1)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.sources), len(self.targets)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The names of all sources, in the order of a forward pass."""
        layers = range(self.n_layers)
        return ("input", *(name for layer in layers for name in (*self.heads(layer), f"m{layer}")))

    def heads(self, layer: int) -> list[str]:
        return [f"a{layer}.h{head}" for head in range(self.n_heads)]

    @cached_property
    def layer_targets(self) -> tuple[Target, ...]:
        """The targets of each layer (queries, keys, values, the MLP), then the logits; not split by position role."""
        each = [
            target
            for layer in range(self.n_layers)
            for target in (
                *(Target("q", layer, head) for head in range(self.n_heads)),
                *(
                    Target(kind, layer, head, from_right=right)
                    for right in ((False, True) if self.directions else (False,))
                    for kind in ("k", "v")
                    for head in range(self.n_kv_heads)
                ),
                Target("mlp", layer),
            )
        ]
        return (*each, Target("logits", self.n_layers))

    @cached_property
    def target_values(self) -> tuple[Target, ...]:
        """All targets, one position role after the other."""
        plain = self.layer_targets
        return tuple(
            Target(one.kind, one.layer, one.head, role, one.from_right)
            for role in self.position_roles or (None,)
            for one in plain
        )

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The names of all targets."""
        return tuple(map(str, self.target_values))

    @property
    def qkv_per_layer(self) -> int:
        """How many targets an attention layer has."""
        return self.n_heads + 2 * self.n_kv_heads * (1 + self.directions)

    def qkv_targets(self, layer: int) -> slice:
        """An attention layer's targets among `layer_targets`."""
        start = layer * (self.qkv_per_layer + 1)
        return slice(start, start + self.qkv_per_layer)

    def mlp_target(self, layer: int) -> int:
        return self.qkv_targets(layer).stop

    def head_sources(self, layer: int) -> slice:
        """A layer's heads among the sources; its MLP comes right after them."""
        start = 1 + layer * (self.n_heads + 1)
        return slice(start, start + self.n_heads)

    @cached_property
    def source_layers(self) -> NDArray:
        """The layer of each source; the input's is -1."""
        return np.concatenate([[-1], np.repeat(np.arange(self.n_layers), self.n_heads + 1)])

    @cached_property
    def source_kinds(self) -> NDArray:
        return np.array(["input", *(["head"] * self.n_heads + ["mlp"]) * self.n_layers])

    @cached_property
    def before(self) -> NDArray:
        """For each target, how many sources come before it; these are the first ones."""
        count = [
            len(self.sources)
            if one.kind == "logits"
            else self.head_sources(one.layer).stop
            if one.kind == "mlp" and not self.parallel
            else self.head_sources(one.layer).start
            for one in self.target_values
        ]
        return np.array(count)

    @cached_property
    def valid(self) -> NDArray:
        """Which cells are edges."""
        return np.arange(len(self.sources))[:, None] < self.before[None]

    @cached_property
    def numbers(self) -> NDArray:
        """Each cell's number among the edges (in the order of `scores[graph.valid]`); -1 where there is no edge."""
        numbers = np.cumsum(self.valid).reshape(self.shape) - 1
        return np.where(self.valid, numbers, -1)

    @property
    def n_edges(self) -> int:
        return int(self.before.sum())

    @cached_property
    def feeds(self) -> NDArray:
        """(targets, sources): which sources a target is an input of; a key or value feeds every head that uses it."""
        index = {name: at for at, name in enumerate(self.sources)}
        feeds = np.zeros(self.shape[::-1], dtype=bool)
        for row, target in enumerate(self.target_values):
            feeds[row, [index[name] for name in self.nodes_of(target)]] = True
        return feeds

    @property
    def plain(self) -> Graph:
        """The same graph without position roles and directions."""
        return Graph(self.n_layers, self.n_heads, self.n_kv_heads, parallel=self.parallel)

    @cached_property
    def joins(self) -> NDArray:
        """(targets, targets of the plain graph): the plain target that each target is a part of."""
        whole = {target: at for at, target in enumerate(self.plain.layer_targets)}
        joins = np.zeros((len(self.target_values), len(whole)))
        for row, part in enumerate(self.target_values):
            joins[row, whole[Target(part.kind, part.layer, part.head)]] = 1
        return joins

    def nodes_of(self, target: Target) -> list[str]:
        """The sources that a target is an input of; none for the logits."""
        if target.kind == "logits":
            return []
        if target.kind == "mlp":
            return [f"m{target.layer}"]
        if target.kind == "q":
            return [f"a{target.layer}.h{target.head}"]
        group = self.n_heads // self.n_kv_heads
        assert target.head is not None
        return self.heads(target.layer)[target.head * group : (target.head + 1) * group]

    def nodes(self) -> pd.DataFrame:
        """Every node, the logits last: its name, layer, head and kind."""
        kinds, layers = [*self.source_kinds, "logits"], [*self.source_layers, self.n_layers]
        heads = [
            int(name.rpartition("h")[2]) if kind == "head" else -1
            for name, kind in zip(self.sources, kinds, strict=False)
        ]
        return pd.DataFrame({"node": [*self.sources, "logits"], "layer": layers, "head": [*heads, -1], "kind": kinds})

    def source(self, name: str) -> int:
        return int(_places([name], self.sources, "source")[0])

    def target(self, name: str) -> int:
        return int(_places([name], self.targets, "target")[0])

    def mask(self, edges: pd.DataFrame) -> NDArray:
        """Edges by name (columns `source` and `target`) as a mask of the matrix."""
        at = _places(edges["source"], self.sources, "source"), _places(edges["target"], self.targets, "target")
        mask = np.zeros(self.shape, dtype=bool)
        mask[at] = True
        return mask

    def frame(self, mask: NDArray | None = None) -> pd.DataFrame:
        """The edges of a mask (None: all) by name, with the layers that they go from and to."""
        source, target = np.nonzero(self.valid if mask is None else mask & self.valid)
        values = self.target_values
        return pd.DataFrame(
            {
                "source": np.array(self.sources, dtype=object)[source],
                "target": np.array(self.targets, dtype=object)[target],
                "source_layer": self.source_layers[source],
                "target_layer": np.array([one.layer for one in values])[target],
                "source_kind": self.source_kinds[source],
                "target_kind": np.array([one.kind for one in values])[target],
            }
        )


def _places(names: Iterable[str], known: tuple[str, ...], what: str) -> NDArray:
    names = list(names)
    found = pd.Index(known).get_indexer(pd.Index(names))
    if (found < 0).any():
        wrong = str(names[int((found < 0).argmax())])
        raise ProbeError(
            f"{what} {wrong!r}", expected="a name of this graph", found=repr(wrong), remedy=nearest(wrong, known)
        )
    return found
