"""A second module tree over the same weights.

TransformerLens's bridge and nnsight both build themselves into the modules of the model they are given, and neither
takes itself out again. So they are given a tree of their own: every module is new, every parameter is the model's.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from probe.errors import TraceError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from probe.models.model import Model


def twin_tree(model: Model, tracer: str) -> PreTrainedModel:
    """A copy of the backbone that shares its parameters and buffers."""
    if model.before_run:
        raise TraceError(
            f"tracer {tracer!r}",
            expected="a model that is not being edited",
            found="an open probe.edit context, whose edits live in hooks that this tracer's own modules do not have",
            remedy='Record edited runs with tracer="hooks".',
        )
    backbone = model.backbone
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    return copy.deepcopy(backbone, shared)
