"""Models that several pairs have in common are loaded once.

`zoo:masked` and `zoo:fluid` were made from one AR model, and a study holds both. So a pair asks here for its AR model
and its controls: while somebody else in this process still has the same one, it is the same object, and costs nothing.

    shared(source, settings, make)      the model that was made of the same files in the same way, else make()

Only what is still as it was loaded is handed out: a model whose weights were changed in place, or replaced, or that
writes another way by now, stays with those who have it, and the next pair loads its own. Nothing is kept alive for this
(the references are weak). What a pair trains or edits for good should be loaded by `probe.load`, which never shares.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.models.source import Source

_models: WeakValueDictionary[Hashable, Model] = WeakValueDictionary()
_as_loaded: WeakKeyDictionary[Model, Any] = WeakKeyDictionary()
_turn = Lock()


def shared(source: Source, settings: Hashable, make: Callable[[], Model]) -> Model:
    """A model of some files, loaded under some settings: one that is in use, or a new one."""
    key = (source.where, _files(source), repr(source.entry), settings)
    with _turn:
        known = _models.get(key)
        if known is not None and _as_loaded.get(known) == _state(known):
            return known
        model = make()
        _models[key], _as_loaded[model] = model, _state(model)
        return model


def _files(source: Source) -> tuple[tuple[str, int, int, int], ...]:
    """What tells that files are still the same ones."""
    stats = ((str(file), file.stat()) for file in source.checkpoint.identifying_files())
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


def _state(model: Model) -> tuple[Any, ...]:
    """What changes with a model: torch counts the changes of a tensor in place."""
    parts = (model.backbone, *model.attachments.values())
    tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    return (model.paradigm, model.backbone.training, *((id(tensor), tensor._version) for tensor in tensors))
