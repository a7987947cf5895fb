"""How far int8 training's gradient is from the exact one, and whether it pushes the hidden states to grow.

    python tests/benchmarks/int8_gradients.py [--twin my-twin/snapshots/step-300] [--n 1] [--markdown]

The loss and the gradient of FLUID's adapters on batches of its recipe, once with exact weights and once with weights at
rest in eight bits; from a snapshot of adapters, or from untrained ones. `growth` is the cosine between the direction of
descent and the one in which the states behind layers 27 and 29 grow: a gradient that has it above 0 by rounding alone
makes them grow without end. Needs the base and its text (`twinprobe fetch smollm2 smollm2-text`); a minute a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from frame import arguments, main, show
from torch import Tensor

from probe.models.adapters import MASK_ROW, read_adapters
from probe.training.batches import TrainingBatches
from probe.training.distillation import distilled_loss
from probe.training.initial_model import initial_model
from probe.training.lora import Adapters
from probe.training.recipe import read_recipe
from probe.training.trainer import collate_tensors
from probe.zoo import zoo_folder

FIRST = 700  # the step of the first batch
LATE = (27, 29)  # layers


def run() -> None:
    options = arguments(__doc__, twin="", n=1)
    recipe = read_recipe(Path(zoo_folder("masked")).parent / "smollm2-fluid" / "recipe.yaml")
    model = initial_model(recipe)
    model.attention_override = "eager"
    batches = TrainingBatches(
        recipe, model.paradigm, model.tokenizer, model.paradigm.given_mask(), Path(gettempdir()) / "int8-gradients"
    )
    adapters = Adapters(model, recipe.lora)  # type: ignore[arg-type]  # the recipe has it
    if options.twin:
        put(adapters, read_adapters(Path(options.twin)))
    some = [collate_tensors([batches[FIRST + turn]], model.windows) for turn in range(options.n)]
    show("Int8 gradients", rows(adapters, some), options.markdown)


def put(adapters: Adapters, state: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, layer in adapters._layers.items():
            layer.lora_A["default"].weight.copy_(state[f"{name}.down"])
            layer.lora_B["default"].weight.copy_(state[f"{name}.up"])
        adapters.row.copy_(state[MASK_ROW])


def rows(adapters: Adapters, batches: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    exact_loss, exact = gradient(adapters, [exact_of(adapters, batch) for batch in batches])
    _, growth = gradient(adapters, [growth_of(adapters, batch) for batch in batches])
    adapters.round(compiled=False)
    int8_loss, int8 = gradient(adapters, [int8_of(adapters, batch) for batch in batches])
    error = float((int8 - exact).norm() / exact.norm())
    yield {"weights": "exact", "loss": f"{exact_loss:.4f}", "error": "0", "growth": f"{cosine(-exact, growth):+.3f}"}
    yield {
        "weights": "int8",
        "loss": f"{int8_loss:.4f}",
        "error": f"{error:.2f}",
        "growth": f"{cosine(-int8, growth):+.3f}",
    }


def gradient(adapters: Adapters, losses: list[Tensor]) -> tuple[float, Tensor]:
    """The mean of some losses, and its gradient by everything that is trained."""
    trained = [value for value in adapters.wrapped.parameters() if value.requires_grad]
    loss = torch.stack(losses).mean()
    found = torch.autograd.grad(loss, trained, allow_unused=True)
    flat = [torch.zeros_like(one) if part is None else part for one, part in zip(trained, found, strict=True)]
    return loss.item(), torch.cat([part.flatten() for part in flat])


def exact_of(adapters: Adapters, batch: dict[str, Any]) -> Tensor:
    outputs = adapters.wrapped(**shown(batch), use_cache=False)
    teacher = adapters.teacher_logits(batch["text"], batch["position_ids"])
    return distilled_loss(outputs.logits, batch["labels"], batch["weights"], batch["soft"], teacher)


def int8_of(adapters: Adapters, batch: dict[str, Any]) -> Tensor:
    return adapters.loss(shown(batch), batch["labels"], batch["weights"], batch["text"], batch["soft"])


def growth_of(adapters: Adapters, batch: dict[str, Any]) -> Tensor:
    """The mean logarithm of the size of late states, without the first position's, whose size is its function."""
    found: list[Tensor] = []
    hooks = [
        adapters.model.blocks[layer].register_forward_hook(lambda _layer, _inputs, given: found.append(first(given)))
        for layer in LATE
    ]
    adapters.wrapped(**shown(batch), use_cache=False)
    for hook in hooks:
        hook.remove()
    later = (batch["position_ids"] > 0).expand(found[0].shape[:2])
    return torch.stack([states.norm(dim=-1).log()[later].mean() for states in found]).sum()


def first(given: Any) -> Tensor:
    return given[0] if isinstance(given, tuple) else given


def shown(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids")}


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


if __name__ == "__main__":
    main(run)
