"""TransformerLens 4's bridge as a tracer.

The bridge is built from the loaded model, on a copy of its modules (`module_view`). It is always given a 4D attention
mask and position ids, since it ignores `config.is_causal=False` without a word. Weights are not folded and norms not
centred, so its activations are those of the stock model. The bridge computes attention by code of its own; a test
compares it with the hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor

from probe.errors import TraceError
from probe.paradigms.canvas import Canvas
from probe.tracing.selection import Selection
from probe.tracing.sites import Site
from probe.tracing.tracers.activation_cache import lens_name, view_of_lens
from probe.tracing.tracers.module_view import module_view
from probe.tracing.tracers.tracer import Forward, Take

if TYPE_CHECKING:
    from probe.models.model import Model


@contextmanager
def attached(model: Model, selection: Selection, take: Take) -> Iterator[Forward]:
    """A context whose value runs the bridge and calls `take` with the values at every selected site and layer."""
    if selection.has("head_out") and model.layout.attention_post_norm is not None:
        raise TraceError(
            f"site 'head_out' of {model.layout.model_type} with tracer=\"transformer_lens\"",
            expected="heads that write to the residual stream themselves",
            found="a norm after attention; the bridge reads the heads before it",
            remedy='Record it with tracer="hooks".',
        )
    bridge = boot(model)
    if selection.has("head_out"):
        bridge.set_use_attn_result(True)
    hooks = [
        (lens_name(one, layer), _hook(one, layer, take))
        for one in selection.sites
        for layer in selection.layers_at(one)
        if one.name != "logits"
    ]
    missing = [name for name, _ in hooks if name not in bridge.hook_dict]
    if missing:
        raise TraceError(
            f"site {missing[0]!r} of {model.layout.model_type}",
            expected="a hook point of TransformerLens's bridge",
            found="none of that name",
            remedy='Record it with tracer="hooks".',
        )

    def forward(canvas: Canvas, logits: bool = False) -> Tensor | None:
        if canvas.soft is not None:
            raise TraceError(
                'a flow with tracer="transformer_lens"',
                expected="tokens, which the bridge embeds itself",
                found="mixtures of embeddings and noise",
                remedy='Record it with tracer="hooks" or "nnsight".',
            )
        given = bridge(
            canvas.tokens,
            attention_mask=model.attention_masks(canvas),
            position_ids=canvas.places.expand(len(canvas), -1),
            return_type="logits",
        )
        for one in selection.sites:
            if one.name == "logits":
                take(one, 0, given)
        return given

    with bridge.hooks(fwd_hooks=hooks):
        yield forward


def boot(model: Model):
    """The model as a TransformerLens bridge."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    _refuse_unknown(model)
    backbone = module_view(model, "transformer_lens")
    # Only eager attention computes a pattern; with another kernel the pattern's hook is never called.
    backbone.config._attn_implementation = "eager"
    bridge = build_bridge_from_module(
        backbone, type(backbone).__name__, hf_config=backbone.config, model_name=model.name
    )
    return bridge.eval()


def _refuse_unknown(model: Model) -> None:
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    name = type(model.backbone).__name__
    if name not in SUPPORTED_ARCHITECTURES:
        raise TraceError(
            f'tracer "transformer_lens" for model {model.name!r} ({model.layout.model_type})',
            expected="an architecture for which TransformerLens has an adapter",
            found=f"no adapter for {name}",
            remedy='Record it with tracer="hooks" or "nnsight".',
        )


def _hook(one: Site, layer: int, take: Take):
    def tell(found: Tensor, hook) -> None:
        take(one, layer, view_of_lens(one, found), projected=True)

    return tell
