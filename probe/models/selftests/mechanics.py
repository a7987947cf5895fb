"""Tests that compare two computations: against the stock class, between kernels, before and after a token changes.

They hold for any weights, including random ones, so they run wherever a forward pass is affordable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from probe.models.model import Model
from probe.models.scope import Scope
from probe.models.selftests.finding import FAIL, PASS, Finding, apart, tolerance, within
from probe.models.selftests.tokens import some_tokens
from probe.models.windows import windows_of
from probe.paradigms.canvas import Canvas

WIDEST = 16  # wider windows are narrowed to this, so that a few tokens reach beyond them
_UNMOVED = 1e-7  # a share of the logits' spread; less than this is no influence


def wiring(model: Model) -> Finding:
    """Our explicit mask against the stock class's own: causal, or full if it is an encoder."""
    stock_class = type(model.backbone).__name__
    expected = f"logits of {stock_class} left to itself, within {tolerance(model.dtype):.0e} of their scale"
    with narrowed(model, WIDEST):
        canvas = model.canvas(some_tokens(model, 2, WIDEST + 8), "full" if model.layout.encoder else "causal")
        ours = model.run(canvas).float()
        stock = model.backbone(**model.paradigm.shown(model, canvas), use_cache=False).logits.float()
    return within(model.dtype, "wiring", expected, apart(ours, stock, model.dtype))


def attention_reach(model: Model) -> Finding:
    """Change one token at a time and see which logits change."""
    sees, moved = _influence(model)
    length = len(sees)
    expected = f"logits that move with the tokens seen under {model.paradigm.attention} attention, and with no others"
    unseen = moved.masked_fill(sees, 0)
    leak = unseen.max().item()
    if not leak <= tolerance(model.dtype):  # so that NaN fails
        slot, cause = divmod(int(unseen.argmax()), length)
        return Finding("attention reach", expected, f"slot {slot} moves with token {cause}, unseen: {leak:.1e}", FAIL)
    place = torch.arange(length, device=sees.device)
    for side, there in (
        ("before", place[None, :] < place[:, None]),
        ("after", place[None, :] > place[:, None]),
    ):
        heard = moved.masked_fill(~(sees & there), 0).amax(1)
        deaf = ((sees & there).any(1) & (heard <= _UNMOVED)).nonzero().flatten().tolist()
        if deaf:
            return Finding(
                "attention reach", expected, f"slots {deaf} move with nothing that they see {side} them", FAIL
            )
    return Finding("attention reach", expected, f"unseen tokens move logits by at most {leak:.0e}", PASS)


def _influence(model: Model) -> tuple[Tensor, Tensor]:
    """Which tokens each slot depends on through all layers, and how much its logits (rows) change with each token
    (columns), relative to their spread."""
    tokens, others = some_tokens(model, 2, 8)[:, None]
    if model.mask_id is not None:
        tokens[:, 3::3] = model.mask_id
    others = torch.where(others == tokens, (others + 1) % model.vocabulary, others)
    length = tokens.shape[1]
    canvas = model.canvas(tokens)
    one_each = torch.eye(length, dtype=torch.bool, device=tokens.device)
    # Visibility stays the first row's, so that changing a mask does not also change visibility (masks_last).
    changed = replace(canvas, tokens=torch.where(one_each, others, tokens))
    before = model.run(canvas).float()
    moved = (model.run(changed).float() - before).abs().amax(-1).T
    return _reach(model, canvas[:1]).to(moved.device), moved / before.std()


def _reach(model: Model, canvas: Canvas) -> Tensor:
    """Visibility through all layers. A causal order stays the same from layer to layer; a window widens."""
    reach = torch.eye(canvas.slots, device=canvas.allowed.device)
    for layer in range(model.n_layers):
        reach = reach + (model.allowed(canvas, layer)[0].float() @ reach).clamp(max=1)
    return reach > 0


def kernels(model: Model) -> Finding:
    """Eager attention, whose patterns are available, against SDPA; with padding, so that every attention forbids
    something."""
    expected = "eager = SDPA; attention rows that sum to 1 and are exactly 0 where forbidden"
    tokens = some_tokens(model, 2, 12)
    if model.mask_id is not None:
        tokens[:, 3::4] = model.mask_id
    padding = torch.zeros_like(tokens, dtype=torch.bool)
    padding[1, :2] = True
    with narrowed(model, 4):
        return _kernels(model, model.canvas(tokens, padding=padding), expected)


def _kernels(model: Model, canvas: Canvas, expected: str) -> Finding:
    patterns: list[Tensor] = []
    with Scope() as scope, ExitStack() as hooks:
        keep = scope.owned(lambda _module, _inputs, output: patterns.append(output[1].float().cpu()))
        for block in model.blocks:
            hooks.callback(model.layout.of_block(block, "attention").register_forward_hook(keep).remove)
        eager = model.run(canvas, eager=True).float()
    sdpa = model.run(canvas).float()
    pattern = torch.stack(patterns)
    allowed = torch.stack([model.allowed(canvas, layer) for layer in range(model.n_layers)])
    leaked = pattern.masked_fill(allowed[:, :, None].cpu(), 0).abs().max().item()
    if leaked > 0:
        return Finding("kernels", expected, f"attention of {leaked:.2g} where it is forbidden", FAIL)
    unsummed = (pattern.sum(-1) - 1).abs().max().item()
    if not unsummed <= tolerance(model.dtype):
        return Finding("kernels", expected, f"attention rows that miss 1 by {unsummed:.1e}", FAIL)
    return within(model.dtype, "kernels", expected, apart(sdpa, eager, model.dtype))


@contextmanager
def narrowed(model: Model, widest: int) -> Iterator[None]:
    """Narrow a model's windows to `widest` inside the context, in its stock class too.

    A window of 16 tests the same as one of 4,096 at a hundredth of the cost. Other threads' passes wait.
    """
    wide = model.windows
    if all(window is None or window <= widest for window in wide):
        yield
        return
    config = model.config
    with model.turn:
        own = config.sliding_window
        config.sliding_window = min(own, widest)
        model.windows = windows_of(config)
        try:
            yield
        finally:
            model.windows, config.sliding_window = wide, own
