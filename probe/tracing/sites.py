"""The sites of a forward pass, defined once for every architecture, tracer and paradigm.

A site is a part of the `Layout`, its input or its output, and the axes of the activation. Hooks, nnsight and edits use
the same module and side, and TransformerLens the same name, so a new architecture needs only a `Layout`.

The sites, in the order in which a forward pass reaches them:

    embed        the first layer's input: token embeddings, plus learned position embeddings if there are any
    resid_pre    a layer's input
    q, k, v      the projections' outputs by head: before rotary positions and before Qwen3's q and k norms,
                 as TransformerLens's hook_q has them. With grouped queries k and v have fewer heads, on an axis of
                 their own, kv_head
    z            each head's weighted sum of values, the input of the output projection
    head_out     each head's own output to the residual stream, z_h W_O[h], scaled by the norm after the projection if
                 there is one (see `probe.models.writes`); the projection's bias belongs to no head
    attn_out     what attention adds to the stream: the output projection's output with its bias, after its norm if it
                 has one (Gemma, OLMo 2)
    pattern      attention after the softmax (needs the eager kernel, so only on request)
    resid_mid    resid_pre + attn_out, the MLP's input; absent if the two run in parallel (GPT-NeoX)
    mlp_hidden   the MLP's neurons, the input of its down projection; absent in a mixture of experts
    mlp_out      what the MLP adds to the stream, after its norm if it has one
    resid_post   a layer's output
    final_norm   the final norm's output
    logits       the unembedding's output, capped if the model caps it (Gemma 2)

A *view* is a site's tensor with the axes of a trace: (example, [head,] position, feature), or (example, head, query,
key). Every tracer yields views, and every edit changes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from probe.errors import TraceError, nearest
from probe.models.weights import widths_of
from probe.models.writes import Writes

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
        """The name of the head axis, "head" or "kv_head", if there is one."""
        return self.dims[0] if self.dims[0] in ("head", "kv_head") else None

    @property
    def position_axis(self) -> int:
        """Which axis of a view counts positions (queries, for a pattern)."""
        return 2 if self.heads else 1

    def module(self, model: Model, layer: int) -> nn.Module:
        """The module of the site."""
        self.refuse_absent(model)
        if not self.layered and self.part != "block":
            return model.layout.part(model.backbone, self.part)
        block = model.blocks[layer]
        return block if self.part == "block" else model.layout.of_block(block, self.part)

    def path(self, model: Model, layer: int) -> str:
        """The same module's dotted path in the backbone."""
        self.refuse_absent(model)
        if not self.layered and self.part != "block":
            return getattr(model.layout, self.part)
        block = f"{model.layout.layers}.{layer}"
        return block if self.part == "block" else f"{block}.{getattr(model.layout, self.part)}"

    def view(self, model: Model, found: Tensor | tuple) -> Tensor:
        """A module's input or output, with the axes of a trace. `head_out` is viewed as z: see `per_head_writes`."""
        if self.name == "pattern":
            return found[1]
        raw = found[0] if isinstance(found, tuple) else found
        if self.name == "logits":
            return model.capped(raw)
        if model.layout.fused and self.name in "qkv":
            raw = raw[..., model.qkv_columns[self.name]]
        return raw.unflatten(-1, (-1, model.d_head)).transpose(1, 2) if self.heads else raw

    def put_back(self, model: Model, found: Tensor | tuple, view: Tensor) -> Tensor | tuple:
        """The module's input or output whose view this is."""
        if self.name == "pattern":
            return (found[0], view, *found[2:])
        raw = found[0] if isinstance(found, tuple) else found
        changed = view.transpose(1, 2).flatten(2) if self.heads else view
        if model.layout.fused and self.name in "qkv":
            whole = raw.clone()
            whole[..., model.qkv_columns[self.name]] = changed
            changed = whole
        changed = changed.contiguous()  # GPT-2's Conv1D takes a view of its input
        return (changed, *found[1:]) if isinstance(found, tuple) else changed

    def refuse_absent(self, model: Model) -> None:
        """Refuse a site that this architecture does not have."""
        if self.name == "resid_mid" and model.parallel:
            raise _absent(self, model, "attention and MLP one after the other", "both in parallel", "resid_pre")
        if self.part == "mlp_down" and model.layout.mlp_down is None:
            raise _absent(self, model, "an MLP with one layer of neurons", "a mixture of experts", "mlp_out")


def _absent(one: Site, model: Model, expected: str, found: str, instead: str) -> TraceError:
    return TraceError(
        f"site {one.name!r} of {model.layout.model_type}",
        expected=expected,
        found=found,
        remedy=f"Leave it out, or take {instead}.",
    )


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
        Site("attn_out", "attention_write", "out", ("position", "feature")),
        Site("pattern", "attention", "out", ("head", "query", "key")),
        Site("resid_mid", "mlp_read", "in", ("position", "feature")),
        Site("mlp_hidden", "mlp_down", "in", ("position", "neuron")),
        Site("mlp_out", "mlp_write", "out", ("position", "feature")),
        Site("resid_post", "block", "out", ("position", "feature")),
        Site("final_norm", "final_norm", "out", ("position", "feature"), layered=False),
        Site("logits", "unembed", "out", ("position", "token"), layered=False),
    )
}
"""Every site, in the order in which a forward pass reaches them."""

DEFAULT_SITES = ("resid_pre", "pattern", "attn_out", "mlp_out", "resid_post", "logits")
"""The default sites of `probe.record`: the stream, the outputs added to it, attention patterns, and the logits."""

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
    """A site's order within a layer."""
    return _ORDER[name]


def output_weight(model: Model, layer: int) -> Tensor:
    """W_O of a layer, (head, head_feature, feature), with the fixed part of a norm after it."""
    return Writes.of_heads(model, layer).weight.unflatten(0, (model.n_heads, model.d_head))


def scaled_heads(model: Model, layer: int, z: Tensor) -> Tensor:
    """The view of z (example, head, position, head_feature), times the scale of a norm after W_O at each position."""
    writes = Writes.of_heads(model, layer)
    if not writes.norm.present:
        return z
    return writes.scaled(z.transpose(1, 2).flatten(2)).unflatten(-1, (model.n_heads, -1)).transpose(1, 2)


def head_writes(model: Model, layer: int, z: Tensor) -> Tensor:
    """What each head adds to the stream (example, head, position, feature), from the view of z."""
    return scaled_heads(model, layer, z) @ output_weight(model, layer)


def size_of(model: Model, dim: str) -> int:
    """The length of an axis that depends only on the model."""
    if dim == "neuron":
        return widths_of(SITES["mlp_hidden"].module(model, 0))[0]
    if dim == "token":
        unembed = model.layout.part(model.backbone, "unembed")
        return unembed.weight.shape[0]  # type: ignore[index,union-attr,return-value]  # a Linear
    return {
        "head": model.n_heads,
        "kv_head": model.n_kv_heads,
        "feature": model.d_model,
        "head_feature": model.d_head,
    }[dim]
