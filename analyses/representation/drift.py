"""Weight drift: ‖ΔW‖/‖W‖ of every module, from the AR model to each model that was made from it.

It is exact, so it has no interval. Compare it with the drift of AR-CPT: the same amount of further training without a
change of objective.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor, nn

from analyses.result import Result
from probe.models.layout import Columns
from probe.models.model import Model
from probe.models.weights import weights_of
from probe.pairs import Pair

PARTS = ("attention_norm", "query", "key", "value", "output", "mlp_norm", "mlp_gate", "mlp_up", "mlp_down")
WHOLE = ("embed", "place_embed", "embed_norm", "final_norm", "head", "unembed")


@torch.no_grad()
def weight_drift(pair: Pair) -> Result:
    """‖W − W_AR‖/‖W_AR‖ by layer and module of the diffusion model and the controls.

    >>> bool((analyses.representation.weight_drift(pair).table["estimate"] >= 0).all())
    True
    """
    pair.refuse_strangers("weight drift")
    rows = []
    for role, model in pair.models.items():
        if role == "ar":
            continue
        for (layer, module, ours), (_, _, theirs) in zip(modules(pair.ar), modules(model), strict=True):
            row = {"model": model.name, "role": role, "layer": layer, "module": module}
            rows.append({**row, "estimate": drift(ours, theirs), "n": sum(part.numel() for part in ours)})
    axes = {"x": "module", "y": "layer", "facet": "role", "z_title": "‖ΔW‖/‖W‖", "x_title": "module"}
    return Result(
        "weight_drift",
        pd.DataFrame(rows),
        "How far the weights moved from the AR model's",
        "‖ΔW‖/‖W‖ of each module; layer -1 has the embeddings, the final norm and the unembedding. Drift alone says "
        "nothing about function: compare it with that of AR-CPT.",
        "heatmap",
        {"axes": axes},
    )


def modules(model: Model) -> Iterator[tuple[int, str, list[Tensor]]]:
    """Every parameter once, by layer and module; a tied unembedding is the embedding."""
    seen: set[int] = set()

    def new(module: nn.Module) -> list[tuple[str, Tensor]]:
        fresh = {id(parameter): (name, value) for name, parameter, value in weights_of(module)}
        found = [named for key, named in fresh.items() if key not in seen]
        seen.update(fresh)
        return found

    for name in WHOLE:
        tied = name == "unembed" and model.config.tie_word_embeddings  # if offloaded, the two are separate tensors
        if getattr(model.layout, name) is not None:
            found = [
                named for named in new(model.layout.part(model.backbone, name)) if not (tied and named[0] == "weight")
            ]
            yield from _named(-1, name, _values(found))
    for layer, block in enumerate(model.blocks):
        for name in PARTS:
            if getattr(model.layout, name) is None:
                continue
            module = model.layout.of_block(block, name)
            parameters = _values(new(module))
            if model.layout.fused and name == "query":  # one projection is three
                on_its_side = not isinstance(module, nn.Linear)
                for part, columns in zip(PARTS[1:4], model.qkv_columns.values(), strict=True):
                    yield layer, part, [_columns(parameter, columns, on_its_side) for parameter in parameters]
            else:
                yield from _named(layer, name, parameters)
        for name, parameter in new(block):  # modules of one family only: Qwen3's norms of q and k
            yield layer, name.rpartition(".")[0].rpartition(".")[2], [parameter]


def _columns(parameter: Tensor, columns: Columns, on_its_side: bool) -> Tensor:
    """The part of a projection's parameter for some columns of its output; GPT-2's weights are transposed."""
    return parameter[..., columns] if on_its_side else parameter[columns]


def _values(named: list[tuple[str, Tensor]]) -> list[Tensor]:
    return [value for _, value in named]


def _named(layer: int, name: str, parameters: list[Tensor]) -> Iterator[tuple[int, str, list[Tensor]]]:
    if parameters:
        yield layer, name, parameters


def drift(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Over the rows that both have: one vocabulary may have an additional mask token."""
    changed = there = 0.0
    for a, b in zip(ours, theirs, strict=True):
        rows = min(len(a), len(b))
        a, b = a[:rows].double(), b[:rows].to(a.device).double()
        changed += (b - a).square().sum().item()
        there += a.square().sum().item()
    return (changed / there) ** 0.5 if there else float("nan") if changed else 0.0
