"""A writer: how the models of one paradigm decode, found by the paradigm's class.

Paradigms know nothing of decoding, which is built on models, which are built on paradigms. So a writer registers itself
for the paradigms that it writes for, and whoever decodes asks `writer_of(model)`. A paradigm that is a subclass of
another writes as that one does, unless it has a writer of its own.

    @writes(Backwards)
    class FromTheEnd(Writer[Sampler]):
        def rule(self, model, asked, steps): ...
        def write(self, model, prompt, length, rule, run): ...

A *rule* is the small frozen value that a user hands to `probe.decode` as `sampler=`: a `Sampler`, FLUID's `Strides`, a
flow's `Flowing`, or one of a package's own. Its `str` stands in the trajectory. A writer settles the rule of a run
(what was asked for, or the model's own) and refuses one that is another paradigm's.
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
    """By what a text is written; its `str` says so in words."""

    def __str__(self) -> str: ...


R = TypeVar("R", bound=Rule)
Asked = str | Rule | Mapping[str, Any] | None
"""What a user can say of a rule: nothing, the name of an order, a rule, or one as plain data."""


class Writer(ABC, Generic[R]):
    """How the models of a paradigm write."""

    kind: ClassVar[type[Any] | None] = None  # of its rules: a dataclass, so that plain data can say one
    free_steps: ClassVar[bool] = True  # whether the number of forward passes is the user's to choose
    in_strides: ClassVar[bool] = False  # whether it drafts tokens and keeps some: its trajectory then holds `strides`

    @abstractmethod
    def rule(self, model: Model, asked: str | Rule | None, steps: int | None) -> R:
        """The rule of a run: what is asked for, or the model's own, in so many `steps` where a number is given."""

    @abstractmethod
    def write(self, model: Model, prompt: Tensor, length: int, rule: R, run: Run) -> Trajectory:
        """`length` tokens behind a prompt (batch × length). Forward passes are asked of `run.passes`, and every one of
        them is told to `run.on_step`."""

    def fill(self, model: Model, tokens: Tensor, rule: R, run: Run) -> Trajectory:
        """Every masked slot of a text (batch × length), wherever it stands; the other tokens are given."""
        raise ProbeError(
            f"filling blanks with model {model.name!r}",
            expected="a model that writes at masks anywhere: a masked or a block one",
            found=f"a {model.paradigm.name} one",
            remedy="Write behind a prompt: probe.decode(model, prompt, length).",
        )

    def settled(self, model: Model, asked: Asked, steps: int | None) -> R:
        """The same, where a rule may also be plain data (see `probe.decoding.rules`)."""
        if isinstance(asked, Mapping):
            if self.kind is None:
                raise refused(model, str(dict(asked)), "a rule of its own class", "Pass one as sampler=.")
            asked = made(self.kind, asked)
        return self.rule(model, asked, steps)

    def most_passes(self, rule: R, length: int) -> int:
        """No run of so many tokens takes more forward passes than this."""
        return length

    def reads_hidden(self, rule: R) -> bool:
        """Whether passes must hand over the final norm's output, too."""
        return False

    def approximates(self, rule: R) -> str:
        """What is kept from pass to pass though it is no longer exact ("prefix", "dual"); nothing by default."""
        return ""

    def keeping_states(self, rule: R) -> R:
        """The rule with everything in its trajectory that a reading needs, to ask about its states."""
        return rule

    def times(self, model: Model, rule: R) -> tuple[Tensor, Tensor] | None:
        """τ and t of each step, of models whose states have a time."""
        return None

    def in_steps(self, model: Model, steps: int, *, draws: bool = False) -> R:
        """The rule that takes so many forward passes, best tokens first; or `draws` tokens at temperature 1."""
        raise ProbeError(
            f"{steps} steps of model {model.name!r}",
            expected="a model whose number of forward passes can be chosen",
            found=f"a {model.paradigm.name} one, which takes as many as it needs",
            remedy="Pass a rule of its own as sampler=.",
        )


W = TypeVar("W", bound=Writer[Any])
_WRITERS: dict[type[Paradigm], Writer[Any]] = {}


def writes(*kinds: type[Paradigm]) -> Callable[[type[W]], type[W]]:
    """Make a class the writer of some paradigms, and of those derived from them."""

    def register(writer: type[W]) -> type[W]:
        for kind in kinds:
            _WRITERS[kind] = writer()
        return writer

    return register


def kinds() -> list[type[Any]]:
    """The kinds of rules that the registered writers have, each once."""
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
        remedy="Register one beside the paradigm's class: @probe.decoding.writes(…).",
    )


def refused(model: Model, asked: str | Rule, expected: str, remedy: str) -> ProbeError:
    """The error for a rule that is not one of this model's."""
    return ProbeError(f"sampler for model {model.name!r}", expected=expected, found=str(asked), remedy=remedy)
