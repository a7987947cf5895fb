"""Circuit analysis as a textbook would write it: slow, open, and sharing no code with the analysis it is held against.

The model is computed here from its weights alone. The residual stream is a list of what was written to it, each head
apart; every target reads a sum of its own, to which a nudge of zeros is added, so that autograd gives the gradient at
that very input. With grouped queries, a key-value head is one target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor, nn

Names = dict[str, Tensor]
Scores = dict[tuple[str, str], float]  # by source and target


@dataclass
class Run:
    """What one forward pass wrote and read: writes and nudges by name, and the logits (rows, slots, vocabulary)."""

    writes: Names = field(default_factory=dict)
    nudges: Names = field(default_factory=dict)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))


def forward(
    backbone,
    embeds: Tensor,
    allowed: Tensor,
    places: Tensor,
    swap: Callable | None = None,
    apart: bool = False,
    put: Names | None = None,
) -> Run:
    """A forward pass. `swap(target, writes)` may give another sum of writes for a target to read; `put` holds writes
    that stand in place of what a source would write.

    With `apart`, queries that stand before a key's place read keys and values of their own.
    """
    config, run = backbone.config, Run()
    is_gpt2 = config.model_type == "gpt2"
    trunk = backbone.transformer if is_gpt2 else backbone.model
    rest = trunk.wpe(places).expand_as(embeds) if is_gpt2 else torch.zeros_like(embeds)
    run.writes["input"] = (put or {}).get("input", embeds)

    def read(target: str) -> Tensor:
        """What a target reads, from all that was written so far."""
        stream = rest + (sum(run.writes.values()) if swap is None else swap(target, dict(run.writes)))
        nudge = torch.zeros_like(stream, requires_grad=True)
        run.nudges[target] = nudge
        return stream + nudge

    def write(source: str, value: Tensor) -> None:
        run.writes[source] = (put or {}).get(source, value)

    for layer, block in enumerate(trunk.h if is_gpt2 else trunk.layers):
        attention, per_head = block.attn if is_gpt2 else block.self_attn, _gpt2_head if is_gpt2 else _llama_head
        norm, mlp_norm = (
            (block.ln_1, block.ln_2) if is_gpt2 else (block.input_layernorm, block.post_attention_layernorm)
        )
        n_heads = config.num_attention_heads
        n_kv = n_heads if is_gpt2 else config.num_key_value_heads
        made, sides = {}, ("", "@from_right") if apart else ("",)
        for kind, count in (("q", n_heads), ("k", n_kv), ("v", n_kv)):
            for head in range(count):
                for side in sides if kind in "kv" else ("",):
                    seen = norm(read(f"a{layer}.h{head}<{kind}>{side}"))
                    made[kind, head, side] = per_head(attention, seen, kind, head, config, places)
        for head in range(n_heads):
            group = head // (n_heads // n_kv)
            q, left, right = made["q", head, ""], sides[0], sides[-1]
            size, ahead = q.shape[-1], places[:, None, :] > places[:, :, None]
            scores = q @ made["k", group, left].transpose(-1, -2) * ~ahead
            scores = (scores + q @ made["k", group, right].transpose(-1, -2) * ahead) / size**0.5
            pattern = scores.masked_fill(~allowed, -float("inf")).softmax(-1)
            mixed = (pattern * ~ahead) @ made["v", group, left] + (pattern * ahead) @ made["v", group, right]
            write(f"a{layer}.h{head}", mixed @ _output(attention, head, size, is_gpt2))
        bias = (attention.c_proj if is_gpt2 else attention.o_proj).bias
        rest = rest if bias is None else rest + bias
        write(f"m{layer}", block.mlp(mlp_norm(read(f"m{layer}"))))
    final = trunk.ln_f if is_gpt2 else trunk.norm
    run.logits = backbone.lm_head(final(read("logits")))
    return run


def _gpt2_head(attention, seen: Tensor, kind: str, head: int, config, places: Tensor) -> Tensor:
    width, size = config.n_embd, config.n_embd // config.n_head
    start = "qkv".index(kind) * width + head * size
    columns = slice(start, start + size)
    return seen @ attention.c_attn.weight[:, columns] + attention.c_attn.bias[columns]


def _llama_head(attention, seen: Tensor, kind: str, head: int, config, places: Tensor) -> Tensor:
    size = attention.head_dim
    projection: nn.Linear = getattr(attention, f"{kind}_proj")
    rows = slice(head * size, (head + 1) * size)
    out = seen @ projection.weight[rows].T
    out = out if projection.bias is None else out + projection.bias[rows]
    if kind == "v":
        return out
    if hasattr(attention, f"{kind}_norm"):
        out = getattr(attention, f"{kind}_norm")(out)
    theta = config.rope_parameters["rope_theta"]
    angles = places[..., None] / theta ** (torch.arange(0, size, 2) / size)
    cos, sin = angles.cos().repeat(1, 1, 2), angles.sin().repeat(1, 1, 2)
    first, second = out.chunk(2, -1)
    return out * cos + torch.cat([-second, first], -1) * sin


def _output(attention, head: int, size: int, is_gpt2: bool) -> Tensor:
    weight = attention.c_proj.weight if is_gpt2 else attention.o_proj.weight.T
    return weight[head * size : (head + 1) * size]


def writes(backbone, tokens, allowed, places) -> Names:
    """What every source writes on some tokens."""
    with torch.no_grad():
        return forward(backbone, backbone.get_input_embeddings()(tokens), allowed, places).writes


def integrated(
    backbone,
    clean,
    corrupt,
    allowed,
    places,
    value: Callable[[Tensor], Tensor],
    steps: int,
    *,
    apart: bool = False,
    instead: Names | None = None,
) -> Scores:
    """EAP-IG edge by edge. `value` makes of logits the sum of the rows' metrics; `instead` holds other writes than
    the corrupt ones."""
    own = writes(backbone, clean, allowed, places)
    instead = writes(backbone, corrupt, allowed, places) if instead is None else instead
    scores: Scores = {}
    for k in range(1, steps + 1):
        point = instead["input"] + (k / steps) * (own["input"] - instead["input"])
        run = forward(backbone, point, allowed, places, apart=apart)
        _add(scores, run, value, own, instead, list(own), steps)
    return scores


def integrated_along_activations(
    backbone, clean, corrupt, allowed, places, value: Callable[[Tensor], Tensor], steps: int
) -> Scores:
    """The same along the writes of one layer's heads, one MLP or the input at a time, all else being clean."""
    own, instead = (writes(backbone, tokens, allowed, places) for tokens in (clean, corrupt))
    groups: dict[str, list[str]] = {}
    for source in own:
        groups.setdefault(source.split(".")[0], []).append(source)
    scores: Scores = {}
    for sources in groups.values():
        for k in range(1, steps + 1):
            put = {name: instead[name] + (k / steps) * (own[name] - instead[name]) for name in sources}
            run = forward(backbone, own["input"], allowed, places, put=put)
            _add(scores, run, value, own, instead, sources, steps)
    return scores


def _add(scores: Scores, run: Run, value, own: Names, instead: Names, sources: list[str], steps: int) -> None:
    """The scores of some sources' edges in one run, a share of them each step."""
    targets, n = list(run.nudges), len(own["input"])
    nudges = list(run.nudges.values())
    gradients = torch.autograd.grad(value(run.logits).sum(), nudges, allow_unused=True, materialize_grads=True)
    for target, gradient in zip(targets, gradients, strict=True):
        for source in before(target, sources):
            score = float(((instead[source] - own[source]) * gradient).sum()) / steps / n
            scores[source, target] = scores.get((source, target), 0.0) + score


def before(target: str, sources) -> list[str]:
    """The sources that a target can read."""

    def turn(name: str) -> float:
        if name in ("input", "logits"):
            return -1.0 if name == "input" else float("inf")
        return int(name[1:].split(".")[0]) + (0.5 if name[0] == "m" else 0.0)

    return [source for source in sources if turn(source) < turn(target)]


def total(writes: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, writes)


def edge_patched(backbone, clean, corrupt, allowed, places, source: str, target: str) -> Tensor:
    """Logits of the clean run in which one target reads one source's corrupt write, and everything else follows."""
    table = backbone.get_input_embeddings()
    with torch.no_grad():
        other = forward(backbone, table(corrupt), allowed, places).writes[source]

        def swap(asked: str, writes: Names) -> Tensor:
            return total((writes | {source: other} if asked == target else writes).values())

        return forward(backbone, table(clean), allowed, places, swap).logits


def circuit_alone(backbone, clean, corrupt, allowed, places, kept: set[tuple[str, str]], apart: bool = False) -> Tensor:
    """Logits of the run in which every edge that is not kept carries what it carries in the corrupt run."""
    table = backbone.get_input_embeddings()
    with torch.no_grad():
        other = forward(backbone, table(corrupt), allowed, places).writes

        def swap(asked: str, writes: Names) -> Tensor:
            return total(write if (name, asked) in kept else other[name] for name, write in writes.items())

        return forward(backbone, table(clean), allowed, places, swap, apart).logits
