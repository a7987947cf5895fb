"""Models shared by several pairs are loaded once.

`zoo:masked` and `zoo:fluid` were made from one AR model, and a study may use both. So a pair gets its AR model and its
controls here: while the same one is still in use in this process, it is the same object, at no cost.

    shared(source, settings, make)      the model made from the same files with the same settings, else make()

Only unchanged models are shared: if a model's weights were changed in place or replaced, or its paradigm was changed,
the next pair loads its own. Nothing is kept alive for this (the references are weak). For a model that you train or
change permanently use `probe.load`, which never shares.
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
    """A model from some files with some settings: one in use, or a new one."""
    key = (source.where, _files(source), repr(source.entry), settings)
    with _turn:
        known = _models.get(key)
        if known is not None and _as_loaded.get(known) == _state(known):
            return known
        model = make()
        _models[key], _as_loaded[model] = model, _state(model)
        return model


def _files(source: Source) -> tuple[tuple[str, int, int, int], ...]:
    """Identifies files, to detect changes."""
    stats = ((str(file), file.stat()) for file in source.checkpoint.identifying_files())
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


def _state(model: Model) -> tuple[Any, ...]:
    """Changes with a model: torch counts in-place changes of a tensor."""
    parts = (model.backbone, *model.attachments.values())
    tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    return (model.paradigm, model.backbone.training, *((id(tensor), tensor._version) for tensor in tensors))
