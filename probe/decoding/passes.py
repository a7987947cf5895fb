"""Passes: a decoder's forward passes, and what is cached from one to the next.

A decoder has a state (token ids, some of them masks) and needs the logits of a few slots. How much must be computed
depends only on the attention: if nothing that a token sees has changed since its last pass, its keys and values are
still valid. So `OwnPasses` keeps those of the last pass, compares the state with the last one, and computes only what
follows the unchanged part:

    causal      keeps everything before the first change
    block:N     keeps the blocks before the first one with a change
    masks_last  keeps the text before the first mask or change
    full        keeps nothing: every token sees what was just written, so masked diffusion under full attention has no
                exact cache, and every pass computes the whole state

An encoder (ModernBERT) takes no keys and values of earlier passes, so every pass computes the whole state.

Keys and values are in a `KVCache`, at the index of their place. A pass overwrites the places that it computes, so
nothing is ever cropped or moved, and the rows of a batch, at different points of their strides or blocks, share every
pass: in each row the explicit mask says which cached keys each token sees.

FLUID also has passes with blocks of masks besides the text (`OwnPasses.branch`); their keys are stored after the text's
and never reused.

The caches for full attention in public code are approximations: `ApproximatePasses` makes those if a sampler requests
them, and the trajectory says so.

With active edits or a tracer, `ForeignPasses` computes the whole state in each pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicLayer

from probe.decoding.branches import Branched, Branches
from probe.errors import ProbeError
from probe.models.scope import Scope
from probe.paradigms import visibility
from probe.paradigms.canvas import Canvas

if TYPE_CHECKING:
    from probe.decoding.trajectory import StridesTaken
    from probe.models.model import Model

Forward = Callable[[Canvas], Tensor]  # runs the model: a canvas to its logits
OnStep = Callable[[int, Tensor, Tensor], None]  # called for every forward pass: step, state, and where it wrote
OnStride = Callable[["StridesTaken"], None]  # called with the strides that ended in a pass


@dataclass(frozen=True)
class PassOptions:
    """How a decoding run makes its forward passes, and its callbacks.

    `cache`      the KV cache: None uses it wherever that is exact, False never, True refuses a run in which it is not
                 exact
    `forward`    runs the model instead of its own call (canvas → logits), so that a tracer records the passes that
                 write the text; it gets every state whole
    `on_step`    called after every forward pass with the step, the model's input, and where the pass wrote
    `on_stride`  called with the strides that ended in a pass (FLUID only)
    """

    cache: bool | None = None
    forward: Forward | None = None
    on_step: OnStep | None = None
    on_stride: OnStride | None = None


def watched(model: Model, options: PassOptions) -> bool:
    """Whether passes must compute every state whole: a forward of the user's own, a tracer, or active edits, which may
    hold a value for each row."""
    return options.forward is not None or bool(model.before_run) or model.attention_override is not None


NEVER = -1  # a token that was not computed


@dataclass(frozen=True)
class Seen:
    """The result of one pass at the requested slots."""

    logits: Tensor  # (batch, width, vocabulary), float32
    hidden: Tensor | None  # (batch, width, d), the final norm's output; None if not requested


class Passes(ABC):
    """Makes the forward passes of one decoding run, and counts them."""

    def __init__(self) -> None:
        self.made = 0
        self.slots = 0  # tokens computed in all passes, over all rows

    def __call__(self, tokens: Tensor, first: Tensor, width: int) -> Seen:
        """The slots first … first + width - 1 (`first`: batch) of a state (batch × length), in one forward pass."""
        self.made += 1
        return self._see(tokens, first, width)

    def beside(self, tokens: Tensor, other: Tensor, first: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The logits of the same slots of two states, in one forward pass of twice as many rows."""
        self.made += 1
        both = self._see(torch.cat([tokens, other]), torch.cat([first, first]), width).logits
        return both[: len(tokens)], both[len(tokens) :]

    @abstractmethod
    def _see(self, tokens: Tensor, first: Tensor, width: int) -> Seen: ...

    def whole(self, canvas: Canvas) -> Tensor:
        """The logits (float32) of a canvas made by the decoder, in one forward pass."""
        self.made += 1
        self.slots += canvas.tokens.numel()
        return self._run(canvas).float()

    @abstractmethod
    def _run(self, canvas: Canvas) -> Tensor: ...


def passes_of(model: Model, length: int, options: PassOptions, *, hidden: bool, approximate: str = "") -> Passes:
    """The passes of a run over texts of up to `length` tokens; `approximate` ones if a rule requests them."""
    cache, whole = options.cache, watched(model, options)
    exact = model.paradigm.attention != "full"
    if model.layout.encoder and (approximate or cache):
        raise _no_cache(model, "a class that takes keys and values of earlier passes", "an encoder, which takes none")
    if approximate:
        _refuse_approximation(model, approximate, exact=exact, whole=whole or cache is False)
        return ApproximatePasses(model, length, suffix=approximate == "prefix")
    if cache and whole:
        raise _no_cache(model, "passes without edits or a tracer", "a forward of one's own, or active edits")
    if cache and not exact:
        raise _no_cache(model, "attention that leaves written tokens as they are", "full attention")
    if whole:
        return ForeignPasses(model, options.forward or model.run, hidden=hidden)
    kept = exact and cache is not False and not model.layout.encoder
    return OwnPasses(model, length if kept else None)


def _refuse_approximation(model: Model, kind: str, *, exact: bool, whole: bool) -> None:
    if exact or whole:
        what = f"{model.paradigm.attention} attention, whose cache is exact already"
        raise ProbeError(
            f"{kind} cache for model {model.name!r}",
            expected="full attention, and passes that may compute a part of the text",
            found=what if exact else "passes that compute every state whole (a tracer, active edits, cache=False)",
            remedy="Leave the cache out of the sampler.",
        )


def _no_cache(model: Model, expected: str, found: str) -> ProbeError:
    return ProbeError(
        f"a cache for model {model.name!r}",
        expected=expected,
        found=found,
        remedy="Leave cache out: it is used wherever it is exact.",
    )


class OwnPasses(Passes):
    """The model's own passes; with a `length`, keys and values of that many places are kept between them."""

    def __init__(self, model: Model, length: int | None):
        super().__init__()
        self._model = model
        self._cache = None if length is None else KVCache(length, model.n_layers)
        self._shown: Tensor | None = None  # the last state; NEVER where its keys are not in the cache

    def _see(self, tokens: Tensor, first: Tensor, width: int) -> Seen:
        canvas, start = self._canvas(tokens, first, width)
        self.slots += canvas.tokens.numel()
        hidden = self._model.run_trunk(canvas, cache=self._cache)
        hidden = _window(hidden, first - start, width)
        return Seen(self._model.unembed(hidden).float(), hidden)

    def _run(self, canvas: Canvas) -> Tensor:
        return self._model.run(canvas)

    def branch(self, tokens: Tensor, front: Tensor, drafts: Tensor, ahead: int) -> Branched:
        """One forward pass that checks `drafts` (batch) after the text, which ends before `front` (batch), and drafts
        `ahead` tokens after each (see `probe.decoding.branches`). Only causal models have such a pass."""
        self.made += 1
        begin = torch.zeros_like(front) if self._cache is None else self._unchanged(tokens).minimum(front - 1)
        shown = Branches.of(tokens, front, drafts, ahead, begin, self._model.paradigm.given_mask())
        self.slots += shown.canvas.tokens.numel()
        if self._cache is not None:
            first, last = (int(n) for n in shown.keys[:, 0].aminmax())
            self._cache.place(shown.keys, shown.high, together=first == last)
            place = torch.arange(tokens.shape[1], device=tokens.device)
            self._shown = tokens.where(place < shown.keys[:, :1] + shown.span, NEVER)
        hidden = self._model.run_trunk(shown.canvas, cache=self._cache)
        return Branched(shown, hidden, self._model.unembed)

    def _canvas(self, tokens: Tensor, first: Tensor, width: int) -> tuple[Canvas, Tensor]:
        """What must be computed, and its first place (batch)."""
        if self._cache is None:
            return self._model.canvas(tokens), torch.zeros_like(first)
        kind, mask, length = self._model.paradigm.attention, self._model.mask_id, tokens.shape[1]
        end = visibility.seen_by(kind, first + width, length)
        begin = visibility.settled(kind, self._unchanged(tokens), tokens, mask).minimum(first)
        high, span, lowest, highest = (int(n) for n in (end.max(), (end - begin).max(), begin.min(), begin.max()))
        start = begin.clamp(max=high - span)  # rows that need less compute more, which changes nothing
        together = lowest == highest
        at = torch.arange(span, device=tokens.device) + (start[:1] if together else start)[:, None]
        rank = visibility.order(kind, tokens[:, :high], mask_id=mask)
        if len(at) > 1 or len(rank) > 1:
            at, rank = at.expand(len(tokens), -1), rank.expand(len(tokens), -1)
        allowed = rank[:, None, :] <= rank.gather(1, at)[:, :, None]
        self._cache.place(at, high, together=together)
        known = torch.arange(length, device=tokens.device) < (start + span)[:, None]
        self._shown = tokens.where(known, NEVER)
        shown, everything = tokens.gather(1, at.expand(len(tokens), -1)), torch.arange(high, device=tokens.device)[None]
        return Canvas(shown, allowed, at, torch.zeros_like(at), key_places=everything), start

    def _unchanged(self, tokens: Tensor) -> Tensor:
        """How many leading tokens of each row are unchanged since the last pass."""
        if self._shown is None:
            return tokens.new_zeros(len(tokens))
        both = min(self._shown.shape[1], tokens.shape[1])
        return (self._shown[:, :both] == tokens[:, :both]).cumprod(1).sum(1)


class ApproximatePasses(Passes):
    """Passes under full attention with an approximate cache (Fast-dLLM's).

    The first request for a block's slots computes the whole text. Later requests compute only those slots, or also the
    `suffix` after them, with the cached keys and values of the rest. A model with shift also computes the slot before
    the block, which predicts its first token."""

    def __init__(self, model: Model, length: int, *, suffix: bool):
        super().__init__()
        self._model, self._suffix = model, suffix
        self._cache = KVCache(length, model.n_layers)
        self._window: tuple[int, int] | None = None

    def _see(self, tokens: Tensor, first: Tensor, width: int) -> Seen:
        begin, length = int(first[0]), tokens.shape[1]
        again, self._window = self._window == (begin, width), (begin, width)
        low = begin if again else 0
        high = length if self._suffix or not again else min(length, begin + width + int(self._model.shift))
        at = torch.arange(low, high, device=tokens.device)[None]
        self._cache.place(at, length, together=high == length)
        self.slots += len(tokens) * (high - low)
        hidden = self._model.run_trunk(self._part(tokens, at), cache=self._cache)
        hidden = _window(hidden, first - low, width)
        return Seen(self._model.unembed(hidden).float(), hidden)

    def _part(self, tokens: Tensor, at: Tensor) -> Canvas:
        everything = torch.arange(tokens.shape[1], device=tokens.device)[None]
        allowed = torch.ones(1, at.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device)
        return Canvas(tokens[:, at[0]], allowed, at, torch.zeros_like(at), key_places=everything)

    def _run(self, canvas: Canvas) -> Tensor:
        return self._model.run(canvas)


class ForeignPasses(Passes):
    """Passes by another `forward`, which gets every state whole."""

    def __init__(self, model: Model, forward: Forward, *, hidden: bool):
        super().__init__()
        self._model, self._forward, self._wants_hidden = model, forward, hidden

    def _see(self, tokens: Tensor, first: Tensor, width: int) -> Seen:
        self.slots += tokens.numel()
        with _overheard(self._model, self._wants_hidden) as heard:
            logits = self._forward(self._model.canvas(tokens))
        hidden = _window(heard[-1], first, width) if self._wants_hidden else None
        return Seen(_window(logits, first, width).float(), hidden)

    def beside(self, tokens: Tensor, other: Tensor, first: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The second state is not one of the text, so it must not be recorded or edited."""
        if self._model.before_run or self._model.attention_override is not None:
            raise ProbeError(
                f"guidance while edits of model {self._model.name!r} are active",
                expected="no edits: their effect on a text without its prompt is not defined",
                found="open edits",
                remedy="Close them, or write without guidance.",
            )
        seen = self(tokens, first, width).logits
        self.slots += other.numel()
        return seen, _window(self._model.run(self._model.canvas(other)), first, width).float()

    def _run(self, canvas: Canvas) -> Tensor:
        return self._forward(canvas)


@contextmanager
def _overheard(model: Model, wanted: bool) -> Iterator[list[Tensor]]:
    """The final norm's output inside the context, if requested."""
    heard: list[Tensor] = []
    if not wanted:
        yield heard
        return

    def hear(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        heard.append(output)

    with Scope() as scope:
        hook = model.layout.part(model.backbone, "final_norm").register_forward_hook(scope.owned(hear))
        try:
            yield heard
        finally:
            hook.remove()
    if not heard:
        raise ProbeError(
            f"the forward of model {model.name!r}",
            expected="one that runs the model's own modules, since the horizon head reads their last hidden state",
            found="one that does not",
            remedy="Record with tracer='hooks', or write in fixed strides: sampler=Strides(length=8).",
        )


class KVCache(Cache):
    """Keys and values of every place of a text, in the form that transformers' models expect."""

    def __init__(self, length: int, layers: int):
        super().__init__(layers=[KVLayer(self) for _ in range(layers)])
        self.length = length
        self.at = torch.empty(0)
        self.high = 0
        self.together = False

    def place(self, at: Tensor, high: int, *, together: bool) -> None:
        """Set the places (batch or 1, shown) of the next pass, and how many places it sees."""
        self.at, self.high, self.together = at, high, together


class KVLayer(DynamicLayer):
    """One layer of the cache: (batch, key heads, place, d)."""

    def __init__(self, cache: KVCache):
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            new.new_zeros(*new.shape[:2], self._cache.length, new.shape[3]) for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_unused: Any, **_also: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        more = self._cache.high - self.keys.shape[2]
        if more > 0:  # blocks besides the text need room after it
            self.keys, self.values = (nn.functional.pad(kept, (0, 0, 0, more)) for kept in (self.keys, self.values))
        return self._put(self.keys, key_states), self._put(self.values, value_states)

    def _put(self, kept: Tensor, new: Tensor) -> Tensor:
        cache = self._cache
        if cache.together:  # every row has the same consecutive places
            end = cache.high
            kept[:, :, end - new.shape[2] : end] = new
        else:
            at = cache.at.to(new.device)[:, None, :, None]
            kept.scatter_(2, at.expand_as(new), new)
        return kept[:, :, : cache.high]


def _window(values: Tensor, first: Tensor, width: int) -> Tensor:
    """Slots first … first + width - 1 of each row (batch × slots × …)."""
    if values.shape[1] == width:
        return values
    at = first[:, None, None] + torch.arange(width, device=values.device)[:, None]
    return values.gather(1, at.expand(-1, -1, values.shape[2]).to(values.device))


@dataclass(frozen=True)
class Run:
    """A decoder's arguments besides its model, its prompt and its rule."""

    passes: Passes
    seed: int
    on_step: OnStep
    on_stride: OnStride
