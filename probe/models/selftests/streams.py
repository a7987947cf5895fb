"""The residual stream is a sum: do a layout's parts add up to it?

Recording, editing and attribution rely on a `Layout`, which says where the parts of an architecture are. With a wrong
one (a norm after attention instead of before it, another output projection, keys and values swapped) the logits are
still those of the stock class, because the forward pass is unchanged, but a circuit would be about something else. So
in every layer these must hold, up to rounding:

    resid_pre + attn_out = resid_mid
    resid_mid + mlp_out  = resid_post
    Σ head_out + bias    = attn_out      each head's own output, and the part that belongs to no head
    pattern · v          = z             a head's weighted sum is of its own values

If attention and MLP run in parallel (GPT-NeoX) the first two become resid_pre + attn_out + mlp_out = resid_post. The
cost is one forward pass over a few tokens, and it holds for any weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from probe.models.model import Model
from probe.models.scope import Scope
from probe.models.selftests.finding import FAIL, PASS, Finding, tolerance
from probe.models.selftests.tokens import some_tokens
from probe.models.writes import Writes

EXPECTED = (
    "in every layer resid_pre + attn_out = resid_mid, resid_mid + mlp_out = resid_post, the heads' writes = attn_out"
)
SIDE_BY_SIDE = "in every layer resid_pre + attn_out + mlp_out = resid_post, the heads' writes = attn_out"
SIDES = (
    ("resid_pre", "", "in"),
    ("attention_in", "attention_read", "in"),
    ("value", "value", "out"),
    ("z", "output", "in"),
    ("attn_out", "attention_write", "out"),
    ("pattern", "attention", "out"),
    ("mlp_in", "mlp_read", "in"),
    ("mlp_out", "mlp_write", "out"),
    ("resid_post", "", "out"),
)


@dataclass
class _Layer:
    """The inputs and outputs of one layer's modules."""

    number: int
    block: nn.Module
    found: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.found[name].float()


def streams(model: Model) -> Finding:
    """Whether every layer's parts add up to its residual stream."""
    tokens = some_tokens(model, 2, 8)
    if model.mask_id is not None:
        tokens[:, 3::4] = model.mask_id
    layers = [_Layer(number, block) for number, block in enumerate(model.blocks)]
    with Scope() as scope, ExitStack() as hooks:
        for layer in layers:
            for name, part, side in SIDES:
                module = model.layout.of_block(layer.block, part) if part else layer.block
                hooks.callback(_hear(scope, module, side, layer.found, name).remove)
        model.run(model.canvas(tokens), eager=True)
    worst, expected = 0.0, SIDE_BY_SIDE if model.parallel else EXPECTED
    for layer in layers:
        unheard = [name for name, _, _ in SIDES if name not in layer.found]
        if unheard:
            told = f"layer {layer.number} does not run what is said to be its {unheard[0]}"
            return Finding("streams", expected, told, FAIL)
        for sum_, off in _sums(model, layer):
            if not off <= tolerance(model.dtype):  # so that NaN fails
                told = f"{sum_} is missed by {off:.1g} of its parts in layer {layer.number}"
                return Finding("streams", expected, told, FAIL)
            worst = max(worst, off)
    return Finding("streams", expected, f"they are missed by at most {worst:.0e} of their parts", PASS)


def _hear(scope: Scope, module: nn.Module, side: str, found: dict[str, Tensor], name: str):
    def keep(passed: Tensor | tuple) -> None:
        one: Tensor = passed[1 if name == "pattern" else 0] if isinstance(passed, tuple) else passed
        found[name] = one.detach()

    if side == "in":
        return module.register_forward_pre_hook(scope.owned(lambda _, taken: keep(taken)))
    return module.register_forward_hook(scope.owned(lambda _, taken, given: keep(given)))


def _sums(model: Model, layer: _Layer) -> Iterator[tuple[str, float]]:
    """The sums that must hold, and their errors."""
    pre, post, attn_out, mlp_out = (layer[name] for name in ("resid_pre", "resid_post", "attn_out", "mlp_out"))
    if model.parallel:
        yield "resid_pre + attn_out + mlp_out = resid_post", _off(post, pre, attn_out, mlp_out)
        yield "resid_pre = what the MLP reads", _off(layer["mlp_in"], pre)
    else:
        yield "resid_pre + attn_out = resid_mid", _off(layer["mlp_in"], pre, attn_out)
        yield "resid_mid + mlp_out = resid_post", _off(post, layer["mlp_in"], mlp_out)
    yield "resid_pre = what attention reads", _off(layer["attention_in"], pre)
    yield "Σ head_out = attn_out", _of_heads(model, layer)
    yield "pattern · v = z", _of_values(model, layer)


def _of_heads(model: Model, layer: _Layer) -> float:
    writes = Writes.of_heads(model, layer.number)
    weight = writes.weight.float()
    z = layer["z"].to(weight.device)
    if tuple(weight.shape) != (model.n_heads * model.d_head, layer["attn_out"].shape[-1]) or z.shape[-1] != len(weight):
        return float("nan")
    scaled = writes.scaled(z.to(model.dtype)).float()
    parts = [part @ rows for part, rows in zip(scaled.split(model.d_head, -1), weight.split(model.d_head), strict=True)]
    rest = writes.rest(z.to(model.dtype))
    return _off(layer["attn_out"], *parts, *([] if rest is None else [rest.float().expand_as(parts[0])]))


def _of_values(model: Model, layer: _Layer) -> float:
    def heads(raw: Tensor) -> Tensor:
        return raw.unflatten(-1, (-1, model.d_head)).transpose(1, 2)

    value = layer["value"][..., model.qkv_columns["v"]]
    if value.shape[-1] != model.n_kv_heads * model.d_head:
        return float("nan")
    value = heads(value).repeat_interleave(model.n_heads // model.n_kv_heads, dim=1)
    mixed = layer["pattern"].to(value.device) @ value
    return _off(heads(layer["z"]), mixed)


def _off(whole: Tensor, *parts: Tensor) -> float:
    """The largest error of a sum, relative to its parts, since cancelling parts have larger rounding errors."""
    if any(part.shape != whole.shape for part in parts):
        return float("nan")
    parts = tuple(part.to(whole.device) for part in parts)
    missed = (torch.stack(parts).sum(0) - whole).abs()
    return float((missed / (torch.stack(parts).abs().sum(0) + whole.std())).max())
