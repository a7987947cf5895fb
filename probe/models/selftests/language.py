"""Tests that need language: do the weights predict text best with the declared attention and shift?

Tokens are hidden in windows of text and predicted in the declared way and in another one; the two are compared over
tokens, in pairs. Weights that do not know the text (random ones, another language) can favour either way by accident,
because they make the same guess at every mask; so a model is judged only if it predicts the text far better than chance
in one of the two ways. Otherwise the test is undecided, which is "not run".

The text is the one that the model's row declares. Without a row (a copied folder) it is the first of the package's own
texts that the tokenizer can write: English, or the languages of the shipped models. Nothing else can stand in for text:
on repeated random tokens, `zoo:text-masked` copies better from the slot that does not predict. So where no text fits,
the finding says how to check, and the model's repr says that its shift and attention are taken on trust.

Both tests use the pass under the declared attention, so a load makes it once for both (`HiddenText.trunk`). The cost is
two passes over the windows (three if the declared attention is neither "causal" nor "full"): a fifth of a second of a
CPU for a shipped model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from probe.models.catalog import OWN_ENTRY
from probe.models.checkpoint import FILE
from probe.models.model import Model
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding
from probe.zoo import zoo_folder

CLEAR = 3.0  # standard errors by which one way must win over the other
KNOWN = 0.9  # a model knows the text if one way's NLL is below this share of that of a uniform guess
LENGTH = 32  # tokens of a window at most
APART = 5  # places from one hidden token to the next: the slots that predict one stay clear of the other
UNKNOWN = 0.2  # a tokenizer cannot write a text if more than this share of its tokens is unknown
ROWS, MOST = 24, 512  # windows for a large model; hidden tokens for one so small that more cost nothing
MOST_OF_A_LINE, MOST_TEXT = 10_000, 100_000  # characters of a sample that are read
SPEAKERS = ("ar", "text-ar")  # shipped models whose declared texts other models may know
HOW = (
    f"; to check, put lines of its own language into `sample` in a {OWN_ENTRY} beside its weights or in a catalog row, "
    "or call `twinprobe check … --text FILE`"
)


def attention_on_text(model: Model, text: HiddenText | str) -> Finding:
    """Predict hidden tokens under the declared attention and under the alternatives."""
    declared = model.paradigm.attention
    expected = f"text predicted best under {declared} attention"
    if isinstance(text, str):
        return Finding("attention on text", expected, text, NOT_RUN)
    slots = model.paradigm.read_at(text.hidden[text.rows], text.places[:, None])[:, 0]
    own, *others = (_nll(model, text, kind, slots) for kind in (declared, *_others(declared)))
    against = {kind: _Gain.of(own, other) for kind, other in zip(_others(declared), others, strict=True)}
    told = f"NLL {own.mean():.3f}; " + ", ".join(f"{kind} {gain}" for kind, gain in against.items())
    return _judged(model, "attention on text", expected, told, (own, *others))


def _others(declared: str) -> tuple[str, ...]:
    return tuple(kind for kind in ("causal", "full") if kind != declared)


def shift(model: Model, text: HiddenText | str) -> Finding:
    """Predict hidden tokens from their own slot and from the one before."""
    here, before = "its own slot", "the slot before"
    declared, other = (before, here) if model.shift else (here, before)
    expected = f"a hidden token predicted best from {declared}"
    if isinstance(text, str):
        return Finding("shift", expected, text, NOT_RUN)
    steps = (1, 0) if model.shift else (0, 1)
    own, instead = (_nll(model, text, model.paradigm.attention, text.places - step) for step in steps)
    told = f"NLL {own.mean():.3f} from {declared}; from {other} {_Gain.of(own, instead)}"
    return _judged(model, "shift", expected, told, (own, instead))


def _judged(model: Model, test: str, expected: str, told: str, ways: tuple[Tensor, ...]) -> Finding:
    """The outcome for the first of several ways to predict the same tokens (their NLLs)."""
    own, *others = ways
    gains = [_Gain.of(own, other).z for other in others]
    if min(float(way.mean()) for way in ways) > KNOWN * math.log(model.vocabulary):
        return Finding(test, expected, told + "; no better than chance, so nothing can be told" + HOW, NOT_RUN)
    if min(gains) < -CLEAR:
        return Finding(test, expected, told, FAIL)
    if max(gains) > CLEAR:
        return Finding(test, expected, told, PASS)
    return Finding(test, expected, told + "; too close to tell", NOT_RUN)


@dataclass(frozen=True)
class _Gain:
    """How much better the declared way predicts than another, paired over tokens."""

    nats: float
    z: float

    @classmethod
    def of(cls, own: Tensor, instead: Tensor) -> _Gain:
        difference = (instead - own).double()
        error = difference.std() / math.sqrt(len(difference))
        return cls(difference.mean().item(), (difference.mean() / error.clamp(min=1e-12)).item())

    def __str__(self) -> str:
        return f"{self.nats:+.3f} nats (z {self.z:+.1f})"


@dataclass(frozen=True)
class HiddenText:
    """Windows of text (rows × length), the same windows with some tokens hidden, and the row and the place of each
    hidden one; and the model's final states of the hidden windows, under each requested attention."""

    tokens: Tensor
    hidden: Tensor
    rows: Tensor
    places: Tensor
    _trunks: dict[str, Tensor] = field(default_factory=dict)

    def trunk(self, model: Model, attention: str) -> Tensor:
        """The final states (rows × length × width). Those under the declared attention are cached, since two tests use
        them."""
        if attention in self._trunks:
            return self._trunks[attention]
        trunk = model.run_trunk(model.canvas(self.hidden, attention))
        if attention == model.paradigm.attention:
            self._trunks[attention] = trunk
        return trunk


def _nll(model: Model, text: HiddenText, attention: str, slots: Tensor) -> Tensor:
    """The NLL of the hidden tokens, each read at one slot. Only these slots are unembedded: logits of all slots take a
    gigabyte with current vocabularies."""
    trunk = text.trunk(model, attention)
    there = trunk.device  # a model over several devices ends on another one than it begins
    logits = model.unembed(trunk[text.rows.to(there), slots.to(there)]).float()
    truth = text.tokens[text.rows, text.places].to(logits.device)
    return torch.nn.functional.cross_entropy(logits, truth, reduction="none")


def hidden_text(model: Model, sample: Sequence[str] | None = None) -> HiddenText | str:
    """Text with some tokens hidden in each row (of a given `sample`, else of `sample_text`); or why there is none.

    A model without a mask token gets other tokens of the text there, so that the asked ones are not visible.
    """
    if not model.has_tokenizer:
        return "no tokenizer, so no text; to check, load it with its tokenizer"
    lines = sample_text(model) if sample is None else _shortened(sample)
    encoded = [torch.tensor(row) for row in _encoded(model, lines)]
    length = _length(encoded)
    if length < 4:
        return "no text long enough" + HOW
    if _unknown(model, lines) > UNKNOWN:
        return "the sample text is not in this model's vocabulary" + HOW
    affordable = 5_000_000_000 // (model.n_parameters * length)
    tokens, asked = _windows([row for row in encoded if len(row) >= length], length, max(ROWS, affordable))
    rows, places = asked.nonzero(as_tuple=True)
    hidden = tokens.clone()
    hidden[rows, places] = tokens.flip(0)[rows, places] if model.mask_id is None else model.mask_id
    tokens, hidden, rows, places = (part.to(model.device) for part in (tokens, hidden, rows, places))
    return HiddenText(tokens, hidden, rows, places)


def _length(encoded: Sequence[Tensor]) -> int:
    """Tokens of a window: few enough that half of the lines have as many."""
    lengths = sorted(map(len, encoded))
    return min(LENGTH, lengths[len(lengths) // 2]) if lengths else 0


def _windows(texts: Sequence[Tensor], length: int, most: int) -> tuple[Tensor, Tensor]:
    """Seeded windows (rows × length), at most `most` of them, and which of their tokens are hidden: every fifth, never
    a window's first or last.

    A window comes back with its other tokens hidden; no token of the text is asked for twice, since tokens are compared
    as independent draws.
    """
    generator = torch.Generator().manual_seed(0)
    place = torch.arange(length)
    inside = (place > 0) & (place < length - 1)
    drawn = [
        (window, new & inside & (place % APART == first))
        for text in texts
        for window, new in _pieces(text, length)
        for first in range(APART)
    ]
    drawn = [each for each in drawn if each[1].any()]
    tokens, asked = [], []
    for i in torch.randperm(len(drawn), generator=generator).tolist():
        if len(tokens) == most or sum(int(hidden.sum()) for hidden in asked) >= MOST:
            break
        tokens.append(drawn[i][0])
        asked.append(drawn[i][1])
    return torch.stack(tokens), torch.stack(asked)


def _pieces(text: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A text cut into windows, and which of each one's tokens may be asked for: those that no earlier window could
    hide."""
    done = 0
    for start in (*range(0, len(text) - length, length - 2), len(text) - length):
        yield text[start : start + length], torch.arange(start, start + length) >= done
        done = start + length - 1


def sample_text(model: Model) -> tuple[str, ...]:
    """Lines in the model's language: the declared ones, else the first of our own texts that its tokenizer can write,
    else English."""
    if model.entry is not None and model.entry.sample:
        return _shortened(model.entry.sample)
    return next((lines for lines in _texts() if _unknown(model, lines) <= UNKNOWN), _texts()[0])


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines, and of each its beginning: enough for every window, whatever a row declares."""
    kept = [line[:MOST_OF_A_LINE] for line in lines]
    sums = accumulate(map(len, kept))
    return tuple(line for line, so_far in zip(kept, sums, strict=True) if so_far <= MOST_TEXT)


@cache
def _texts() -> tuple[tuple[str, ...], ...]:
    """English, and the languages of the shipped models."""
    english = Path(__file__).with_name("sample.txt").read_text("utf-8")
    declared = (FILE.object(zoo_folder(name) / OWN_ENTRY)["sample"] for name in SPEAKERS)
    return (tuple(english.splitlines()), *map(tuple, declared))


def _encoded(model: Model, lines: Sequence[str]) -> list[list[int]]:
    return [row for row in model.tokenizer(list(lines))["input_ids"] if row] if lines else []


def _unknown(model: Model, lines: Sequence[str]) -> float:
    """The share of a text's tokens that the tokenizer does not know."""
    unknown, tokens = model.tokenizer.unk_token_id, [token for row in _encoded(model, lines) for token in row]
    return tokens.count(unknown) / max(1, len(tokens)) if isinstance(unknown, int) else 0.0
