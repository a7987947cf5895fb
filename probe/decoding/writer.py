"""A writer: the decoder of one paradigm's models, found by the paradigm's class.

Decoding is built on models, which are built on paradigms, so paradigms cannot import it. Instead a writer registers
itself for its paradigms, and `writer_of(model)` finds it. A subclass of a paradigm inherits its writer, unless it has
one of its own.

    @writes(Backwards)
    class FromTheEnd(Writer[Sampler]):
        def rule(self, model, asked, steps): ...
        def write(self, model, prompt, length, rule, run): ...

A *rule* is the small frozen value that a user passes to `probe.decode` as `sampler=`: a `Sampler`, FLUID's `Strides`, a
flow's `Flowing`, or one of another package. The trajectory records its `str`. A writer determines the rule of a run
(the given one, or the model's own) and refuses one of another paradigm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from probe.decoding.passes import Run
from probe.decoding.plain_rule import made
from probe.decoding.trajectory import Trajectory
from probe.errors import ProbeError
from probe.paradigms import Paradigm

if TYPE_CHECKING:
    from probe.models.model import Model


class Rule(Protocol):
    """A sampling rule; its `str` describes it."""

    def __str__(self) -> str: ...


R = TypeVar("R", bound=Rule)
Asked = str | Rule | Mapping[str, Any] | None
"""What a user can pass as a rule: nothing, the name of an order, a rule, or one as plain data."""


class Writer(ABC, Generic[R]):
    """The decoder of a paradigm's models."""

    kind: ClassVar[type[Any] | None] = None  # of its rules: a dataclass, so that plain data can describe one
    free_steps: ClassVar[bool] = True  # whether the user can choose the number of forward passes
    divides: ClassVar[bool] = True  # whether rows can be decoded apart, a chunk after the other
    in_strides: ClassVar[bool] = False  # whether it drafts tokens and keeps some: its trajectory then has `strides`

    @abstractmethod
    def rule(self, model: Model, asked: str | Rule | None, steps: int | None) -> R:
        """The rule of a run: the given one, or the model's own, with the number of `steps` if given."""

    @abstractmethod
    def write(self, model: Model, prompt: Tensor, length: int, rule: R, run: Run) -> Trajectory:
        """Write `length` tokens after a prompt (batch × length). Use `run.passes` for forward passes, and call
        `run.on_step` after each."""

    def fill(self, model: Model, tokens: Tensor, rule: R, run: Run) -> Trajectory:
        """Fill every masked slot of a text (batch × length), wherever it is; the other tokens are given."""
        raise ProbeError(
            f"filling blanks with model {model.name!r}",
            expected="a model that fills masks anywhere: a masked or a block one",
            found=f"a {model.paradigm.name} one",
            remedy="Write after a prompt: probe.decode(model, prompt, length).",
        )

    def settled(self, model: Model, asked: Asked, steps: int | None) -> R:
        """The same, with a rule that may also be plain data (see `probe.decoding.rules`)."""
        if isinstance(asked, Mapping):
            if self.kind is None:
                raise refused(model, str(dict(asked)), "a rule of its own class", "Pass one as sampler=.")
            asked = made(self.kind, asked)
        return self.rule(model, asked, steps)

    def most_passes(self, rule: R, length: int) -> int:
        """An upper bound on the forward passes of a run of this many tokens."""
        return length

    def slots_at_once(self, length: int) -> int:
        """How many slots of a text of this length a pass predicts, at most."""
        return length

    def reads_hidden(self, rule: R) -> bool:
        """Whether passes must also return the final norm's output."""
        return False

    def approximates(self, rule: R) -> str:
        """The approximate cache ("prefix", "dual"); none by default."""
        return ""

    def keeping_states(self, rule: R) -> R:
        """The rule, changed so that its trajectory has everything that a reading of its states needs."""
        return rule

    def times(self, model: Model, rule: R) -> tuple[Tensor, Tensor] | None:
        """τ and t of each step, for models whose states have a time."""
        return None

    def in_steps(self, model: Model, steps: int, *, draws: bool = False) -> R:
        """The rule with this many forward passes, best tokens first; or with `draws`, samples at temperature 1."""
        raise ProbeError(
            f"{steps} steps of model {model.name!r}",
            expected="a model whose number of forward passes can be chosen",
            found=f"a {model.paradigm.name} one, which decides it itself",
            remedy="Pass a rule of its own as sampler=.",
        )


W = TypeVar("W", bound=Writer[Any])
_WRITERS: dict[type[Paradigm], Writer[Any]] = {}


def writes(*kinds: type[Paradigm]) -> Callable[[type[W]], type[W]]:
    """Register a class as the writer of some paradigms and their subclasses."""

    def register(writer: type[W]) -> type[W]:
        for kind in kinds:
            _WRITERS[kind] = writer()
        return writer

    return register


def kinds() -> list[type[Any]]:
    """The classes of rules that the registered writers have, each once."""
    return list(dict.fromkeys(writer.kind for writer in _WRITERS.values() if writer.kind is not None))


def writer_of(model: Model) -> Writer[Any]:
    """The writer of a model's paradigm."""
    kind = type(model.paradigm)
    for base in kind.__mro__:
        if base in _WRITERS:
            return _WRITERS[base]
    raise ProbeError(
        f"writing with model {model.name!r}",
        expected=f"a writer of the paradigm {kind.name!r}",
        found="none",
        remedy="Register one with the paradigm's class: @probe.decoding.writes(…).",
    )


def refused(model: Model, asked: str | Rule, expected: str, remedy: str) -> ProbeError:
    """The error for a rule that is not one of this model's."""
    return ProbeError(f"sampler for model {model.name!r}", expected=expected, found=str(asked), remedy=remedy)
