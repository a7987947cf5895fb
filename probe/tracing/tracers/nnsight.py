"""nnsight 0.8 as a tracer, on this machine or on NDIF's.

nnsight replaces every module's `forward` and leaves it so; a local run therefore wraps a copy of the modules
(`module_view`). nnsight reads the source of a trace's body from its file and, for a remote run, sends that source to
the server. A body must also ask for values in the order in which the forward pass computes them. So `_body` knows
nothing but module paths and whether their input or output is wanted; a site is cut out of a module's output here,
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from probe.errors import TraceError
from probe.paradigms.canvas import Canvas
from probe.tracing.selection import Selection
from probe.tracing.sites import rank
from probe.tracing.tracers.module_view import module_view
from probe.tracing.tracers.tracer import Forward, Take

if TYPE_CHECKING:
    from probe.models.model import Model


@contextmanager
def attached(model: Model, selection: Selection, take: Take, *, remote: bool | str = False) -> Iterator[Forward]:
    """A context whose value runs the model by nnsight and calls `take` with the values at every selected site."""
    wrapped, options = _remote(model, selection, remote) if remote else (_local(model, selection), {})
    read = _reached_in_order(model, selection)

    def forward(canvas: Canvas, logits: bool = False) -> Tensor | None:
        wanted = list(dict.fromkeys((path, side) for path, side, _, _ in read))
        unembed = (model.layout.unembed, "out")
        if logits and unembed not in wanted:
            wanted.append(unembed)
        found = _body(wrapped, wanted, _inputs(model, canvas), options)
        for path, side, one, layer in read:
            take(one, layer, one.view(model, found[path, side]))
        return model.capped(found[unembed]) if unembed in found else None

    yield forward


def _body(wrapped: Any, wanted: list[tuple[str, str]], inputs: dict, options: dict) -> dict[tuple[str, str], Any]:
    from nnsight import save

    with wrapped.trace(**inputs, **options):
        found = save({})
        for path, side in wanted:
            envoy = wrapped.get(path)
            found[path, side] = envoy.input if side == "in" else envoy.output
    return found


def _reached_in_order(model: Model, selection: Selection) -> list:
    """(module path, input or output, site, layer), in the order in which the forward pass computes them."""
    once = {"embed": -1, "final_norm": model.n_layers, "logits": model.n_layers + 1}
    places = [(layer, one) for one in selection.sites for layer in selection.layers_at(one)]
    # Sites of a layer are listed in order, with one exception: where a norm follows attention, its output comes later.
    behind = {"attn_out": rank("pattern") + 0.5} if model.layout.attention_post_norm is not None else {}
    turn = {one.name: behind.get(one.name, rank(one.name)) for one in selection.sites}
    places.sort(key=lambda place: (once.get(place[1].name, place[0]), turn[place[1].name]))
    return [(one.path(model, layer), one.side, one, layer) for layer, one in places]


def _inputs(model: Model, canvas: Canvas) -> dict[str, Any]:
    rows = len(canvas)  # nnsight tells batches apart by their rows: what all examples share is repeated for each
    return {
        **model.paradigm.shown(model, canvas),
        "attention_mask": _for_each_row(model.attention_masks(canvas), rows),
        "position_ids": canvas.places.expand(rows, -1),
        "use_cache": False,
    }


def _for_each_row(masks: Tensor | dict[str, Tensor], rows: int) -> Tensor | dict[str, Tensor]:
    if isinstance(masks, Tensor):
        return masks.expand(rows, -1, -1, -1)
    return {kind: mask.expand(rows, -1, -1, -1) for kind, mask in masks.items()}


def _local(model: Model, selection: Selection) -> Any:
    from nnsight import NNsight

    backbone = module_view(model, "nnsight")
    backbone.config._attn_implementation = model.kernel(selection.has("pattern"))
    return NNsight(backbone)


def _remote(model: Model, selection: Selection, remote: bool | str) -> tuple[Any, dict[str, Any]]:
    """nnsight's wrapper for remote runs, and the options of a remote trace."""
    from nnsight import CONFIG, TransformersModel

    if remote is True and not CONFIG.API.APIKEY:
        raise TraceError(
            "remote=True",
            expected="an NDIF API key",
            found="none in NDIF_API_KEY or nnsight's configuration",
            remedy="Set NDIF_API_KEY, or record here with remote=False.",
        )
    if selection.has("pattern"):
        raise TraceError(
            "site 'pattern' with remote execution",
            expected="eager attention, which keeps its patterns",
            found="the server's attention (SDPA), which keeps none and cannot be changed from here",
            remedy="Record patterns on this machine, with remote=False.",
        )
    return TransformersModel(module_view(model, "nnsight"), tokenizer=model.tokenizer), {"remote": remote}
