"""Scopes: one user's hooks on a model act only on that user's forward passes.

Two browser sessions with one cached model, or a notebook in which one thread records while another decodes, share
modules, and a torch hook fires for every call of a module. So every context of this project that hooks a model
(`probe.edit`, `probe.record`, …) opens a `Scope`, and its hooks act only where the scope is open. This is per context
in the sense of `contextvars`: a thread, or an asyncio task, which inherits the scopes open when it was created. A new
thread inherits nothing; run it with `contextvars.copy_context().run` to make it see an edit.

    with Scope() as scope:
        module.register_forward_hook(scope.owned(hook))     # does nothing in other threads

Temporary settings of a model (`before_run`, `attention_override`) are kept per context in the same way. Contexts may be
closed in any order. The cost is a look-up for each hook and module. Forward passes of one model take turns, because
transformers reads the attention function from the shared config: a second thread waits for one pass.

To skip a module's computation a hook is not enough: its `forward` is replaced (`stand_in`). That, too, acts only where
its scope is open, and the module gets its own back when the last replacement is removed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from torch import nn

Value = TypeVar("Value")


class Scope:
    """One open context and what belongs to it."""

    def __init__(self) -> None:
        self._closed = False

    def __enter__(self) -> Self:
        _scopes.set((*_scopes.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True  # also if it is closed in another thread than it was opened in
        _scopes.set(tuple(scope for scope in _scopes.get() if scope is not self))

    @property
    def here(self) -> bool:
        """Whether this scope is open in the current context."""
        return not self._closed and any(scope is self for scope in _scopes.get())

    def owned(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """The hook, wrapped to do nothing where the scope is not open."""
        return lambda *given: hook(*given) if self.here else None


_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("open scopes", default=())


def open_scopes() -> tuple[Scope, ...]:
    """The scopes open in the current context, the outermost first."""
    return tuple(scope for scope in _scopes.get() if scope.here)


def stand_in(module: nn.Module, scope: Scope, forward: Callable[..., Any]) -> Callable[[], None]:
    """Replace a module's `forward` where a scope is open; the returned function undoes it."""
    with _standing_turn:
        standing = vars(module).get("forward")
        if not isinstance(standing, _StandIns):
            standing = _StandIns(module, standing)
            module.forward = standing
        standing.ways = (*standing.ways, (scope, forward))

    def remove() -> None:
        with _standing_turn:
            standing.ways = tuple(way for way in standing.ways if way[0] is not scope)
            if standing.ways or vars(module).get("forward") is not standing:  # unless somebody has wrapped it since
                return
            if standing.own is None:
                del module.forward
            else:
                module.forward = standing.own

    return remove


_standing_turn = threading.Lock()


class _StandIns:
    """A module's `forward` while any scope replaces it: the innermost scope open here decides, and without one the
    module's own `forward` runs (accelerate gives some modules one of their own)."""

    def __init__(self, module: nn.Module, own: Callable[..., Any] | None):
        self._module, self.own = module, own
        self.ways: tuple[tuple[Scope, Callable[..., Any]], ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> _StandIns:
        """For a copy of the module, which nobody has replaced."""
        return _StandIns(memo.get(id(self._module), self._module), copy.deepcopy(self.own, memo))

    def __call__(self, *given: Any, **named: Any) -> Any:
        for scope, forward in reversed(self.ways):
            if scope.here:
                return forward(*given, **named)
        if self.own is not None:
            return self.own(*given, **named)
        return type(self._module).forward(self._module, *given, **named)


class ContextValue(Generic[Value]):
    """A value that each thread (context) sets for itself; elsewhere it is `default`."""

    def __init__(self, default: Value):
        self._default = default

    def get(self) -> Value:
        return _values.get().get(self, self._default)

    def set(self, value: Value) -> None:
        others = {key: kept for key, kept in _values.get().items() if key is not self}
        _values.set(others if value == self._default else {**others, self: value})


_values: ContextVar[Mapping[ContextValue, Any]] = ContextVar("values by context", default={})  # noqa: B039  never changed


class Listeners:
    """Callbacks, each called only in the context that added it."""

    def __init__(self) -> None:
        self._added: ContextValue[tuple[Callable[..., None], ...]] = ContextValue(())

    def append(self, listener: Callable[..., None]) -> None:
        self._added.set((*self._added.get(), listener))

    def remove(self, listener: Callable[..., None]) -> None:
        """Remove the newest of that name, if there is one."""
        added = list(self._added.get())
        if listener in added:
            del added[len(added) - 1 - added[::-1].index(listener)]
        self._added.set(tuple(added))

    def pop(self) -> Callable[..., None]:
        *rest, last = self._added.get()
        self._added.set(tuple(rest))
        return last

    def clear(self) -> None:
        self._added.set(())

    def __iter__(self) -> Iterator[Callable[..., None]]:
        return iter(self._added.get())

    def __len__(self) -> int:
        return len(self._added.get())
