"""The cost of each of the three distillations of a flow: operations and time of a training step, relative to the
flow's."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from analyses import statistics
from analyses.result import Result
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Flow, FlowMap
from probe.paradigms.flow_map import TARGETS
from probe.paradigms.time_embedding import TimeEmbedding


def distillation(flow: Model, texts: Tensor, *, repeats: int = 10, seed: int = 0) -> Result:
    """The cost of a training step with each target, as a multiple of the flow's own: the operations of its matrix
    products, which are counted, and time on this machine.

    The map learns from the flow as its frozen teacher. Steps of the targets alternate, so that a slow moment of the
    machine affects all of them.
    """
    paradigms = {"flow": flow.paradigm} | {
        target: FlowMap(mask_id=flow.mask_id, target=target, teacher=flow, clock=_clock(flow)) for target in TARGETS
    }
    taken, counted = np.empty((repeats, len(paradigms))), []
    with _pupil(flow) as pupil:
        for turn in range(-1, repeats):  # the first turn only warms up
            for column, paradigm in enumerate(paradigms.values()):
                pupil.paradigm = paradigm
                seconds = _seconds(pupil, texts, seed + turn + 1)
                if turn >= 0:
                    taken[turn, column] = seconds
        for paradigm in paradigms.values():
            pupil.paradigm = paradigm
            counted.append(_operations(pupil, texts, seed))
    rows = []
    for name, own, operations in zip(paradigms, taken.T, counted, strict=True):
        timed = {"model": name, "measure": "time", **statistics.ratio(own, taken[:, 0]).row(), "batch": own.mean()}
        exact = {"model": name, "measure": "operations", "estimate": operations / counted[0], "batch": operations}
        rows += [{**timed, "of": "seconds"}, {**exact, "n": 1, "of": "operations"}]
    return Result(
        "claim_distillation_cost",
        pd.DataFrame(rows).assign(task=f"{len(texts)} × {texts.shape[1]} tokens", unit="steps of the flow"),
        "What a training step of each distillation costs",
        "A training step, forward and backward, as a multiple of the undistilled flow's: operations of its matrix "
        "products (counted, so without an interval), and time, with a 95% bootstrap over steps. `batch` is one "
        "step in its own unit.",
        "bars",
        {
            "axes": {"x": "model", "colour": "measure", "y_title": "steps of the flow"},
            "device": str(flow.device),
            "seed": seed,
        },
    )


def _clock(flow: Model) -> str:
    if isinstance(flow.paradigm, Flow):
        return flow.paradigm.clock
    raise ProbeError(
        f"model {flow.name!r}", expected="a flow", found=f"a {flow.paradigm.name} model", remedy="Pass zoo:flow."
    )


@contextmanager
def _pupil(flow: Model) -> Iterator[Model]:
    """A copy of the flow with a map's second time, to be trained; the flow itself is not changed."""
    pupil = Model(copy.deepcopy(flow.backbone), flow.paradigm, name=f"a pupil of {flow.name}")
    pupil.attachments = {name: copy.deepcopy(module) for name, module in flow.attachments.items()}
    pupil.attachments.setdefault("until", TimeEmbedding.beside(flow).to(flow.device, flow.dtype))
    with pupil.trainable():
        yield pupil


def _seconds(pupil: Model, texts: Tensor, seed: int) -> float:
    """How long one training step takes."""
    paradigm = pupil.paradigm
    batch = paradigm.training_batch(texts.cpu(), torch.Generator().manual_seed(seed)).to(pupil.device)
    began = time.perf_counter()
    paradigm.loss(pupil, batch).backward()
    if pupil.device.type == "cuda":
        torch.cuda.synchronize()
    taken = time.perf_counter() - began
    pupil.backbone.zero_grad(set_to_none=True)
    return taken


def _operations(pupil: Model, texts: Tensor, seed: int) -> int:
    """Multiplications and additions in the matrix products of one training step."""
    with FlopCounterMode(display=False) as counter:
        _seconds(pupil, texts, seed)
    return counter.get_total_flops()
