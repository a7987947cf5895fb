"""DiffusionGemma: write text on its canvas, and record the decoder at every step.

DiffusionGemma is not one stack of layers but two that share their weights. The encoder reads the text and leaves keys
and values of it; the decoder refines a canvas of some hundred tokens, which sees all of that text and itself, both
ways. A `Model` here is one stack, so it does not load (docs/models.md says what is missing). This module does what can
be done with transformers' own `DiffusionGemmaForBlockDiffusion`:

    backbone = DiffusionGemmaForBlockDiffusion.from_pretrained(folder).eval()
    run = record_denoising(backbone, prompt, 256, ["resid_post", "logits"], seed=0)
    run.tokens                          # prompt and answer
    run.trace["resid_post"]             # (example, step, layer, position, feature); position counts in the canvas

Noise is uniform: a canvas begins as random tokens. At each step the decoder predicts every token; the surest are kept,
as many as stay below a bound on their entropies, and all others are drawn anew. The logits of a step go back into the
embeddings of the next (self-conditioning). A canvas ends when its best tokens stand still and are sure, or after the
last step, and the encoder reads it before the next one begins. Draws are those of transformers' `generate` after
`torch.manual_seed(seed)`, and a test compares the two step by step.

Sites are those of other models (see `probe.tracing.sites`), with one difference: each layer multiplies its output by a
number of its own (`layer_scalar`), so resid_post = (resid_mid + mlp_out) · that number. `mlp_out` is the MLP and the
experts together, after the norm that follows both. q, k, v and z are not recorded: heads are wider in layers without a
window, so no array holds all layers.

The cost is that of `generate`, and the recorded tensors in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from probe.errors import TokenError, TraceError, nearest
from probe.tracing.sites import SITES

if TYPE_CHECKING:
    import xarray
    from transformers import Cache, PreTrainedModel

CLASS = "DiffusionGemmaForBlockDiffusion"
_PARTS = {  # of a layer: the module, and whether its input or its output is the site
    "resid_pre": ("", "in"),
    "attn_out": ("post_attention_layernorm", "out"),
    "pattern": ("self_attn", "out"),
    "resid_mid": ("pre_feedforward_layernorm", "in"),
    "mlp_out": ("post_feedforward_layernorm", "out"),
    "resid_post": ("", "out"),
}
RECORDED = (*_PARTS, "final_norm", "logits")
"""The sites that are recorded, in the order of a forward pass."""


@dataclass(frozen=True)
class Denoising:
    """How a canvas is written; the defaults are those of transformers."""

    steps: int = 48
    """The most decoder passes of a canvas."""

    entropy_bound: float = 0.1
    """Tokens are kept from the surest on, as long as the entropies of those before them add up to no more than this."""

    temperatures: tuple[float, float] = (0.8, 0.4)
    """The temperature before the first step, and the one that the last steps approach."""

    stable: int = 1
    """A canvas may end if its best tokens are those of this many steps before."""

    sure: float | None = 0.005
    """A canvas may end if the mean entropy of its tokens is below this; None never ends it early."""


@dataclass(frozen=True, eq=False)
class CanvasStep:
    """One decoder pass over a canvas."""

    canvas: int
    shown: Tensor  # (batch, slots), what the decoder saw
    kept: Tensor  # (batch, slots), which tokens were kept for the next step
    best: Tensor  # (batch, slots), its best tokens, which end up in the text after the last step


@dataclass(eq=False)
class DenoisingRun:
    """A text, every step that wrote it, and what was recorded at each."""

    tokens: Tensor  # (batch, length), the prompt and whole canvases
    prompt: int  # its length
    steps: list[CanvasStep] = field(default_factory=list)
    recorded: list[dict[str, Tensor]] = field(default_factory=list)

    @property
    def trace(self) -> xarray.Dataset:
        """The recorded sites as a trace: every site has an axis `step`, over all canvases."""
        import xarray

        arrays = {}
        for name in self.recorded[0]:
            stacked = torch.stack([found[name] for found in self.recorded], dim=1)
            layer = ("layer",) if SITES[name].layered else ()
            arrays[name] = (("example", "step", *layer, *SITES[name].dims), stacked.numpy())
        tokens = torch.stack([step.shown for step in self.steps], dim=1)
        kept = torch.stack([step.kept for step in self.steps], dim=1)
        coordinates = {
            "tokens": (("example", "step", "position"), tokens.numpy()),
            "kept": (("example", "step", "position"), kept.numpy()),
            "canvas": (("step",), [step.canvas for step in self.steps]),
        }
        return xarray.Dataset(arrays, coordinates, {"prompt": self.prompt})


@torch.no_grad()
def record_denoising(
    backbone: PreTrainedModel,
    prompt: Tensor,
    length: int,
    sites: Sequence[str] = (),
    *,
    options: Denoising | None = None,
    seed: int = 0,
) -> DenoisingRun:
    """Write at least `length` tokens after a prompt (batch × length), in whole canvases, and record sites at each
    step."""
    model: Any = backbone
    options = options or Denoising()
    _refuse(model, prompt, length, sites, options)
    drawn = torch.Generator(device=prompt.device).manual_seed(seed)
    writer = _Writer(model, options, drawn, tuple(name for name in RECORDED if name in sites))
    slots = model.config.canvas_length
    run, cache, unread = DenoisingRun(prompt, prompt.shape[1]), None, prompt
    with _kernel(model, eager="pattern" in sites):
        for canvas in range(-(-length // slots)):
            seen = run.tokens.shape[1]
            places = torch.arange(seen - unread.shape[1], seen, device=prompt.device)[None]
            everything = torch.ones(len(prompt), seen, dtype=torch.bool, device=prompt.device)
            read = model.model.encoder(
                input_ids=unread, attention_mask=everything, past_key_values=cache, position_ids=places
            )
            cache = read.past_key_values
            unread = writer.write(run, canvas, cache)
            run.tokens = torch.cat([run.tokens, unread], dim=1)
    _fill_keys(run)
    return run


class _Writer:
    """Writes one canvas after another."""

    def __init__(self, model: Any, options: Denoising, drawn: torch.Generator, sites: tuple[str, ...]):
        self.model, self.options, self.drawn, self.sites = model, options, drawn, sites

    def write(self, run: DenoisingRun, canvas: int, cache: Cache) -> Tensor:
        """The best tokens of one canvas, after its last step."""
        seen, rows = run.tokens.shape[1], len(run.tokens)
        shown = self._noise(rows)
        places = torch.arange(seen, seen + shown.shape[1], device=shown.device)[None]
        done = torch.zeros(rows, dtype=torch.bool, device=shown.device)
        before: Tensor | None = None  # the logits of the last step, which condition the next
        best, earlier = shown, []
        for left in range(self.options.steps, 0, -1):
            found: dict[str, Tensor] = {}
            with _listening(self.model, self.sites, found):
                passed = self.model(
                    decoder_input_ids=shown,
                    past_key_values=cache,
                    self_conditioning_logits=before,
                    decoder_position_ids=places,
                )
            if "logits" in self.sites:
                found["logits"] = passed.logits.cpu()
            logits = passed.logits / self._temperature(left)
            new = self._sampled(logits)
            entropy = torch.distributions.Categorical(logits=logits).entropy()
            kept = self._surest(entropy)
            now = logits.argmax(-1)
            after = torch.where(kept, new, self._noise(rows))
            if done.any() and before is not None:  # a row that has ended stays as it is
                now, after = (torch.where(done[:, None], a, b) for a, b in ((best, now), (shown, after)))
                logits = torch.where(done[:, None, None], before, logits)
                entropy = torch.distributions.Categorical(logits=logits).entropy()
            run.steps.append(CanvasStep(canvas, shown.cpu(), kept.cpu(), now.cpu()))
            run.recorded.append(found)
            done = done | self._ended(now, earlier, entropy)
            earlier.append(now)
            best, shown, before = now, after, logits.to(self.model.dtype)
            if done.all():
                break
        return best

    def _noise(self, rows: int) -> Tensor:
        shape = (rows, self.model.config.canvas_length)
        words = self.model.config.text_config.vocab_size
        return torch.randint(0, words, shape, generator=self.drawn, device=self.drawn.device)

    def _temperature(self, left: int) -> float:
        first, last = self.options.temperatures
        return last + (first - last) * left / self.options.steps

    def _sampled(self, logits: Tensor) -> Tensor:
        chances = logits.softmax(-1, dtype=torch.float32)
        return torch.multinomial(chances.flatten(0, 1), 1, generator=self.drawn).view(logits.shape[:2])

    def _surest(self, entropy: Tensor) -> Tensor:
        """From the surest on, as long as the entropies of those before add up to no more than the bound."""
        ascending, order = entropy.sort(-1)
        within = ascending.cumsum(-1) - ascending <= self.options.entropy_bound
        return torch.zeros_like(within).scatter(-1, order, within)

    def _ended(self, now: Tensor, earlier: list[Tensor], entropy: Tensor) -> Tensor:
        """Which rows stand still and are sure."""
        back = self.options.stable
        if self.options.sure is None or len(earlier) < back:
            return torch.zeros(len(now), dtype=torch.bool, device=now.device)
        still = torch.ones(len(now), dtype=torch.bool, device=now.device)
        for past in earlier[len(earlier) - back :]:
            still &= (past == now).all(-1)
        return still & (entropy.mean(-1) < self.options.sure)


@contextmanager
def _listening(model: Any, sites: tuple[str, ...], found: dict[str, Tensor]) -> Iterator[None]:
    """Copy the sites of a decoder pass inside the context, layers on axis 1."""
    layers: dict[str, list[Tensor]] = {name: [] for name in sites if name in _PARTS}
    with ExitStack() as hooks:
        for name, kept in layers.items():
            part, side = _PARTS[name]
            for layer in model.model.decoder.layers:
                module = layer.get_submodule(part) if part else layer
                hooks.callback(_hear(module, side, name == "pattern", kept.append))
        if "final_norm" in sites:
            keep = found.setdefault
            hooks.callback(_hear(model.model.decoder.norm, "out", False, lambda one: keep("final_norm", one)))
        yield
    for name, kept in layers.items():
        found[name] = torch.stack(_aligned(kept), dim=1)


def _hear(module: nn.Module, side: str, second: bool, keep: Callable[[Tensor], Any]) -> Callable[[], None]:
    def copy(passed: Any) -> None:
        one = passed[1 if second else 0] if isinstance(passed, tuple) else passed
        keep(one.detach().to("cpu", copy=True))  # a layer scales its output in place

    if side == "in":
        return module.register_forward_pre_hook(lambda _, taken: copy(taken)).remove
    return module.register_forward_hook(lambda _, taken, given: copy(given)).remove


def _aligned(kept: list[Tensor]) -> list[Tensor]:
    """Patterns of layers with a window, which the encoder keeps fewer keys for, filled with zeros in front."""
    widest = max(one.shape[-1] for one in kept)
    return [nn.functional.pad(one, (widest - one.shape[-1], 0)) if one.dim() == 4 else one for one in kept]


def _fill_keys(run: DenoisingRun) -> None:
    """Patterns of earlier canvases, filled with zeros for the text that was not there yet."""
    for found in run.recorded:
        if "pattern" in found:
            missing = run.tokens.shape[1] - found["pattern"].shape[-1]
            found["pattern"] = nn.functional.pad(found["pattern"], (0, missing))


@contextmanager
def _kernel(model: Any, *, eager: bool) -> Iterator[None]:
    """The attention that computes patterns, where they are recorded."""
    own = model.config._attn_implementation
    if eager:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if eager:
            model.set_attn_implementation(own)


def _refuse(model: Any, prompt: Tensor, length: int, sites: Sequence[str], options: Denoising) -> None:
    if type(model).__name__ != CLASS:
        raise TraceError(
            "record_denoising",
            expected=f"transformers' own {CLASS}",
            found=type(model).__name__,
            remedy="Record other models with probe.record.",
        )
    unknown = [name for name in sites if name not in RECORDED]
    if unknown:
        raise TraceError(
            f"site {unknown[0]!r} of DiffusionGemma",
            expected="one of " + ", ".join(RECORDED),
            found="heads of different widths in different layers" if unknown[0] in SITES else repr(unknown[0]),
            remedy=nearest(unknown[0], RECORDED),
        )
    words = model.config.text_config.vocab_size
    if prompt.dim() != 2 or prompt.is_floating_point() or not 0 <= int(prompt.min()) <= int(prompt.max()) < words:
        raise TokenError(
            "prompt",
            expected=f"token ids from 0 to {words - 1}, batch × length, all rows of one length",
            found=f"{prompt.dtype}, shape {tuple(prompt.shape)}",
            remedy="Encode it with the model's own tokenizer.",
        )
    if length < 1 or options.steps < 1:
        raise TraceError(
            "record_denoising",
            expected="at least 1 token to write, in at least 1 step",
            found=f"{length} tokens, {options.steps} steps",
            remedy="Ask for more.",
        )
