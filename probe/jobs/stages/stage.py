"""A stage: one kind of work, with what it needs and how its product is stored.

A job has no code for circuits or lenses. It runs stages: a function that takes `Inputs` and returns a product, a
serializer that stores that product, the axes of the spec along which it is repeated, and the other stages whose
products it needs. The product of a measure is a Result. Shared products (a pool of examples, a circuit, a trace) are
computed once, however many measures need them. If a needed stage has an axis that the needing stage lacks, the latter
gets a mapping along that axis: a measure without `role` that needs circuits gets one circuit for each model of the
pair.

    circuit = Stage("circuit", "edge scores", find, CircuitSerializer(), axes=A_MODEL, needs=("pool",))
    index   = Stage("front_loading", "how early", lambda given: fli(given["circuit"]), TABLE, axes=A_PAIR,
                    needs=("circuit",), settings=("resamples",), measure=True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from probe.outside_files import FileKind

if TYPE_CHECKING:
    from pathlib import Path

    from probe.batch import Batch
    from probe.jobs.stages.headline import Headline
    from probe.models.model import Model
    from probe.pairs import Pair
    from probe.readings import Reading
    from probe.tasks import Task


# A unit's file, which may have been written elsewhere; missing estimates are NaN.
UNIT = FileKind("", remedy="The same `twinprobe run` again makes it.", most_keys=200_000, finite=False)
AXES = ("pair", "role", "task", "reading", "seed")
A_MODEL = AXES  # each model of a pair at each place
A_PAIR = ("pair", "task", "reading", "seed")  # a pair at each place
SETTINGS = ("examples", "solved", "resamples", "tasks", "readings")


class Inputs(Protocol):
    """A stage's inputs: `given["circuit"]` is the product of a stage that it needs (or a mapping of products along the
    axis that it lacks); the rest are the spec's settings at its place in the grid."""

    unit: Any  # its place in the grid (axis → label), and what it needs
    folder: Path
    rows: int | None  # in one forward pass; None: as many as fit

    def __getitem__(self, need: str) -> Any: ...

    def setting(self, name: str) -> Any: ...

    def note(self, words: str) -> None: ...

    @property
    def knobs(self) -> Mapping[str, Any]: ...

    @property
    def threads(self) -> int: ...

    @property
    def largest(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def role(self) -> str: ...

    @property
    def names(self) -> dict[str, str]: ...

    @property
    def task(self) -> Task: ...

    @property
    def reading(self) -> Reading: ...

    @property
    def model(self) -> Model: ...

    @property
    def pair(self) -> Pair: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def batch(self) -> Batch: ...


class Serializer(Protocol):
    """How a kind of product is saved in a folder."""

    def save(self, product: Any, folder: Path) -> None: ...

    def open(self, folder: Path, given: Inputs) -> Any: ...

    def difference(self, one: Path, other: Path) -> str | None:
        """How the products in two folders differ; None if they are the same."""
        ...


@dataclass(frozen=True)
class Stage:
    """One kind of stage.

    axes       of AXES: it runs once for each combination of the spec's values there
    needs      names of stages whose products it gets; one that ends in "?" may not apply, and is then left out
    settings   of SETTINGS: the spec's other settings that its product depends on
    roles      the models that it loads if it has no axis `role`; None: every model of the pair, (): none
    knobs      its own settings, with their defaults; a spec can set them
    passes     forward passes per example and model (a backward pass is two), for estimates
    kept       bytes per example on disk, for a model's shape (layers, heads, width), for estimates
    refuses    why it does not apply at a place (a mapping from axis to label) of this spec's grid, or None
    resumes    it can resume from an interrupted attempt's folder
    headline   of a measure, the rows of its table that the report draws first
    formerly   its earlier name in specs
    """

    name: str
    about: str
    make: Callable[[Inputs], Any]
    serializer: Serializer
    axes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    roles: tuple[str, ...] | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    measure: bool = False
    passes: float = 0.0
    kept: Callable[[Mapping[str, int]], float] = lambda shape: 0.0
    refuses: Callable[[Mapping[str, Any], Any], str | None] = lambda place, spec: None
    resumes: bool = False
    headline: Headline | None = None
    formerly: tuple[str, ...] = ()
