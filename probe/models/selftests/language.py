"""Tests that need language: do the weights predict text best with the declared attention and shift?

One token is hidden in each of many windows of text and predicted in the declared way and in another one; the two are
compared over tokens, in pairs. Weights that do not know the text (random ones, another language) can favour either way
by accident, because they make the same guess at every mask; so a model is judged only if it predicts the text far
better than chance in one of the two ways. Otherwise the test is undecided, which is "not run".

Both tests use the pass under the declared attention, so a load makes it once for both (`HiddenText.trunk`). The cost is
two passes over the windows (three if the declared attention is neither "causal" nor "full"): half a second of a CPU for
a shipped model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from probe.models.model import Model
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding

CLEAR = 3.0  # standard errors by which one way must win over the other
KNOWN = 0.9  # a model knows the text if one way's NLL is below this share of that of a uniform guess
LENGTH = 32  # tokens of a window
ROWS, MOST_ROWS = 48, 512  # hidden tokens for a large model, and for one so small that more cost nothing


def attention_on_text(model: Model, text: HiddenText | str) -> Finding:
    """Predict hidden tokens under the declared attention and under the alternatives."""
    declared = model.paradigm.attention
    expected = f"text predicted best under {declared} attention"
    if isinstance(text, str):
        return Finding("attention on text", expected, text, NOT_RUN)
    slots = model.paradigm.read_at(text.hidden, text.places[:, None])[:, 0]
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
        return Finding(test, expected, told + "; no better than chance, so nothing can be told", NOT_RUN)
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
    """Windows of text (rows × length), one position in each, and the same windows with it hidden; and the model's final
    states of the hidden windows, under each requested attention."""

    tokens: Tensor
    places: Tensor
    hidden: Tensor
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
    rows = torch.arange(
        len(slots), device=trunk.device
    )  # a model over several devices ends on another one than it begins
    logits = model.unembed(trunk[rows, slots.to(trunk.device)]).float()
    truth = text.tokens.gather(1, text.places[:, None])[:, 0].to(logits.device)
    return torch.nn.functional.cross_entropy(logits, truth, reduction="none")


def hidden_text(model: Model) -> HiddenText | str:
    """Text with one token hidden in each row; or why there is none.

    A model without a mask token gets another token of the text there, so that the asked one is not visible.
    """
    if not model.has_tokenizer:
        return "no tokenizer, so no text"
    encoded = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in sample_text(model).splitlines() if text]
    length = min(LENGTH, max(map(len, encoded), default=0))
    if length < 4:
        return "no text long enough"
    unknown = model.tokenizer.unk_token_id
    if isinstance(unknown, int) and torch.cat(encoded).eq(unknown).float().mean() > 0.2:
        return "the sample text is not in this model's vocabulary"
    affordable = 5_000_000_000 // (model.n_parameters * length)
    long_enough = [row for row in encoded if len(row) >= length]
    tokens, places = _windows(long_enough, length, min(MOST_ROWS, max(ROWS, affordable)))
    rows = torch.arange(len(tokens))
    hidden = tokens.clone()
    hidden[rows, places] = tokens.flip(0)[rows, places] if model.mask_id is None else model.mask_id
    tokens, places, hidden = (part.to(model.device) for part in (tokens, places, hidden))
    return HiddenText(tokens, places, hidden)


def _windows(texts: list[Tensor], length: int, rows: int) -> tuple[Tensor, Tensor]:
    """Seeded windows (rows × length) and a position inside each; no token of the text is used twice, since tokens are
    compared as independent draws."""
    generator = torch.Generator().manual_seed(0)
    asked = [(text, place) for text in texts for place in range(1, len(text) - 1)]
    drawn = [asked[i] for i in torch.randperm(len(asked), generator=generator)[:rows].tolist()]
    tokens, places = [], []
    for text, place in drawn:
        earliest, latest = max(0, place + 2 - length), min(place - 1, len(text) - length)
        start = int(torch.randint(earliest, latest + 1, (), generator=generator))
        tokens.append(text[start : start + length])
        places.append(place - start)
    return torch.stack(tokens), torch.tensor(places)


def sample_text(model: Model) -> str:
    """Text in the model's language: the declared sample, or some English."""
    if model.entry is not None and model.entry.sample:
        return "\n".join(model.entry.sample)
    return Path(__file__).with_name("sample.txt").read_text("utf-8")
