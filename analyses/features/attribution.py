"""Features as nodes: by how much each latent's change moves the answer, from a clean question to a corrupt one.

As `circuits.attribute` scores heads, so here latents, with its sign and its integrated gradients: the states of the
question after the dictionary's layer go from corrupt to clean in `steps` steps, all else as in the clean run, and

    score(latent) = Σ places (f^corrupt − f^clean) · (mean gradient of the metric · the latent's direction)

A latent that helps the answer has a score below 0. What the dictionary does not rebuild has a score of its own, the
error; all scores together are the change of the metric when the corrupt states are put in place, as far as `steps` go.

    features.attribute(sae, model, batch).table        # the strongest latents, the rest, and the error

Cost: `steps` forward and backward passes, of which the backward ones end at the layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from analyses.circuits.attribution.metrics import Metric, metric_of
from analyses.circuits.attribution.prompts import PromptPairs
from analyses.features.dictionary import Dictionary
from analyses.features.recording import SITE, layer_of, places
from analyses.result import Result
from analyses.statistics import adjusted
from analyses.statistics.per_example import PerExample
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms.canvas import Canvas
from probe.readings import Reading, reading_for
from probe.readings.reading import ROWS
from probe.tasks import Batch
from probe.tracing import edit, patch, record

REST, ERROR = "all other features", "error"


def attribute(
    dictionary: Dictionary,
    model: Model,
    batch: Batch,
    *,
    reading: str | Reading = "prefix",
    metric: str | Metric | None = None,
    steps: int = 5,
    top: int = 24,
) -> Result:
    """The `top` latents whose change moves a metric most (the task's own unless named), the sum of the others, and what
    the dictionary does not rebuild."""
    if steps < 1 or top < 1:
        raise ProbeError("attribution to features", expected="at least one step and one feature",
                         found=f"{steps} and {top}", remedy="For example steps=5, top=24.")  # fmt: skip
    named, measured = metric_of(metric, batch.task)
    asked = reading_for(model, reading, runs=False)
    values = scores(dictionary, model, batch, asked, measured, steps)
    latents, error = values[:, :-1], values[:, -1:]
    strongest = np.argsort(-np.abs(latents.mean(0)), kind="stable")[:top]
    rest = np.delete(latents, strongest, axis=1).sum(1, keepdims=True)
    nodes = [*(f"f{latent}" for latent in strongest), REST, ERROR]
    each = PerExample.of(np.hstack([latents[:, strongest], rest, error]), node=nodes)
    table = each.table({"model": model.name, "task": batch.task}, p=True)
    table = table.assign(layer=layer_of(model, dictionary.layer), null=0.0, unit=named, q=adjusted(table["p"]))
    return Result(
        "feature_attribution",
        table,
        f"Features that the answer hangs on, {batch.task}",
        f"What {named.replace('_', ' ')} changes by as each feature goes from clean to corrupt (below 0: it helps). "
        "Error: what the dictionary does not rebuild.",
        "forest",
        {"axes": {"rows": ["node"], "x_title": named.replace("_", " ")}, "steps": steps, "reading": str(reading)},
    )  # fmt: skip


def scores(
    dictionary: Dictionary, model: Model, batch: Batch, reading: Reading, metric: Metric, steps: int
) -> np.ndarray:
    """Of each example, every latent's score, and the error's last."""
    dictionary.role()  # of one model
    pairs = PromptPairs.of(model, batch, reading)
    where, layer = places(batch), layer_of(model, dictionary.layer)
    with torch.no_grad():
        logits = torch.cat([some.answer_logits(model.run_trunk(some.canvas())) for some in _chunks(pairs)])
    pairs = pairs.with_clean_logits(logits)
    found = torch.zeros(pairs.examples, dictionary.latents + 1, dtype=torch.float64)
    for some in _chunks(pairs):
        clean, corrupt = (_states(model, some.canvas(which), layer, where) for which in ("clean", "corrupt"))
        gradient = _mean_gradient(model, some, metric, clean, corrupt, (layer, where, steps))
        with torch.no_grad():
            latent, other = dictionary.encode(clean), dictionary.encode(corrupt)
            directions = dictionary.W_dec[:, 0] * dictionary.scale[0]
            own = ((other - latent) * (gradient @ directions.T)).sum(1)
            left = (corrupt - dictionary.decode(other)) - (clean - dictionary.decode(latent))
            error = (left * gradient).sum((1, 2))
            each = torch.cat([own, error[:, None]], 1).double() * some.weight.cpu().double()[:, None]
        found.index_add_(0, some.example.cpu(), each)
    return found.numpy()


def _states(model: Model, canvas: Canvas, layer: int, where: list[int]) -> Tensor:
    trace = record(model, canvas, [SITE], layers=[layer], positions=where)
    return torch.from_numpy(trace[SITE].values)[:, 0].float()


def _chunks(pairs: PromptPairs) -> Iterator[PromptPairs]:
    return (pairs[slice(at, at + ROWS)] for at in range(0, len(pairs), ROWS))


def _mean_gradient(
    model: Model, pairs: PromptPairs, metric: Metric, clean: Tensor, corrupt: Tensor, how: tuple[int, list[int], int]
) -> Tensor:
    """Of the metric by the states (row × place × feature), on the way from corrupt to clean."""
    layer, where, steps = how
    total = torch.zeros_like(clean)
    for step in range(1, steps + 1):
        point = (corrupt + step / steps * (clean - corrupt)).requires_grad_()
        with edit(model, patch(SITE, point, layer=layer, position=where)):
            hidden = model.run_trunk(pairs.canvas())
        value = metric(pairs.answer_logits(hidden), pairs.truth).sum()
        (gradient,) = torch.autograd.grad(value, point)
        total += gradient.cpu() / steps
    return total
