"""The catalog: how each public checkpoint is declared, as data.

A checkpoint does not say which attention its weights were trained with, which slot predicts a token, or which ordinary
token it uses as its mask. The catalog does, one `Entry` per row, in `catalog.yaml`; a user's own rows come from a file
of the same form (an argument, or the environment variable TWINPROBE_CATALOG), and a folder may have its own as
`twinprobe.json`. The self-tests then check the declaration against the weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from probe.errors import CheckpointError, nearest
from probe.outside_files import FileKind, told, type_name
from probe.paradigms import Paradigm, ParadigmName, named
from probe.paradigms.sampler import Sampler
from probe.paradigms.visibility import refuse_unknown

OWN_ENTRY = "twinprobe.json"  # the name of a folder's own entry
FILE = FileKind("catalog", CheckpointError, "Check the path, and mend that line.", largest=1 << 20)
_SHIPPED = Path(__file__).with_name("catalog.yaml")


class AdaptersOf(BaseModel):
    """How the adapters in a folder are folded into the weights of its `ar`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(gt=0)
    alpha: float = Field(gt=0)


class Entry(BaseModel):
    """The declaration of one checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    paradigm: ParadigmName
    ar: str | None = Field(None, description="the AR model that it was made from")
    controls: dict[str, str] = Field(default_factory=dict, description="further models to compare with, by name")
    mask_id: int | Literal["config"] | None = Field(None, description="the mask token; 'config' reads config.json")
    mask_is_text: bool = Field(False, description="the mask is an ordinary token that text may hold")
    shift: bool = True
    clean_shift: bool | None = None
    attention: str | None = Field(None, description="None: the paradigm's own")
    clock: Literal["tau", "t"] | None = Field(None, description="flows: the clock in which their times are uniform")
    settings: dict[str, Any] = Field(default_factory=dict, description="further fields of its paradigm")
    sampler: Sampler | None = None
    adapters: AdaptersOf | None = Field(None, description="the folder has only adapters, for the weights of `base`")
    base: str | None = Field(None, description="adapters: the model that they were trained with")
    format: str | None = Field(None, description="the published format (probe.models.formats) of the family")
    unmarked: dict[str, Any] = Field(
        default_factory=dict,
        description="fields of config.json, if these alone distinguish it from another model",
    )
    note: str = ""
    checked: str = Field("", description="where its facts were looked up, and which could not be")
    sample: tuple[str, ...] = Field((), description="text in the model's language, for its self-tests")

    @field_validator("mask_id", mode="before")
    @classmethod
    def _no_flag(cls, mask: Any) -> Any:
        if isinstance(mask, bool):
            raise ValueError("an id, not true or false")
        return mask

    @field_validator("settings")
    @classmethod
    def _not_twice(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Fields of the row itself are no settings: the row would say one thing, and the model do another."""
        twice = sorted(settings.keys() & {"attention", "clean_shift", "clock", "mask_id", "shift"})
        if twice:
            raise ValueError(f"{', '.join(twice)} beside `settings`, not in it")
        return settings

    @field_validator("attention")
    @classmethod
    def _known(cls, attention: str | None) -> str | None:
        if attention is not None:
            refuse_unknown(attention)
        return attention

    def to_paradigm(self, mask_id: int | None) -> Paradigm:
        kind = named(self.paradigm)
        own = {name: value for name in ("attention", "clock") if (value := getattr(self, name)) is not None}
        given = {**own, **self.settings}
        known = [field.name for field in fields(kind)]
        for name in given:
            if name not in known:
                raise CheckpointError(
                    f"the declaration of model {self.name!r}",
                    expected=f"fields of the paradigm {kind.name!r}: " + ", ".join(known),
                    found=repr(name),
                    remedy=nearest(name, known),
                )
        return kind(mask_id=mask_id, shift=self.shift, clean_shift=self.clean_shift, **given)


def entries(extra: str | Path | None = None) -> list[Entry]:
    """All rows: the user's own first (`extra`, or the file named by TWINPROBE_CATALOG), then the shipped ones."""
    own = extra or os.environ.get("TWINPROBE_CATALOG")
    return [*(_read(Path(own)) if own else ()), *_shipped()]


@cache
def _shipped() -> tuple[Entry, ...]:
    return tuple(_read(_SHIPPED))


def _read(path: Path) -> list[Entry]:
    rows = FILE.yaml(path)
    if not isinstance(rows, list):
        expected = "a list of rows, each with at least name and paradigm"
        raise FILE.refuse(path, expected, type_name(rows), "Start each row with '- name: …'.")
    return [validated(row, f"catalog {path}, row {number}") for number, row in enumerate(rows, 1)]


def validated(row: Any, thing: str) -> Entry:
    """An entry from plain data, or an error that names every field at fault."""
    try:
        return Entry.model_validate(row)
    except ValidationError as problem:
        raise CheckpointError(
            thing,
            expected="the fields " + ", ".join(Entry.model_fields),
            found=told(problem, "row"),
            remedy="See `twinprobe catalog` for valid rows.",
        ) from None


def hub_repository(where: str) -> str | None:
    """The repository whose snapshot a folder of the Hub's cache is: …/models--ORG--NAME/snapshots/HASH → ORG/NAME."""
    path = os.path.expanduser(where)
    for parts in (Path(os.path.abspath(path)).parts, Path(os.path.realpath(path)).parts):
        for folder, snapshots in pairwise(parts):
            if folder.startswith("models--") and snapshots == "snapshots":
                return folder.removeprefix("models--").replace("--", "/", 1)
    return None


def is_named(row: Entry, where: str) -> bool:
    """Whether a row is about a place: its repository, or a folder of that name; not another repository of the same
    name."""
    repository = hub_repository(where) or (None if os.path.exists(os.path.expanduser(where)) else where)
    return row.name == repository if repository is not None else row.name.rpartition("/")[2] == _called(where)


def entry_for(where: str, rows: list[Entry]) -> Entry | None:
    """The declaration of a checkpoint by its name, or by the name of its folder or of its repository."""
    itself = next((row for row in rows if is_named(row, where)), None)
    called = _called(where)
    return itself or next((row for row in rows if row.name.rpartition("/")[2] == called), None)


def _called(where: str) -> str:
    """The last part of a repository's or a folder's name."""
    return os.path.basename(hub_repository(where) or os.path.abspath(where))  # of "." too


def entry_of_unmarked(where: str, config: Mapping[str, Any], rows: list[Entry], asked: Asked) -> Entry | None:
    """The declaration of a checkpoint whose files look like a plain AR model's.

    A DiffuLLaMA has a LLaMA's keys and configuration. Loaded as one it would be run as an AR model, silently wrong; so
    if neither a name nor the caller identifies it, the caller has to.
    """
    alike = [row for row in rows if row.unmarked and all(config.get(name) == of for name, of in row.unmarked.items())]
    if asked.paradigm is not None or asked.mask_id is not None:
        return next((row for row in alike if asked.fits(row)), None)
    named = hub_repository(where) is not None or _called(where) in {
        row.ar.rpartition("/")[2] for row in rows if row.ar is not None
    }
    if alike and not named:
        raise CheckpointError(
            f"checkpoint {where}",
            expected="a name that identifies it",
            found="files of a plain AR model, or of " + ", ".join(row.name for row in alike),
            remedy="Pass paradigm='autoregressive', or "
            + " or ".join(f"paradigm={row.paradigm!r}, mask_id={row.mask_id}" for row in alike)
            + "; or name the folder like the repository that it is from.",
        )
    return None


@dataclass(frozen=True)
class Asked:
    """What the caller declares: a paradigm's name, a mask."""

    paradigm: str | None
    mask_id: int | None

    def fits(self, row: Entry) -> bool:
        return self.paradigm in (None, row.paradigm) and self.mask_id in (None, row.mask_id)


def entry_of_format(
    where: str, format: str, rows: list[Entry], *, paradigm: str | None = None, mask_id: int | None = None
) -> Entry | None:
    """The common declaration of all checkpoints of a published format.

    A format decides only what all of its rows declare equally. If they differ, a paradigm or a mask id from the caller
    or config.json may leave one of them; otherwise the caller must identify it. A row's mask id is a default for its
    own repository, so it does not exclude other repositories of the format.
    """
    family = [row for row in rows if row.format == format and paradigm in (None, row.paradigm)]
    family = [row for row in family if mask_id == row.mask_id] or family
    declared = {
        (row.paradigm, row.mask_id if mask_id is None else mask_id, row.shift, row.clean_shift, row.attention)
        for row in family
    }
    if len(declared) > 1 and paradigm is None:
        raise CheckpointError(
            f"checkpoint {where}",
            expected=f"a name that identifies the {format} model",
            found="rows that differ: " + ", ".join(row.name for row in family),
            remedy="Name the folder like one of them, or pass paradigm=, mask_id=, shift= and attention=.",
        )
    return family[0] if len(declared) == 1 else None
