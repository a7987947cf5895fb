"""The shipped models: a folder each, with weights, what is declared of them, the recipe that makes them, and a card.

`zoo:masked` is a model; `zoo:masked@500` is what it was after 500 steps of its training, where such snapshots are kept.
"""

from __future__ import annotations

from pathlib import Path

from probe.cache import cached
from probe.errors import CheckpointError, nearest
from probe.outside_files import is_file

_HERE = Path(__file__).parent
TEXTS = _HERE / "texts"
STUDIES = _HERE / "studies"
FETCHED = ("smollm2",)  # bases too large to be shipped: `twinprobe fetch` puts them into the user's cache
CHARACTERS = _HERE / "characters"  # a tokenizer of 27 characters, as text8 has them: a to z, and all else a space


def shipped() -> list[str]:
    """The names of the shipped models, as in zoo:NAME."""
    return sorted(file.parent.name for file in _HERE.glob("*/config.json"))


def adapted() -> list[str]:
    """The names of the shipped twins whose base is fetched: adapters alone."""
    return sorted(file.parent.name for file in _HERE.glob("*/adapters.safetensors"))


def snapshots(name: str) -> list[str]:
    """The names of a shipped model's snapshots, the earliest first."""
    kept = [file.parent.name for file in (zoo_folder(name) / "snapshots").glob("step-*/twinprobe.json")]
    return [f"{name}@{step}" for step in sorted(int(each.removeprefix("step-")) for each in kept)]


def zoo_folder(name: str) -> Path:
    """The folder of a shipped model, or of a snapshot on its way; of a base, the one that it was fetched into."""
    model, at, step = name.partition("@")
    if name in FETCHED:
        return cached(name)
    known = sorted({*shipped(), *adapted(), *FETCHED})
    if model not in known:
        raise _unknown(name, "a shipped model", known)
    folder = _HERE / model / "snapshots" / f"step-{step}" if at else _HERE / model
    if not is_file(folder / "config.json") and not is_file(folder / "adapters.safetensors"):
        raise _unknown(name, f"a snapshot of zoo:{model}", snapshots(model))
    return folder


def curves() -> list[str]:
    """The trainings whose curves are kept: of shipped models, and of some that were made to be compared with alone."""
    return sorted({file.parent.name for file in (*_HERE.glob("*/curve.csv"), *_HERE.glob("curves/*/curve.csv"))})


def curve_folder(name: str) -> Path:
    """The folder of a training's curve and recipe."""
    if name not in curves():
        raise _unknown(name, "a training whose curve is kept", curves())
    return _HERE / name if (_HERE / name / "curve.csv").is_file() else _HERE / "curves" / name


def studies() -> list[str]:
    """The names of the studies whose results are kept, since their models are fetched and their runs take long."""
    return sorted(folder.name for folder in STUDIES.glob("*") if any(folder.glob("*.parquet")))


def study(name: str) -> list[Path]:
    """The result files of a kept study, as `twinprobe run` left them: `Result.open` reads each."""
    if name not in studies():
        raise _unknown(name, "a kept study", studies())
    return sorted((STUDIES / name).glob("*.parquet"))


def text_file(name: str) -> Path:
    """The file of a shipped text."""
    file = TEXTS / f"{name}.txt"
    if not is_file(file):
        raise _unknown(name, "a shipped text", sorted(each.stem for each in TEXTS.glob("*.txt")))
    return file


def _unknown(name: str, expected: str, known: list[str]) -> CheckpointError:
    remedy = nearest(f"zoo:{name}", [f"zoo:{each}" for each in known])
    return CheckpointError(f"zoo:{name}", expected=expected, found="none of that name", remedy=remedy)
