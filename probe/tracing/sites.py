"""The named places of a forward pass, defined once for every architecture, tracer and paradigm.

A site is a part of the `Layout`, the side of it that is read (what goes in, or what comes out), and the axes of what is
found there. That is all: hooks, nnsight and edits are told the same module and side, and TransformerLens the same name,
so a new architecture needs a `Layout` and nothing here.

What each holds, in the order in which a forward pass reaches them:

    embed        what enters the first layer: token and, where there are any, learned position embeddings
    resid_pre    what enters a layer
    q, k, v      the projections' outputs, a head at a time: before rotary positions and before Qwen3's q and k norms,
                 as TransformerLens's hook_q has them. With grouped queries k and v have fewer heads, on an axis of
                 their own, kv_head
    z            each head's mix of values, what enters the output projection
    head_out     each head's own write to the residual stream, z_h W_O[h]; the projection's bias belongs to no head
    attn_out     the output projection's output, bias included
    pattern      attention after the softmax (computed openly, so only where it is asked for)
    resid_mid    resid_pre + attn_out, what enters the MLP's norm
    mlp_hidden   the MLP's neurons, what enters its down projection
    mlp_out      the MLP's output
    resid_post   what leaves a layer
    final_norm   the final norm's output
    logits       the unembedding's output

A *view* is a site's tensor with the axes of a trace: (example, [head,] position, feature), or (example, head, query,
key). Every tracer delivers views and every edit changes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from probe.errors import TraceError, nearest
from probe.models.weights import weight_of

if TYPE_CHECKING:
    from probe.models.model import Model


@dataclass(frozen=True)
class Site:
    """One named place."""

    name: str
    part: str  # of the Layout; "block" is the layer itself
    side: Literal["in", "out"]
    dims: tuple[str, ...]  # of a view, after the example
    layered: bool = True

    @property
    def heads(self) -> str | None:
        """The name of the head axis, "head" or "kv_head", where there is one."""
        return self.dims[0] if self.dims[0] in ("head", "kv_head") else None

    @property
    def position_axis(self) -> int:
        """Which axis of a view counts positions (queries, for a pattern)."""
        return 2 if self.heads else 1

    def module(self, model: Model, layer: int) -> nn.Module:
        """The module at which the site is found."""
        if not self.layered and self.part != "block":
            return model.layout.part(model.backbone, self.part)
        block = model.blocks[layer]
        return block if self.part == "block" else model.layout.of_block(block, self.part)

    def path(self, model: Model, layer: int) -> str:
        """The same module's dotted path in the backbone."""
        if not self.layered and self.part != "block":
            return getattr(model.layout, self.part)
        block = f"{model.layout.layers}.{layer}"
        return block if self.part == "block" else f"{block}.{getattr(model.layout, self.part)}"

    def view(self, model: Model, found: Tensor | tuple) -> Tensor:
        """What a module took or gave, with the axes of a trace. `head_out` is viewed as z: see `per_head_writes`."""
        if self.name == "pattern":
            return found[1]
        raw = found[0] if isinstance(found, tuple) else found
        if model.layout.fused and self.name in _THIRD:
            raw = raw.chunk(3, dim=-1)[_THIRD[self.name]]
        return raw.unflatten(-1, (-1, model.d_head)).transpose(1, 2) if self.heads else raw

    def put_back(self, model: Model, found: Tensor | tuple, view: Tensor) -> Tensor | tuple:
        """What the module would have taken or given, had this been the view of it."""
        if self.name == "pattern":
            return (found[0], view, *found[2:])
        raw = found[0] if isinstance(found, tuple) else found
        changed = view.transpose(1, 2).flatten(2) if self.heads else view
        if model.layout.fused and self.name in _THIRD:
            thirds = list(raw.chunk(3, dim=-1))
            thirds[_THIRD[self.name]] = changed
            changed = torch.cat(thirds, dim=-1)
        changed = changed.contiguous()  # GPT-2's Conv1D takes a view of its input
        return (changed, *found[1:]) if isinstance(found, tuple) else changed


_THIRD = {"q": 0, "k": 1, "v": 2}  # where GPT-2's one projection holds each

SITES = {
    site.name: site
    for site in (
        Site("embed", "block", "in", ("position", "feature"), layered=False),
        Site("resid_pre", "block", "in", ("position", "feature")),
        Site("q", "query", "out", ("head", "position", "head_feature")),
        Site("k", "key", "out", ("kv_head", "position", "head_feature")),
        Site("v", "value", "out", ("kv_head", "position", "head_feature")),
        Site("z", "output", "in", ("head", "position", "head_feature")),
        Site("head_out", "output", "in", ("head", "position", "feature")),
        Site("attn_out", "output", "out", ("position", "feature")),
        Site("pattern", "attention", "out", ("head", "query", "key")),
        Site("resid_mid", "mlp_norm", "in", ("position", "feature")),
        Site("mlp_hidden", "mlp_down", "in", ("position", "neuron")),
        Site("mlp_out", "mlp_down", "out", ("position", "feature")),
        Site("resid_post", "block", "out", ("position", "feature")),
        Site("final_norm", "final_norm", "out", ("position", "feature"), layered=False),
        Site("logits", "unembed", "out", ("position", "token"), layered=False),
    )
}
"""Every site, in the order in which a forward pass reaches them."""

DEFAULT_SITES = ("resid_pre", "pattern", "attn_out", "mlp_out", "resid_post", "logits")
"""What `probe.record` keeps where no sites are named: the stream, its writes, where heads look, and the logits."""

_ORDER = {name: rank for rank, name in enumerate(SITES)}


def site(name: str) -> Site:
    """The site of a name."""
    try:
        return SITES[name]
    except KeyError:
        raise TraceError(
            f"site {name!r}", expected="one of " + ", ".join(SITES), found=repr(name), remedy=nearest(name, SITES)
        ) from None


def rank(name: str) -> int:
    """A site's turn within a layer."""
    return _ORDER[name]


def output_weight(model: Model, layer: int) -> Tensor:
    """W_O of a layer, (head, head_feature, feature). GPT-2's Conv1D keeps its weight the other way round."""
    projection = model.layout.of_block(model.blocks[layer], "output")
    weight = weight_of(projection)
    inward = weight.T if isinstance(projection, nn.Linear) else weight
    return inward.unflatten(0, (model.n_heads, model.d_head))


def size_of(model: Model, dim: str) -> int:
    """The length of an axis that the model alone decides."""
    if dim == "neuron":
        down = model.layout.of_block(model.blocks[0], "mlp_down")
        shape: torch.Size = down.weight.shape  # type: ignore[union-attr,assignment]  # a Linear or a Conv1D
        return shape[1 if isinstance(down, nn.Linear) else 0]  # GPT-2's Conv1D keeps it the other way round
    if dim == "token":
        unembed = model.layout.part(model.backbone, "unembed")
        return unembed.weight.shape[0]  # type: ignore[index,union-attr,return-value]  # a Linear
    return {
        "head": model.n_heads,
        "kv_head": model.n_kv_heads,
        "feature": model.d_model,
        "head_feature": model.d_head,
    }[dim]
