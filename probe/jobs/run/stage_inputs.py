"""A stage's inputs: the models, prompts and products of its place in the grid, opened on first use.

The hash of a unit covers the inputs that the stage declares. `Inputs` refuses everything else: an undeclared setting, a
role that it does not load, an undeclared need. Otherwise a number could depend on something that its hash does not
cover.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.jobs.run.cost import BYTES, models_of
from probe.jobs.run.products import Products
from probe.jobs.stages.registry import known_stage
from probe.jobs.stages.stage import Stage
from probe.memory import free_cache, free_memory

if TYPE_CHECKING:
    from probe.batch import Batch
    from probe.jobs.run.model_identity import ModelIdentity
    from probe.jobs.run.plan import Plan
    from probe.jobs.run.unit import Unit
    from probe.models.model import Model
    from probe.pairs import Pair
    from probe.readings import Reading
    from probe.tasks import Task

ROOM = 0.6  # of the free memory that models may fill; their passes take the rest


class WorkerContext:
    """What one process keeps between units: the models of one pair, and recently opened products."""

    def __init__(self, plan: Plan, root: Path, device: str = "auto"):
        self.plan, self.root = plan, root
        self.device = plan.spec.device if device == "auto" else device
        self._pair = ""
        self._models: dict[str, Model] = {}
        self._tokenizers: dict[str, Any] = {}
        self._products = Products()

    def model(self, pair: str, role: str) -> Model:
        """A model of a pair; one without a mask token gets that of the diffusion model."""
        if pair != self._pair:  # one pair in memory at a time
            self._models, self._pair = {}, pair
        found = self._models.pop(role, None) or self._load(pair, role)
        self._models[role] = found  # the last: the one that was used last
        return found

    @property
    def resident(self) -> tuple[str, ...]:
        """The roles whose models are in memory, those unused for longest first."""
        return tuple(self._models)

    def begin(self, unit: Unit) -> None:
        """Let go of models that a unit does not need, where they leave no room for those that it does."""
        needed = {model.role: model for model in models_of(self.plan, unit)}
        if needed and unit.place["pair"] != self._pair:
            self._models, self._pair = {}, str(unit.place["pair"])
        missing = [model for role, model in needed.items() if role not in self._models]
        idle = [role for role in self._models if role not in needed]
        while missing and idle and not self._room(missing):
            del self._models[idle.pop(0)]
            gc.collect()  # hooks and hubs refer to a model in circles
            free_cache()

    def _room(self, missing: Sequence[ModelIdentity]) -> bool:
        """Whether some models can be loaded beside those that are there."""
        limit = self.plan.spec.budget.resident
        if limit is not None:
            return len(self._models) + len(missing) <= limit
        from probe.models.backbone import usable_device

        width = BYTES[self.plan.spec.dtype]
        return sum(width * model.parameters for model in missing) <= ROOM * free_memory(usable_device(self.device))

    def _load(self, pair: str, role: str) -> Model:
        from probe.models.loading import load
        from probe.pairs import lend_mask

        identity, spec = self.plan.pairs[pair], self.plan.spec
        # Self-tests are a stage of their own (`check`), and are not repeated at every load.
        how: dict[str, Any] = {"device": self.device, "device_map": spec.device_map, "dtype": spec.dtype}
        model = load(identity.models[role].source, **how, selftest="off")
        if role != "diffusion":
            lend_mask(model, identity.models["diffusion"].source.paradigm.mask_id)
        return model

    def tokenizer(self, pair: str) -> Any:
        """The pair's tokenizer, without a model if none is loaded."""
        if pair not in self._tokenizers:
            self._tokenizers[pair] = self.plan.pairs[pair].models["ar"].source.tokenizer()
        return self._tokenizers[pair]

    def product(self, digest: str) -> Any:
        """A finished unit's product."""
        unit = self.plan.units[digest]
        stage, folder = known_stage(unit.stage), self.root / "units" / digest
        return self._products.get(digest, lambda: stage.serializer.open(folder, Inputs(self, unit, stage, folder)))


class Inputs:
    """The inputs of one unit. `given["circuit"]` is the product of a need, or a mapping of products along the axis that
    this stage lacks."""

    def __init__(self, context: WorkerContext, unit: Unit, stage: Stage, folder: Path, rows: int | None = None):
        self.unit, self.folder, self.rows = unit, folder, rows
        self.notes: list[str] = []
        self._context, self._stage = context, stage
        self._spec = context.plan.spec

    def __getitem__(self, need: str) -> Any:
        if need not in self.unit.needs:
            raise LookupError(f"the stage {self._stage.name!r} does not declare that it needs {need!r}")
        products = {key: self._context.product(digest) for key, digest in self.unit.needs[need].items()}
        return products[None] if products.keys() == {None} else products

    def setting(self, name: str) -> Any:
        """A setting of the spec that the product depends on."""
        if name not in self._stage.settings:
            raise LookupError(f"the stage {self._stage.name!r} does not declare that it depends on {name!r}")
        return self._spec.setting(name)

    @property
    def threads(self) -> int:
        return self._spec.budget.threads

    @property
    def largest(self) -> int:
        """The maximal number of rows per forward pass."""
        return self._spec.budget.examples

    def note(self, words: str) -> None:
        """Add a note for the reader of the result."""
        self.notes.append(words)

    @property
    def knobs(self) -> Mapping[str, Any]:
        return self.unit.made["knobs"]

    @property
    def seed(self) -> int:
        return int(self.unit.place["seed"])

    @property
    def task(self) -> Task:
        return self._spec.labelled["task"][str(self.unit.place["task"])].made()

    @property
    def reading(self) -> Reading:
        return self._spec.labelled["reading"][str(self.unit.place["reading"])].made()

    @property
    def role(self) -> str:
        return str(self.unit.place["role"])

    @property
    def model(self) -> Model:
        """The model of this unit's role."""
        return self._context.model(str(self.unit.place["pair"]), self.role)

    @property
    def pair(self) -> Pair:
        """The pair, with those controls that the stage loads."""
        from probe.pairs import Pair

        name = str(self.unit.place["pair"])
        pair = self._context.plan.pairs[name]
        roles = pair.models if self._stage.roles is None else self._stage.roles
        controls = {role: self._context.model(name, role) for role in roles if role not in ("ar", "diffusion")}
        return Pair(self._context.model(name, "ar"), self._context.model(name, "diffusion"), controls, name)

    @property
    def names(self) -> dict[str, str]:
        """The names of the pair's models in tables, by role."""
        pair = self._context.plan.pairs[str(self.unit.place["pair"])]
        return {role: model.place for role, model in pair.models.items()}

    @property
    def tokenizer(self) -> Any:
        return self._context.tokenizer(str(self.unit.place["pair"]))

    @property
    def batch(self) -> Batch:
        """The prompts of this place."""
        return self["pool"]

    def with_rows(self, rows: int) -> Inputs:
        """The same, in smaller batches."""
        smaller = Inputs(self._context, self.unit, self._stage, self.folder, rows)
        smaller.notes = self.notes
        return smaller
