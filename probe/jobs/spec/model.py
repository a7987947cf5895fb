"""The spec: a job's question, as one YAML file.

    pairs: [zoo:masked]
    tasks: [ioi, {task: countdown, numbers: 3}]
    readings: [prefix, {reading: ratio, rate: 0.5}]
    measures: [front_loading, {measure: faithfulness, draws: 20}]
    seeds: [0, 1]

Every combination of these is one unit of work. Each part of a spec is checked by the code that uses it: a task's
knobs by the task, a measure's by the measure. `probe.jobs.spec.file` reads it from a file and gives the line of an
error.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from probe.errors import ProbeError
from probe.jobs.stages.registry import checked_knobs, known_stage, renamed
from probe.readings.registry import named as named_reading
from probe.readings.registry import refuse_unknown
from probe.tasks import task as named_task

if TYPE_CHECKING:
    from probe.readings import Reading
    from probe.tasks import Task

_STRICT = ConfigDict(extra="forbid", frozen=True, str_min_length=1)
MOST_OF_EACH = 100  # pairs, tasks, readings or measures; each unknown name costs a search for the nearest
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class PairSpec(BaseModel):
    """A pair: a diffusion model whose AR twin is declared (`pair: zoo:masked`), or two models (`ar`, `diffusion`)."""

    model_config = _STRICT

    pair: str | None = Field(None, description="zoo:NAME, a catalog name, or a folder whose AR twin is declared")
    ar: str | None = Field(None, description="the autoregressive model: zoo:NAME, a folder, a GGUF, a name")
    diffusion: str | None = Field(None, description="its diffusion twin")
    controls: bool | dict[str, str] = Field(True, description="the declared controls (true), none, or models by name")
    name: str | None = Field(None, description="its name in results; default: the diffusion model's place")
    paradigm: str | None = None
    mask_id: int | None = Field(None, ge=0)
    shift: bool | None = None
    attention: str | None = None

    @field_validator("paradigm")
    @classmethod
    def _known_paradigm(cls, paradigm: str | None) -> str | None:
        if paradigm is not None:
            from probe.paradigms import named  # takes seconds to import, and few specs name a paradigm

            named(paradigm)
        return paradigm

    @model_validator(mode="after")
    def _has_places(self) -> Self:
        both = self.ar is not None and self.diffusion is not None
        if (self.pair is None) != both or (self.pair and (self.ar or self.diffusion)):
            raise ValueError(
                "either 'pair' (a diffusion model whose AR twin is declared), or both 'ar' and 'diffusion'"
            )
        return self

    @property
    def label(self) -> str:
        return self.name or str(self.pair or self.diffusion)

    @property
    def settings(self) -> dict[str, Any]:
        """The declaration of the diffusion model."""
        said = {name: getattr(self, name) for name in ("paradigm", "mask_id", "shift", "attention")}
        return {name: value for name, value in said.items() if value is not None}


class _Named(BaseModel):
    """A name with knobs."""

    model_config = ConfigDict(extra="allow", frozen=True, str_min_length=1)

    @property
    def knobs(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def _called(self, name: str) -> str:
        said = ", ".join(f"{knob}={value}" for knob, value in sorted(self.knobs.items()))
        return f"{name}({said})" if said else name


class TaskSpec(_Named):
    """A task with its knobs: `{task: countdown, numbers: 3}`; or a JSONL file of your own."""

    task: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        _understood(self.made)
        return self

    def made(self) -> Task:
        return named_task(self.task, **self.knobs)

    @property
    def label(self) -> str:
        return self._called(self.task)


class ReadingSpec(_Named):
    """A reading with its knobs: `{reading: ratio, rate: 0.5}`."""

    reading: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        refuse_unknown(self.reading)
        if self.knobs:  # the class checks them, and takes seconds to import
            _understood(self.made)
        return self

    def made(self) -> Reading:
        return named_reading(self.reading, **self.knobs)

    @property
    def label(self) -> str:
        return self._called(self.reading)


class MeasureSpec(_Named):
    """A measure with its knobs: `{measure: faithfulness, draws: 20}`."""

    measure: str

    @field_validator("measure")
    @classmethod
    def _by_its_new_name(cls, name: str) -> str:
        return renamed(name)

    @model_validator(mode="after")
    def _known(self) -> Self:
        checked_knobs(known_stage(self.measure), self.knobs)
        return self

    @property
    def label(self) -> str:
        return self._called(self.measure)


class Budget(BaseModel):
    """The effort. `examples`, `solved` and `resamples` affect the numbers; the rest only the speed."""

    model_config = _STRICT

    examples: int = Field(256, gt=0, le=1_000_000, description="prompts of each task")
    solved: bool | Literal["over_distractor"] = Field(
        True,
        description="only prompts that both twins of the pair answer right; over_distractor: that prefer the right "
        "token to the distractor, whatever else they would rather write",
    )
    resamples: int = Field(2000, gt=0, le=10_000_000, description="bootstrap resamples for each interval")
    batch: int | None = Field(
        None, gt=0, le=1_000_000, description="prompts in one forward pass; halved when memory runs out"
    )
    threads: int = Field(1, gt=0, le=1024, description="CPU threads of one unit, however many run beside it")
    workers: int | None = Field(None, ge=0, le=1024, description="processes; null: one per core or GPU; 0: none")
    resident: int | None = Field(
        None, gt=0, le=1000, description="models a process keeps from unit to unit; null: as many as fit in memory"
    )
    gpus: float = Field(1.0, gt=0, le=1024, description="on a cluster: GPUs of one unit; 0.5 lets two share one")
    minutes: float | None = Field(None, gt=0, le=1_000_000, description="no further unit is begun after this time")


def _short(key: str) -> BeforeValidator:
    """A bare name means a mapping with only the name."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class Spec(BaseModel):
    """A job."""

    model_config = _STRICT

    name: str = Field("job", description="the report's title")
    question: str = Field(
        "What changes inside a language model when an autoregressive one becomes a diffusion one?",
        description="the sentence that the report answers",
    )
    pairs: tuple[Annotated[PairSpec, _short("pair")], ...] = Field(min_length=1)
    tasks: tuple[Annotated[TaskSpec, _short("task")], ...] = Field(min_length=1)
    readings: tuple[Annotated[ReadingSpec, _short("reading")], ...] = Field(
        default_factory=lambda: (ReadingSpec(reading="prefix"),), min_length=1
    )
    measures: tuple[Annotated[MeasureSpec, _short("measure")], ...] = Field(min_length=1)
    shared: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="knobs of stages that measures share: {circuit: {steps: 10}}"
    )
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    device_map: str | dict[str, str | int] | None = Field(
        None, description="how a model is spread over devices, CPU and disk: auto, balanced, or a place by module"
    )
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    catalog: str | None = Field(None, description="a YAML file of catalog rows of one's own")
    budget: Budget = Field(default_factory=lambda: Budget.model_validate({}))
    output: str = Field("runs/job", description="the run folder")

    @field_validator("device")
    @classmethod
    def _usable(cls, device: str) -> str:
        if device in ("auto", "cpu"):
            return device
        from probe.models.backbone import usable_device  # asks torch, which takes seconds to import

        _understood(lambda: usable_device(device))
        return device

    @field_validator("shared")
    @classmethod
    def _known_knobs(cls, shared: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, knobs in shared.items():
            checked_knobs(known_stage(name), knobs)
        return shared

    @field_validator("pairs", "tasks", "readings", "measures", mode="before")
    @classmethod
    def _few(cls, many: Any) -> Any:
        if isinstance(many, list | tuple) and len(many) > MOST_OF_EACH:
            raise ValueError(f"at most {MOST_OF_EACH} of them (split it into several jobs)")
        return many

    @field_validator("pairs", "tasks", "readings", "measures", "seeds")
    @classmethod
    def _each_once(cls, many: tuple[Any, ...]) -> tuple[Any, ...]:
        labels = [getattr(one, "label", one) for one in many]
        twice = [str(label)[:60] for label, times in Counter(map(str, labels)).items() if times > 1][:5]
        if twice:
            raise ValueError(f"each once, but {', '.join(twice)} occurs more than once (pairs can be given a name)")
        return many

    def setting(self, name: str) -> Any:
        """A setting of the spec that affects numbers: its tasks or readings, or a part of the budget."""
        if name in ("tasks", "readings"):
            return [one.made() for one in getattr(self, name)]
        return getattr(self.budget, name)

    @cached_property
    def labelled(self) -> dict[str, dict[str, Any]]:
        """The values of each axis, by label."""
        axes = {"pair": self.pairs, "task": self.tasks, "reading": self.readings}
        return {axis: {one.label: one for one in many} for axis, many in axes.items()}


def _understood(make: Any) -> Any:
    """Report a value of the wrong type like one of the wrong size."""
    try:
        return make()
    except ProbeError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as problem:
        raise ValueError(str(problem)) from None
