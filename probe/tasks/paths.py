"""Paths: the edges of a graph are listed in random order; go from one node to another.

    Edges Q B, K T, B F, K Q, T M: K to F: Q B F

The first step is asked: nothing near it tells it, one has to come back from the goal (Bachmann & Nagarajan, 2024).
The corrupt prompt asks for another goal in the same graph, so chosen that another first step is the only right one.

"random": two ways of `distance` edges leave the start, and further edges are thrown in at random, as long as both goals
stay `distance` away and are reached by one first step each. Any path of that many edges is right. "star": `arms` arms
of `distance` edges leave the start; the goal is the end of one of them.

The splits never share a graph, whatever the order of its edges and the goal that is asked for. For random graphs this
holds up to renaming the nodes; all stars of one shape are one graph when renamed, so with them names count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from probe.batch import Batch
from probe.tasks.draw import Draw
from probe.tasks.example import Example, Piece, piece
from probe.tasks.splits import Key
from probe.tasks.task import Task, knob_error, one_of, within
from probe.tasks.word_lists import LETTERS
from probe.tasks.words import Words

Edge = tuple[str, str]
TRIES = 20  # random edges tried for each that is wanted


class Size(NamedTuple):
    nodes: int
    edges: int


class Query(NamedTuple):
    """A graph, a way to the goal (start first), another goal, and the first step to that one."""

    edges: list[Edge]
    way: list[str]
    other_goal: str
    other_step: str


@dataclass(frozen=True)
class Paths(Task):
    """`distance` edges lie between start and goal. A star has `arms`. A random graph has `nodes` and `edges`; where
    they are not given, three nodes and two edges more than its two ways take."""

    name = "paths"
    scope = "global"
    asks = "The edges of a graph are listed: a path from one node to another is asked"
    because = "the first step is right only if the rest of the path reaches the goal"
    corrupts = ("goal",)

    graph: str = "random"
    distance: int = 2
    arms: int = 3
    nodes: int | None = None
    edges: int | None = None

    def __post_init__(self) -> None:
        one_of(self, "graph", ("star", "random"))
        within(self, "distance", 2, 6)
        within(self, "arms", 2, 5)
        if self.nodes is not None:
            within(self, "nodes", 2 * self.distance + 1 if self.graph == "random" else 2, len(LETTERS))
        if self.edges is not None:
            within(self, "edges", 2 * self.distance if self.graph == "random" else 1, 30)
        if self.graph == "star" and self.arms * self.distance + 1 > len(LETTERS):
            raise knob_error(
                self, "arms", f"a star of at most {len(LETTERS)} nodes", "Take fewer arms or a shorter way."
            )
        if self.graph == "random" and self._size.edges > self._size.nodes * (self._size.nodes - 1) // 2:
            most = f"at most half of the edges that {self._size.nodes} nodes allow"
            raise knob_error(self, "edges", most, "Take fewer.")

    @property
    def _size(self) -> Size:
        """Of a random graph."""
        ways = 2 * self.distance
        return Size(ways + 4 if self.nodes is None else self.nodes, ways + 2 if self.edges is None else self.edges)

    def make(self, words: Words, draw: Draw) -> Iterator[Example | None]:
        needed = self.arms * self.distance + 1 if self.graph == "star" else self._size.nodes
        letters = words.single(LETTERS, "letters", at_least=needed)
        labels = [letter.strip() for letter in letters]
        while True:
            query = self._star(labels, draw) if self.graph == "star" else self._random(labels, draw)
            if query is None:
                yield None
                continue
            start, *steps = query.way
            key = tuple(sorted(query.edges)) if self.graph == "star" else shape(query.edges)
            yield Example(
                key=key,
                prompt=(
                    *("Edges", *_listed(draw.shuffled(query.edges)), ":"),
                    *(
                        Piece(f" {start}", "start"),
                        " to",
                        Piece(f" {steps[-1]}", "goal", corrupt=f" {query.other_goal}"),
                    ),
                    ":",
                ),
                completion=[f" {step}" for step in steps],
                distractor=f" {query.other_step}",
                choices=letters,
                facts={"edges": query.edges, "start": start, "goal": steps[-1], "distance": self.distance},
            )

    def guess(self, batch: Batch) -> float:
        """Among the nodes that an edge leads to from the start."""
        ways = [len({b for a, b in facts["edges"] if a == facts["start"]}) for facts in batch.facts]
        return sum(1 / way for way in ways) / len(ways)

    def accepts(self, facts: Mapping[str, Any], text: str) -> bool:
        way = [facts["start"], *text.split()]
        edges = set(map(tuple, facts["edges"]))
        steps = list(pairwise(way))
        return len(steps) == facts["distance"] and way[-1] == facts["goal"] and all(step in edges for step in steps)

    def _star(self, labels: Sequence[str], draw: Draw) -> Query:
        start, *others = draw.sample(labels, self.arms * self.distance + 1)
        arms = [others[i :: self.arms] for i in range(self.arms)]
        edges = [edge for arm in arms for edge in zip([start, *arm], arm, strict=False)]
        return Query(edges, [start, *arms[0]], arms[1][-1], arms[1][0])

    def _random(self, labels: Sequence[str], draw: Draw) -> Query | None:
        """A random graph with two ways planted in it, or None if so many edges always open a nearer or a second one."""
        size = self._size
        nodes = draw.sample(labels, size.nodes)
        start, one, other = nodes[0], nodes[1 : self.distance + 1], nodes[self.distance + 1 : 2 * self.distance + 1]
        edges = dict.fromkeys(edge for way in (one, other) for edge in zip([start, *way], way, strict=False))
        for _ in range(TRIES * size.edges):
            if len(edges) == size.edges:
                return Query(list(edges), [start, *one], other[-1], other[0])
            a, b = draw.sample(nodes, 2)
            if (a, b) not in edges:
                edges[a, b] = None
                if any(first_steps(edges, start, way[-1], self.distance) != {way[0]} for way in (one, other)):
                    del edges[a, b]
        return None


def first_steps(edges: Mapping[Edge, None] | Sequence[Edge], start: str, goal: str, distance: int) -> set[str]:
    """The first steps of the ways of `distance` edges from start to goal; none if there is a shorter one."""
    reaching = {goal}
    for left in range(distance - 1, -1, -1):
        before = {a for a, b in edges if b in reaching}
        if left == 0:
            return {b for a, b in edges if a == start and b in reaching}
        if start in before:
            return set()
        reaching = before
    return set()


def shape(edges: Sequence[Edge]) -> Key:
    """The same for all renamings of a graph (colour refinement; rarely, also for two that are not the same)."""
    colour = {node: 0 for edge in edges for node in edge}
    for _ in range(3):
        seen = {
            node: (
                colour[node],
                tuple(sorted(colour[b] for a, b in edges if a == node)),
                tuple(sorted(colour[a] for a, b in edges if b == node)),
            )
            for node in colour
        }
        rank = {view: i for i, view in enumerate(sorted(set(seen.values())))}
        colour = {node: rank[view] for node, view in seen.items()}
    return tuple(sorted((colour[a], colour[b]) for a, b in edges))


def _listed(edges: Sequence[Edge]) -> Iterator[str | Piece]:
    for i, (a, b) in enumerate(edges):
        if i:
            yield ","
        yield piece(f" {a}", "from")
        yield piece(f" {b}", "into")
