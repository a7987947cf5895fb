"""An estimate of a job's cost, printed before it begins (`twinprobe run --dry-run`).

Time is counted as arithmetic. A forward pass takes two operations for each token and parameter at work for it (of
experts, those that the token is sent to), a backward pass twice as many, and each stage declares how many passes it
makes for one example. The speed of the device is measured with one
matrix product. If the run folder has finished units of the same stage, their median time is used instead. Memory is the
weights of the loaded models plus the activations of one batch. A cluster reserves the host memory of the unit's process
(`host`): with the models on a GPU that is little. All of these are rough.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from probe.jobs.run.model_identity import ModelIdentity
from probe.jobs.run.plan import Plan
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.stages.registry import known_stage

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 4}
OVERHEAD = 0.05  # seconds of overhead per unit
TABLE = 100_000  # bytes of a table, its figure and its record
AT_ONCE = 32  # rows per pass if the spec does not say; fewer if they do not fit
PROCESS = 1_000_000_000  # bytes of a process that has loaded the libraries, and of its tables
SHARD = 5_000_000_000  # bytes of the largest weight file, as usually sharded
HELD = 16  # activations per layer and token of a pass, in units of the residual stream's width
TOKENS = 32  # tokens of a prompt, if no tokenizer is available


@dataclass(frozen=True)
class Cost:
    """The estimated cost of a unit."""

    seconds: float
    memory: int  # on the models' device
    disk: int
    passing: int = 0  # bytes of weights that are in host memory at a time on their way to a GPU

    def host(self, on_gpu: bool) -> int:
        """The host memory of the unit's process."""
        return PROCESS + (self.passing if on_gpu else self.memory)


def estimates(plan: Plan, store: UnitStore, tokens: Mapping[tuple[str, str], int] | None = None) -> dict[str, Cost]:
    """The cost of each unit by hash; 0 for finished ones. `tokens`: a prompt's, by pair and task."""
    speeds = _Speeds(plan.spec.device)
    past = _past(store)
    return {unit.hash: _cost(plan, unit, speeds, past, tokens or {}) for unit in plan}


def lengths(plan: Plan) -> dict[tuple[str, str], int]:
    """How many tokens an example has, for each pair and task, from two examples each."""
    found = {}
    for pair, identity in plan.pairs.items():
        words = identity.models["ar"].source.tokenizer()
        for label, task in plan.spec.labelled["task"].items():
            found[pair, label] = task.made().examples(words, 2, fewer=True).clean.shape[1]
    return found


def _cost(plan: Plan, unit: Unit, speeds: _Speeds, past: Mapping[str, float], tokens: Mapping[Any, int]) -> Cost:
    stage, examples = known_stage(unit.stage), plan.spec.budget.examples
    length = tokens.get((unit.place.get("pair"), unit.place.get("task")), max(tokens.values(), default=TOKENS))
    loaded = models_of(plan, unit)
    operations = sum(2 * model.active * length * examples * stage.passes for model in loaded)
    seconds = OVERHEAD + operations / speeds.of(max((model.shape["width"] for model in loaded), default=64))
    rows = min(plan.spec.budget.batch or AT_ONCE, examples)
    held = max((_held(model, rows * length) for model in loaded), default=0)
    width = BYTES[plan.spec.dtype]
    memory = width * (sum(model.parameters for model in loaded) + held)
    kept = examples * max((stage.kept(model.shape) for model in loaded), default=0.0)
    largest = max((width * model.parameters for model in loaded), default=0)
    return Cost(past.get(unit.stage, seconds), memory, TABLE + int(kept), min(largest, SHARD))


def models_of(plan: Plan, unit: Unit) -> list[ModelIdentity]:
    """The models that a unit loads."""
    stage = known_stage(unit.stage)
    if "pair" not in unit.place:
        return []
    models = plan.pairs[str(unit.place["pair"])].models
    if "role" in unit.place:
        return [models[str(unit.place["role"])]]
    return [models[role] for role in (models if stage.roles is None else stage.roles)]


def _held(model: ModelIdentity, tokens: int) -> int:
    """The activations of a pass over this many tokens: the layers' and the logits."""
    shape = model.shape
    return tokens * (HELD * shape["layers"] * shape["width"] + shape["vocabulary"])


def _past(store: UnitStore) -> dict[str, float]:
    """The median time of finished units of each stage."""
    took: dict[str, list[float]] = {}
    for folder in store.units.iterdir() if store.units.is_dir() else ():
        record = store.record(folder.name)
        if record is not None:
            took.setdefault(record["stage"], []).append(record["seconds"])
    return {stage: median(seconds) for stage, seconds in took.items()}


class _Speeds:
    """Operations a second of this device, by width of the matrices, measured once each."""

    def __init__(self, device: str):
        self.device, self.known = device, {}

    def of(self, width: int) -> float:
        if width not in self.known:
            self.known[width] = _measured(self.device, max(width, 16))
        return self.known[width]


def _measured(device: str, width: int) -> float:
    import torch

    from probe.models.backbone import usable_device

    onto = usable_device(device)
    rows = 1024
    left, right = torch.randn(rows, width, device=onto), torch.randn(width, 4 * width, device=onto)

    def products(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            torch.mm(left, right)
        if onto.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    products(2)
    seconds = min(products(3) for _ in range(3)) / 3
    return 2 * rows * width * 4 * width / max(seconds, 1e-9) / 3  # a whole model reaches about a third of this speed
