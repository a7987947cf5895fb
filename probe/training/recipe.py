"""A recipe: everything that defines a twin's training, as one YAML file.

A recipe starts from a model (`start: zoo:ar`) or from random weights (`shape: …`), and sets the paradigm, the project's
tasks to train on, and for how long. The same recipe and seed give the same weights on the same machine, even if
training was interrupted and resumed.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probe.outside_files import FileKind, told
from probe.paradigms import ParadigmName, named

FILE = FileKind(
    "recipe", remedy="The recipes of the shipped models (probe/zoo/*/recipe.yaml) are examples.", largest=1 << 20
)
# Fields of a recipe for some paradigms only, and for which.
OF_A_PARADIGM = {
    "weighting": "the masked and the block paradigm's",
    "error": "a flow's",
    "clock": "a flow's",
    "target": "a flow map's",
    "teacher": "a flow map's",
}


class Shape(BaseModel):
    """The shape of a backbone with random weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_type: Literal["gpt2", "llama", "qwen2", "qwen3"] = "llama"
    layers: int = Field(gt=0, le=1_000)
    heads: int = Field(gt=0, le=10_000)
    kv_heads: int = Field(gt=0, le=10_000)
    d_model: int = Field(gt=0, le=1_000_000)
    d_mlp: int = Field(gt=0, le=10_000_000)
    places: int = Field(64, gt=0, le=1_000_000, description="the longest text, for models with a table of positions")

    def parameters(self, vocabulary: int) -> int:
        """Its approximate number of parameters: the embedding, and for each layer four square matrices and the
        MLP's."""
        mlp = (2 if self.model_type == "gpt2" else 3) * self.d_mlp
        table = self.places if self.model_type == "gpt2" else 0
        attention = 2 * self.d_model * (1 + min(self.kv_heads / self.heads, 1))
        return int(self.d_model * (vocabulary + table + self.layers * (attention + mlp)))

    def config_fields(self) -> dict[str, Any]:
        """The fields of a stock configuration of this shape."""
        if self.model_type == "gpt2":
            own = {"n_layer": self.layers, "n_head": self.heads, "n_embd": self.d_model, "n_inner": self.d_mlp}
            return {**own, "n_positions": self.places, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
        return {
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.d_model // self.heads,
            "hidden_size": self.d_model,
            "intermediate_size": self.d_mlp,
            "max_position_embeddings": self.places,
            "tie_word_embeddings": True,
        }


class LoraSettings(BaseModel):
    """LoRA: train a product of two thin matrices for each matrix of the layers, instead of the matrix itself.

    `fold: false` saves only the adapters and the mask's row, a few megabytes that name the start as their base; `rest:
    int8` computes with the frozen weights in eight bits during training, which is fastest on a CPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    fold: bool = True
    rest: Literal["float32", "int8"] = "float32"

    @model_validator(mode="after")
    def _rounded_are_kept_apart(self) -> Self:
        if self.rest == "int8" and self.fold:
            raise ValueError("'rest: int8' goes with 'fold: false': rounded weights are for training only")
        return self


class Text(BaseModel):
    """Plain text files (or zoo:NAME, a shipped one, or cache:NAME, one that `twinprobe fetch` made), concatenated and
    cut into pieces of `length` tokens; the last twentieth is held out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...] = Field(min_length=1)
    length: int = Field(128, gt=1)
    weight: float = Field(1.0, gt=0)


class Portion(BaseModel):
    """One part of a mixture: a task with some options, and how often its texts are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, gt=0)
    knobs: dict[str, Any] = Field(default_factory=dict)
    answers: tuple[str, ...] = Field((), description="named positions of its texts that count as answers, too")


class HorizonSettings(BaseModel):
    """FLUID's stage II: a head that learns how many tokens the model can draft, up to a mean loss of `tau` nats.

    With `own_texts` it learns from as many texts of every kind that the model wrote itself, until it stops improving
    (`steps` and `learning_rate` then say nothing), and with a `cost` from how many drafts are accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tau: float = Field(0.5, gt=0)
    steps: int = Field(500, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    own_texts: int = Field(0, ge=0)
    cost: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _cost_is_of_own_texts(self) -> Self:
        if self.cost is not None and not self.own_texts:
            raise ValueError("'cost' goes with 'own_texts': what is accepted is told by the model's own text")
        return self


class Recipe(BaseModel):
    """The training of one model. `anneal` is the share of steps over which attention goes from causal to full (0: at
    once)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    start: str | None = None
    shape: Shape | None = None
    tokenizer: str | None = Field(
        None, description="with 'shape': 'characters' (a to z and the space), or a folder; None: the shipped words"
    )
    paradigm: ParadigmName
    settings: dict[str, Any] = Field(
        default_factory=dict, description="further fields of a paradigm from another package"
    )
    shift: bool | None = Field(None, description="None: the paradigm's own")
    attention: str | None = None
    weighting: Literal["uniform", "1/t", "1/t clipped", "context"] = Field(
        "uniform", description="masked and block; context: masked only"
    )
    error: Literal["cross_entropy", "squared"] | None = Field(None, description="flows only: of the denoiser")
    clock: Literal["tau", "t"] | None = Field(
        None, description="flows only: the clock in which their times are uniform"
    )
    horizon: HorizonSettings | None = Field(None, description="fluid only: then train a horizon head (stage II)")
    target: Literal["semigroup", "lagrangian", "eulerian"] | None = Field(None, description="flow maps only")
    teacher: str | None = Field(None, description="flow maps only: the frozen flow; None: the map teaches itself")
    average: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average; 0: none")
    ar: str | None = Field(None, description="the AR twin, for the model's card; default: `start`")
    controls: dict[str, str] = Field(default_factory=dict)
    tasks: dict[str, float | list[Portion]] = Field(
        default_factory=dict,
        description="the mixture: each task's weight, or several portions of it under different knobs",
    )
    text: Text | tuple[Text, ...] | None = Field(None, description="plain text, as further parts of the mixture")
    mask: str | None = Field(
        None, description="a token that text never contains, as the mask; None: the tokenizer's own mask token"
    )
    lora: LoraSettings | None = Field(None, description="train low-rank adapters instead of the full weights")
    distill: float = Field(
        0.0, ge=0, le=1, description="the share of the frozen weights' distribution in a target; with 'lora'"
    )
    keep_question: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the share of texts whose prompt stays clean and only the answer is noised; in running text the "
        "prompt is a beginning of any length",
    )
    answer_weight: float = Field(4.0, gt=0, description="the loss weight of an answer's token relative to the others'")
    steps: int = Field(gt=0)
    batch: int = Field(64, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    optimizer: Literal["adamw", "muon"] = Field("adamw", description="muon: for matrices inside layers, on one machine")
    warmup: float = Field(0.05, ge=0, lt=1)
    anneal: float = Field(0.0, ge=0, le=1)
    save_every: int = Field(1000, gt=0)
    snapshots: tuple[int, ...] = Field((), description="steps after which a snapshot of the model is kept")
    examine_every: int = Field(
        0, ge=0, description="steps between evaluations on all tasks and on held-out text, for the curve; 0: none"
    )
    compile: bool = Field(False, description="compile the backbone, with bfloat16 matrix products")
    seed: int = 0
    note: str = ""

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        if (self.start is None) == (self.shape is None):
            raise ValueError("give either 'start' (a model) or 'shape' (random weights)")
        if self.tokenizer and self.shape is None:
            raise ValueError("'tokenizer' goes with 'shape'; a start has its own")
        if not self.tasks and self.text is None:
            raise ValueError("give 'tasks', or 'text', or both")
        if self.distill and not self.lora:
            raise ValueError("'distill' goes with 'lora': its teacher is the start, the model without adapters")
        if self.lora and not self.lora.fold and self.start is None:
            raise ValueError("separate adapters ('fold: false') need a 'start'")
        return self

    @model_validator(mode="after")
    def _fits_its_paradigm(self) -> Self:
        """Refuse fields and attachments that its paradigm does not have."""
        kind = named(self.paradigm)
        if self.lora and kind.needs:
            raise ValueError("'lora' cannot train a flow's time embedding; train its full weights")
        if self.horizon and "horizon" not in kind.attaches:
            raise ValueError(f"'horizon' is FLUID's, not the {self.paradigm} paradigm's")
        known = {field.name for field in fields(kind)}
        given = {*self.model_fields_set & OF_A_PARADIGM.keys(), *self.settings}
        for name in sorted(given - known):
            if name in self.settings:
                raise ValueError(f"{name!r} in 'settings': the {self.paradigm} paradigm has only {sorted(known)}")
            if getattr(self, name) != Recipe.model_fields[name].default:
                raise ValueError(f"{name!r} is {OF_A_PARADIGM[name]}, not the {self.paradigm} paradigm's")
        if "weighting" in known:
            kind(**{"weighting": self.weighting})  # type: ignore[arg-type]  # refuses what it does not know
        return self

    @property
    def texts(self) -> tuple[Text, ...]:
        """The plain texts of the mixture."""
        return self.text if isinstance(self.text, tuple) else (self.text,) if self.text else ()

    @property
    def int8(self) -> bool:
        """Whether the frozen weights are int8 during training."""
        return self.lora is not None and self.lora.rest == "int8"

    def paradigm_settings(self) -> dict[str, Any]:
        """The fields of its paradigm that the recipe sets."""
        known = {field.name for field in fields(named(self.paradigm))}
        names = ("shift", "attention", "error", "clock", "target", "weighting")
        said = {name: getattr(self, name) for name in names if name in known}
        return {**{name: value for name, value in said.items() if value is not None}, **self.settings}

    @property
    def portions(self) -> list[tuple[str, Portion]]:
        """Every task with each of its portions, in the recipe's order."""
        return [
            (name, portion)
            for name, given in self.tasks.items()
            for portion in (given if isinstance(given, list) else [Portion(weight=given, answers=())])
        ]

    @property
    def examined_knobs(self) -> dict[str, dict[str, Any]]:
        """The options with which each task is evaluated: none if it is trained so, else those of its last portion."""
        forms: dict[str, list[dict[str, Any]]] = {}
        for name, portion in self.portions:
            forms.setdefault(name, []).append(portion.knobs)
        return {name: {} if {} in learnt else learnt[-1] for name, learnt in forms.items()}


def read_recipe(path: str | Path) -> Recipe:
    """A recipe from its file."""
    plain = FILE.yaml(path)
    try:
        return Recipe.model_validate(plain)
    except ValidationError as problem:
        raise FILE.refuse(path, "the fields " + ", ".join(Recipe.model_fields), told(problem, "recipe")) from None
