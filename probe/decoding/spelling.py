"""Tokens in a rule: ids, or words as the model's vocabulary spells them, which become ids before a run.

A rule may be in a spec, or on a command line, where ids are not known: `{order: confidence, stop: ["."]}`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from probe.errors import ProbeError, nearest

if TYPE_CHECKING:
    from probe.models.model import Model

R = TypeVar("R")
FIELDS = ("suppress", "stop")  # of rules, that hold tokens


def with_ids(model: Model, rule: R) -> R:
    """The rule with the model's ids instead of words; a word that is not a token is refused."""
    said = {name: tokens for name in FIELDS if (tokens := getattr(rule, name, ()))}
    if not said:
        return rule
    made: dict[str, Any] = {name: tuple(_id(model, token, name) for token in tokens) for name, tokens in said.items()}
    return replace(rule, **made)  # type: ignore[type-var]  # rules are dataclasses


def _id(model: Model, token: int | str, where: str) -> int:
    if isinstance(token, str):
        known = model.tokenizer.get_vocab()
        if token in known:
            return known[token]
        raise ProbeError(
            f"{where} {token} for {model.name}",
            expected="a token of its vocabulary",
            found=repr(token),
            remedy=nearest(token, list(known)),
        )
    if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < model.vocabulary:
        raise ProbeError(
            f"{where} for model {model.name!r}",
            expected=f"tokens from 0 to {model.vocabulary - 1}",
            found=str(token),
            remedy="Encode them with this model's own tokenizer.",
        )
    return token
