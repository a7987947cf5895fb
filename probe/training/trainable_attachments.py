"""Training a backbone together with its attachments.

The Trainer optimises, checkpoints and moves one module. So during training the attachments are submodules of the
backbone; before and after, the backbone is the stock one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from probe.models.model import Model

_PART = "attachments"


@contextmanager
def trainable_attachments(model: Model) -> Iterator[Model]:
    """The model's attachments as a part of its backbone."""
    parts = dict(model.attachments)  # anything attached during training is not part of it
    if parts:
        model.backbone.add_module(_PART, nn.ModuleDict(parts))
    try:
        yield model
    finally:
        if parts:
            delattr(model.backbone, _PART)


def stock_state(model: Model) -> dict[str, Tensor]:
    """The parameters that are the stock class's own."""
    state = model.backbone.state_dict()
    return {name: value for name, value in state.items() if not name.startswith(_PART + ".")}
