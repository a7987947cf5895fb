"""A second module tree over the same weights, for tracers that change the modules they are given.

TransformerLens's bridge and nnsight both build themselves into the modules of a model, and neither takes itself out
again. So each recording gives them a tree of its own: every module is new, every parameter is the model's. That takes
milliseconds and no memory to speak of, and leaves the model as it was.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from probe.errors import TraceError
from probe.tracing.editing import open_edits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from probe.models.model import Model


def module_view(model: Model, tracer: str) -> PreTrainedModel:
    """A copy of the backbone that shares its parameters and buffers."""
    if open_edits(model):
        raise TraceError(
            f"tracer {tracer!r}",
            expected="a model that is not being edited",
            found="an open probe.edit context, whose edits live in hooks that this tracer's own modules do not have",
            remedy='Record edited runs with tracer="hooks".',
        )
    backbone = model.backbone
    if any(parameter.is_meta for parameter in backbone.parameters()):
        raise TraceError(
            f"tracer {tracer!r}",
            expected="weights that are in memory",
            found="offloaded ones, which are fetched by the model's own modules alone",
            remedy='Record it with tracer="hooks".',
        )
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    return copy.deepcopy(backbone, shared)
