"""Self-tests: does a loaded model behave as it is declared to?

Loading a diffusion model wrong rarely fails; it computes something else. Each test here compares what is declared with
what the weights do, and says what it expected and what it found. Three of them need language: whether the declared
attention and shift are the right ones can only be told by how well the model predicts text under them, against the
alternatives, with a paired comparison over tokens. A model that predicts no better one way than the other (random
weights, text of a language it does not know) leaves such a test undecided. That is its verdict then, and never "pass".

    1 wiring       logits under an explicit causal mask are those of the stock class left to itself
    2 attention    a token's logits move with exactly the tokens that it is declared to see
      attention    and text is predicted best under the declared attention
    3 shift        a hidden token is predicted best from the slot that is declared to answer for it
    4 mask token   the mask is a row of the embedding, and nothing that text is made of
    5 rotary       the rotary frequencies are those of the formula
    6 kernels      eager and SDPA agree; attention rows sum to 1 and are exactly 0 where forbidden
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.errors import SelfTestError
from probe.models.model import Model

PASS, FAIL, NOT_RUN = "pass", "fail", "not run"

CHEAP = 50_000_000  # parameters up to which a CPU runs all tests at every load without being felt
CLEAR = 3.0  # standard errors by which one way of reading must win over another
_TEXT_LENGTH, _TEXT_ROWS = 32, 48


@dataclass(frozen=True)
class Finding:
    """One test's outcome."""

    test: str
    expected: str
    found: str
    verdict: str


@dataclass(frozen=True)
class SelfTests:
    """The findings of one model."""

    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict == FAIL)

    def __getitem__(self, test: str) -> Finding:
        return next(finding for finding in self.findings if finding.test == test)


def run_selftests(model: Model, *, full: bool = True) -> SelfTests:
    """All tests (`full`), or those whose cost is not felt at a load of this size."""
    cheap = full or model.n_parameters <= CHEAP or model.device.type == "cuda"
    tests: dict[str, Callable[[], Finding]] = {
        "mask token": lambda: mask_token(model),
        "rotary": lambda: rotary(model),
    }
    if model.mask_id is not None and model.mask_id >= model.vocabulary:
        cheap = False  # no forward pass can take the mask; its own test says so
    dear: dict[str, Callable[[], Finding]] = {
        "wiring": lambda: wiring(model),
        "attention reach": lambda: attention_reach(model),
        "attention on text": lambda: attention_on_text(model),
        "shift": lambda: shift(model),
        "kernels": lambda: kernels(model),
    }
    skipped = Finding("", "", f"left out at load of {model.n_parameters / 1e9:.1f} B parameters; "
                      "`twinprobe check` runs it", NOT_RUN)  # fmt: skip
    with torch.no_grad():
        findings = [run() for run in tests.values()]
        findings += [run() if cheap else replace(skipped, test=name) for name, run in dear.items()]
    return SelfTests(tuple(findings))


def refuse_failures(model: Model, tests: SelfTests) -> None:
    """Raise what failed, all of it at once."""
    if not tests.failed:
        return
    raise SelfTestError(
        f"model {model.name!r}",
        expected="; ".join(f"{finding.test}: {finding.expected}" for finding in tests.failed),
        found="; ".join(f"{finding.test}: {finding.found}" for finding in tests.failed),
        remedy="Correct what is declared (paradigm=, mask_id=, shift=, attention=) or the files; "
        "selftest='off' loads it all the same, to look at it.",
    )


# 1


def wiring(model: Model) -> Finding:
    expected = (
        f"logits of {type(model.backbone).__name__} left to itself, within {_tolerance(model):.0e} of their scale"
    )
    tokens = _ordinary_tokens(model, 2, 12)
    model.config._attn_implementation = "sdpa"
    stock = model.backbone(input_ids=tokens, use_cache=False).logits.float()
    ours = model.logits(tokens, "causal").float()
    return _within(model, "wiring", expected, (ours - stock).abs().max() / stock.std())


# 2


def attention_reach(model: Model) -> Finding:
    """Change one token at a time and see whose logits move."""
    tokens = _ordinary_tokens(model, 2, 8)
    if model.mask_id is not None:
        tokens[:, 3::3] = model.mask_id
    tokens, other = tokens[:1], tokens[1:]
    length = tokens.shape[1]
    canvas = model.canvas(tokens)
    changed = torch.where(torch.eye(length, dtype=torch.bool, device=tokens.device), _unlike(tokens, other), tokens)
    # Each row keeps the first row's visibility, so that exchanging a mask does not move anybody else (masks_last).
    every = type(canvas)(changed, canvas.allowed, canvas.places, canvas.block)
    moved = (model.run(every) - model.run(canvas)).float().abs().amax(-1).T  # (read at, changed)
    moved = moved / model.run(canvas).float().std()
    reach = _reach(canvas.allowed[0], model.n_layers)
    expected = f"logits that move with the tokens seen under {model.paradigm.attention} attention, and with no others"
    leak = moved.masked_fill(reach, 0).max().item()
    own = torch.eye(length, dtype=torch.bool, device=reach.device)
    deaf = [int(i) for i in range(length) if (reach & ~own)[i].any() and moved[i][(reach & ~own)[i]].max() <= 1e-7]
    if leak > _tolerance(model):
        read, cause = divmod(int(moved.masked_fill(reach, 0).argmax()), length)
        return Finding("attention reach", expected, f"slot {read} moves with token {cause}, unseen: {leak:.1e}", FAIL)
    if deaf:
        return Finding("attention reach", expected, f"slots {deaf} move with nothing that they see", FAIL)
    return Finding("attention reach", expected, f"unseen tokens move logits by at most {leak:.0e}", PASS)


def _reach(allowed: Tensor, layers: int) -> Tensor:
    """Whom a slot hears of through all the layers."""
    reach = allowed.float()
    for _ in range(max(1, math.ceil(math.log2(layers)))):
        reach = ((reach @ reach) > 0).float()
    return reach > 0


def attention_on_text(model: Model) -> Finding:
    """Predict hidden tokens under the declared attention and under the alternatives."""
    declared = model.paradigm.attention
    expected = f"text predicted best under {declared} attention"
    text = _hidden_text(model)
    if isinstance(text, str):
        return Finding("attention on text", expected, text, NOT_RUN)
    own = _nll(model, text, declared)
    against = {kind: _gain(own, _nll(model, text, kind)) for kind in ("causal", "full") if kind != declared}
    told = f"NLL {own.mean():.3f}; " + ", ".join(f"{kind} {gain}" for kind, gain in against.items())
    if any(gain.z < -CLEAR for gain in against.values()):
        verdict = FAIL
    elif any(gain.z > CLEAR for gain in against.values()):
        verdict = PASS
    else:
        verdict = NOT_RUN
        told += "; too close to tell"
    return Finding("attention on text", expected, told, verdict)


# 3


def shift(model: Model) -> Finding:
    """Predict hidden tokens from their own slot and from the one before."""
    here, before = "its own slot", "the slot before"
    declared, other = (before, here) if model.shift else (here, before)
    expected = f"a hidden token predicted best from {declared}"
    text = _hidden_text(model)
    if isinstance(text, str):
        return Finding("shift", expected, text, NOT_RUN)
    tokens, places, hidden = text
    logits = model.logits(hidden).float().log_softmax(-1)
    rows = torch.arange(len(tokens), device=tokens.device)
    truth = tokens[rows, places]
    own, instead = (-logits[rows, places - step, truth] for step in ((1, 0) if model.shift else (0, 1)))
    gain = _gain(own, instead)
    told = f"NLL {own.mean():.3f} from {declared}; from {other} {gain}"
    if gain.z < -CLEAR:
        return Finding("shift", expected, told, FAIL)
    if gain.z > CLEAR:
        return Finding("shift", expected, told, PASS)
    return Finding("shift", expected, told + "; too close to tell", NOT_RUN)


# 4


def mask_token(model: Model) -> Finding:
    mask, rows = model.mask_id, model.vocabulary
    expected = f"an id below {rows} that stands for nothing in text"
    if mask is None:
        if model.paradigm.name == "autoregressive":
            return Finding("mask token", expected, "an autoregressive model without one", NOT_RUN)
        return Finding("mask token", expected, "none declared", FAIL)
    if not 0 <= mask < rows:
        return Finding("mask token", expected, f"{mask}, outside the embedding", FAIL)
    if not model.has_tokenizer:
        return Finding(
            "mask token", expected, f"{mask}, inside the embedding; no tokenizer to hold it against", NOT_RUN
        )
    if mask in model.tokenizer(_sample(model))["input_ids"]:
        return Finding("mask token", expected, f"{mask}, which stands in the sample text", FAIL)
    word = _ordinary_word(model, mask)
    if word is None:
        return Finding("mask token", expected, f"{mask}, no token of text", PASS)
    if model.entry is not None and model.entry.mask_is_text and model.entry.mask_id == mask:
        told = f"{mask} ({word!r}), an ordinary token, as declared: text that holds it is refused"
        return Finding("mask token", expected, told, PASS)
    return Finding("mask token", expected, f"{mask}, which the tokenizer uses for the text {word!r}", FAIL)


def _ordinary_word(model: Model, token: int) -> str | None:
    """The text that a token stands for, or None for a special token or one that the tokenizer does not have."""
    words = model.tokenizer
    special = {int(i) for i, added in getattr(words, "added_tokens_decoder", {}).items() if added.special}
    special.update(words.all_special_ids)
    if token in special or token >= len(words) or words.convert_ids_to_tokens(token) is None:
        return None
    return str(words.decode([token]))


# 5


def rotary(model: Model) -> Finding:
    if model.layout.rotary is None:
        return Finding("rotary", "rotary frequencies of the formula", "learned positions, no frequencies", NOT_RUN)
    found = model.layout.part(model.backbone, "rotary").get_buffer("inv_freq").float().cpu()
    settings = model.config.rope_parameters
    kind, theta = settings.get("rope_type", "default"), _published_theta(model.published, settings)
    if kind == "default":
        half = torch.arange(0, model.d_head, 2, dtype=torch.float64)
        formula, name = (theta ** -(half / model.d_head)).float(), f"{theta:g}^(-2i/{model.d_head})"
    else:
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        formula = ROPE_INIT_FUNCTIONS[kind](model.config, torch.device("cpu"))[0].float()
        name = f"rope type {kind!r}, theta {theta:g}"
    expected = f"rotary frequencies {name}"
    if found.shape != formula.shape:
        return Finding("rotary", expected, f"{tuple(found.shape)} frequencies, not {tuple(formula.shape)}", FAIL)
    off = ((found - formula).abs() / formula).max().item()
    # A half-precision model keeps its frequencies in float32; they are exact to rounding or they are wrong.
    return Finding("rotary", expected, f"the same within {off:.0e}", PASS if off < 1e-5 else FAIL)


def _published_theta(published: Mapping[str, Any], stock: Mapping[str, Any]) -> float:
    """The base as the checkpoint states it: this test must not trust the configuration that was made from it."""
    inside = published.get("rope_parameters") or {}
    return float(published.get("rope_theta") or inside.get("rope_theta") or stock["rope_theta"])


# 6


def kernels(model: Model) -> Finding:
    expected = "eager = SDPA; attention rows that sum to 1 and are exactly 0 where forbidden"
    tokens = _ordinary_tokens(model, 2, 12)
    if model.mask_id is not None:
        tokens[:, 3::4] = model.mask_id
    canvas = model.canvas(tokens)
    patterns: list[Tensor] = []
    with ExitStack() as hooks:
        for block in model.blocks:
            attention = model.layout.of_block(block, "attention")
            handle = attention.register_forward_hook(
                lambda _module, _inputs, output: patterns.append(output[1].float())
            )
            hooks.callback(handle.remove)
        eager = model.run(canvas, eager=True).float()
    sdpa = model.run(canvas).float()
    pattern = torch.stack(patterns)
    leaked = pattern.masked_fill(canvas.allowed[:, None].to(pattern.device), 0).abs().max().item()
    if leaked > 0:
        return Finding("kernels", expected, f"attention of {leaked:.2g} where it is forbidden", FAIL)
    unsummed = (pattern.sum(-1) - 1).abs().max().item()
    if unsummed > _tolerance(model):
        return Finding("kernels", expected, f"attention rows that miss 1 by {unsummed:.1e}", FAIL)
    return _within(model, "kernels", expected, (eager - sdpa).abs().max() / eager.std())


# What they share


@dataclass(frozen=True)
class _Gain:
    """How much better the declared way predicts than another, paired over tokens."""

    nats: float
    z: float

    def __str__(self) -> str:
        return f"{self.nats:+.3f} nats (z {self.z:+.1f})"


def _gain(own: Tensor, instead: Tensor) -> _Gain:
    difference = (instead - own).double()
    error = difference.std() / math.sqrt(len(difference))
    return _Gain(difference.mean().item(), (difference.mean() / error.clamp(min=1e-12)).item())


def _nll(model: Model, text: tuple[Tensor, Tensor, Tensor], attention: str) -> Tensor:
    tokens, places, hidden = text
    rows = torch.arange(len(tokens), device=tokens.device)
    slots = model.paradigm.read_at(hidden, places[:, None])[:, 0]
    logits = model.logits(hidden, attention).float().log_softmax(-1)
    return -logits[rows, slots, tokens[rows, places]]


def _hidden_text(model: Model) -> tuple[Tensor, Tensor, Tensor] | str:
    """Rows of text, a place in each, and the rows with that place hidden; or why there are none.

    A model without a mask token gets another token of the text there: what is asked of it must not be visible.
    """
    if not model.has_tokenizer:
        return "no tokenizer, so no text"
    encoded = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in _sample(model).splitlines() if text]
    length = min(_TEXT_LENGTH, max(map(len, encoded)))
    windows = [row.unfold(0, length, max(1, length // 4)) for row in encoded if len(row) >= length]
    if length < 4 or not windows:
        return "no text long enough"
    generator = torch.Generator().manual_seed(0)
    pool = torch.cat(windows)
    tokens = pool[torch.randint(len(pool), (_TEXT_ROWS,), generator=generator)]
    unknown = model.tokenizer.unk_token_id
    if isinstance(unknown, int) and torch.eq(tokens, unknown).float().mean() > 0.2:
        return "the sample text is not in this model's vocabulary"
    places = torch.randint(1, length - 1, (_TEXT_ROWS,), generator=generator)
    rows = torch.arange(_TEXT_ROWS)
    filler = torch.full((_TEXT_ROWS,), model.mask_id) if model.mask_id is not None else tokens.flip(0)[rows, places]
    hidden = tokens.clone()
    hidden[rows, places] = filler
    return tokens.to(model.device), places.to(model.device), hidden.to(model.device)


def _sample(model: Model) -> str:
    if model.entry is not None and model.entry.sample:
        return "\n".join(model.entry.sample)
    return Path(__file__).with_name("sample.txt").read_text("utf-8")


def _ordinary_tokens(model: Model, rows: int, length: int) -> Tensor:
    """Seeded tokens that are not the mask."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.vocabulary, (rows, length), generator=generator)
    if model.mask_id is not None:
        tokens[tokens == model.mask_id] = 0 if model.mask_id else 1
    return tokens.to(model.device)


def _unlike(tokens: Tensor, candidates: Tensor) -> Tensor:
    """Candidates, moved on where they are the token itself."""
    return torch.where(candidates == tokens, (candidates + 1) % (int(candidates.max()) + 1), candidates)


def _tolerance(model: Model) -> float:
    """What rounding may do to logits, relative to their spread. A 30-layer float32 model whose attention is opened
    against its training reaches 2e-4 between two right kernels; the faults looked for here start near 1."""
    return {torch.float64: 1e-9, torch.float32: 1e-3}.get(model.dtype, 5e-2)


def _within(model: Model, test: str, expected: str, off: Tensor) -> Finding:
    verdict = PASS if off.item() <= _tolerance(model) else FAIL  # NaN compares false, so it fails
    return Finding(test, expected, f"they differ by {off.item():.0e} of their scale", verdict)
