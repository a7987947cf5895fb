"""One prompt of each task in a report: clean and corrupt, with each model's answer to both.

A reader needs to see the question that two models are compared on. A result that has one keeps it in
`about["example"]`: the tokens of both prompts, with those that differ and those that are asked marked, the right
answers, and each model's answers. The models' accuracies are the result's own table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from probe.jobs.report import formatting
from probe.jobs.report.models import HUES, WORDS, canonical
from probe.jobs.run_folder import Entry
from probe.tasks.show import Token

if TYPE_CHECKING:
    import pandas as pd

WHICH = ("clean", "corrupt")


@dataclass(frozen=True)
class Said:
    """One model's answer to the clean prompt and to the corrupt one, and how often it is right."""

    model: str
    role: str
    hue: str
    clean: str
    corrupt: str
    wrong: tuple[bool, bool]
    accuracy: str


@dataclass(frozen=True)
class Prompt:
    """One example of a task, with a pair's answers."""

    pair: str
    task: str
    reading: str
    clean: tuple[Token, ...]
    corrupt: tuple[Token, ...]
    right: tuple[str, str]
    said: tuple[Said, ...]


def prompts(example: Any, table: pd.DataFrame, unit: Entry) -> list[Prompt]:
    """The example of one result, if it holds one that can be read; a list, since most do not."""
    try:
        right = (str(example["right"]["clean"]), str(example["right"]["corrupt"]))
        clean, corrupt = (
            tuple(_token(token, answer) for token in example[which]) for which, answer in zip(WHICH, right, strict=True)
        )
        said = tuple(_said(one, table) for one in example["said"])
    except (KeyError, TypeError, AttributeError):
        return []
    several = " or another" if example.get("several") else ""
    return [Prompt(unit.pair, unit.task, unit.reading, clean, corrupt, (right[0] + several, right[1] + several), said)]


def _token(token: Mapping[str, Any], answer: str) -> Token:
    """A token of a prompt; for the asked one, the right answer to that prompt."""
    marks = [bool(token[name]) for name in ("changed", "masked", "asked")]
    return Token(answer if marks[-1] else str(token["text"]), *marks)


def _said(one: Mapping[str, Any], table: pd.DataFrame) -> Said:
    role = canonical(str(one["role"])) or str(one["role"])
    words = [f"{one[which]['token']} ({formatting.as_float(one[which]['p']):.0%})" for which in WHICH]
    wrong = (one["clean"].get("right") is False, one["corrupt"].get("right") is False)
    mine = table.loc[table["model"].astype(str) == str(one["model"]), :] if "model" in table else table.head(0)
    row = mine.iloc[0].to_dict() if len(mine) else {}
    accuracy = formatting.shown(row.get("estimate"), row.get("low"), row.get("high"))
    return Said(str(one["model"]), WORDS.get(role, role), HUES.get(role, ""), *words, wrong=wrong, accuracy=accuracy)


def by_prompt(found: tuple[Prompt, ...]) -> list[list[Prompt]]:
    """The prompts by task, those with the most pairs first, with each model's answer once per prompt."""
    tasks: dict[str, dict[tuple, list[Prompt]]] = {}
    for prompt in found:
        tasks.setdefault(prompt.task, {}).setdefault((prompt.clean, prompt.corrupt, prompt.reading), []).append(prompt)
    return [[_merged(same) for same in sorted(of.values(), key=len, reverse=True)] for of in tasks.values()]


def _merged(same: list[Prompt]) -> Prompt:
    said = {one.model: one for prompt in same for one in prompt.said}
    pairs = ", ".join(dict.fromkeys(prompt.pair for prompt in same))
    return replace(same[0], pair=pairs, said=tuple(said.values()))


def words_of(tokens: tuple[Token, ...]) -> str:
    """A prompt as one line: {changed between clean and corrupt}, [masked], [?asked]."""
    said = []
    for token in tokens:
        words = f"{{{token.text}}}" if token.changed and not token.masked else token.text
        said.append(f"[?{words}]" if token.asked else f"[{words}]" if token.masked else words)
    return " ".join(said)
