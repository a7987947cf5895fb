"""Where a measure does not apply: to models that are not twins, and to two readings that ask the same question.

A flow that was trained from random weights can be compared with an AR model in its behaviour, but not part by part: its
layer 3 is not the AR model's layer 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.jobs.spec.model import Spec
    from probe.models.catalog import Entry


def needs_twins(place: Mapping[str, Any], spec: Spec) -> str | None:
    """Why a measure that compares the models weight by weight or edge by edge does not apply to a pair."""
    where, entry = _declared(place, spec)
    if entry is None or entry.ar is not None:
        return None
    return f"no twin: {where} was trained from random weights, so none of its parts corresponds to one of the AR model"


def _declared(place: Mapping[str, Any], spec: Spec) -> tuple[str, Entry | None]:
    """The place of a pair's diffusion model, and its declaration."""
    from probe.models.source import Declared, Source

    pair = spec.labelled["pair"][place["pair"]]
    where = str(pair.pair or pair.diffusion)
    return where, Source(where, spec.catalog, Declared(**pair.settings)).entry


def writes_token_by_token(place: Mapping[str, Any], spec: Spec) -> str | None:
    """Why a measure of when tokens are written does not apply to a flow, which writes all of them at the end."""
    where, entry = _declared(place, spec)
    if entry is not None and entry.paradigm in ("flow", "flow_map"):
        return f"{where} is a flow: it writes all of its tokens at the end, so none before another"
    return writes_at_the_end(place, spec)


def writes_at_the_end(place: Mapping[str, Any], spec: Spec) -> str | None:
    """Why a measure that decodes a completion does not apply to a task that leaves a blank in the middle."""
    if spec.labelled["task"][place["task"]].task != "infilling":
        return None
    return "its blank is in the middle of a text, and decoding writes at the end"


def writes_several(place: Mapping[str, Any], spec: Spec) -> str | None:
    """Why a measure of tokens that are not yet written does not apply to a task with answers of one token."""
    if spec.labelled["task"][place["task"]].task in ("ioi", "greater_than", "induction"):
        return "its answers are one token, so no later token can be read"
    return writes_token_by_token(place, spec)


def asks_once(place: Mapping[str, Any], spec: Spec) -> str | None:
    """Why a measure that pairs both models' states does not apply to a reading that asks the diffusion model several
    times, in states that the AR model never sees."""
    reading = spec.labelled["reading"][place["reading"]].reading
    if reading in ("ar", "prefix", "one_mask"):
        return None
    return f"under {reading!r} the diffusion model is asked several times, and the AR model once"
