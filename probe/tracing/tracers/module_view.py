"""A second tree of modules over the same weights, for tracers that change the modules they are given.

TransformerLens's bridge and nnsight replace parts of a model's modules and do not put them back. So each recording
gives them a copy of the modules in which every parameter is the model's own. It takes milliseconds, no memory worth
counting, and leaves the model as it was.
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
            found="an open probe.edit context: its edits are hooks, which this tracer's modules lack",
            remedy='Record edited runs with tracer="hooks".',
        )
    backbone = model.backbone
    if any(parameter.is_meta for parameter in backbone.parameters()):
        raise TraceError(
            f"tracer {tracer!r}",
            expected="weights that are in memory",
            found="weights on disk or on another device, which only the model's own modules fetch",
            remedy='Record it with tracer="hooks".',
        )
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    return copy.deepcopy(backbone, shared)
