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
    kind = config.model_type
    trunk = {"gpt2": "transformer", "gpt_neox": "gpt_neox"}.get(kind, "model")
    trunk = getattr(backbone, trunk)
    rest = trunk.wpe(places).expand_as(embeds) if kind == "gpt2" else torch.zeros_like(embeds)
    run.writes["input"] = (put or {}).get("input", embeds)

    def read(target: str) -> Tensor:
        """What a target reads, from all that was written so far."""
        stream = rest + (sum(run.writes.values()) if swap is None else swap(target, dict(run.writes)))
        nudge = torch.zeros_like(stream, requires_grad=True)
        run.nudges[target] = nudge
        return stream + nudge

    def write(source: str, value: Tensor) -> None:
        run.writes[source] = (put or {}).get(source, value)

    for layer, block in enumerate(trunk.h if kind == "gpt2" else trunk.layers):
        names = {"gpt2": "attn", "modernbert": "attn", "gpt_neox": "attention"}
        attention = getattr(block, names.get(kind, "self_attn"))
        norm, norm_behind, mlp_norm, mlp_norm_behind = _norms(block, kind)
        n_heads = config.num_attention_heads
        n_kv = n_heads if kind in ("gpt2", "gpt_neox", "modernbert") else config.num_key_value_heads
        raw, sides = {}, ("", "@from_right") if apart else ("",)
        for part, count in (("q", n_heads), ("k", n_kv), ("v", n_kv)):
            for head in range(count):
                for side in sides if part in "kv" else ("",):
                    seen = norm(read(f"a{layer}.h{head}<{part}>{side}"))
                    raw[part, head, side] = _projected(attention, seen, part, head, config)
        made = {key: _turned(attention, raw, key, layer, config, places) for key in raw}
        side_by_side = kind == "gpt_neox" and config.use_parallel_residual
        read_by_mlp = read(f"m{layer}") if side_by_side else None
        mixes = []
        for head in range(n_heads):
            group = head // (n_heads // n_kv)
            q, left, right = made["q", head, ""], sides[0], sides[-1]
            ahead = places[:, None, :] > places[:, :, None]
            scores = q @ made["k", group, left].transpose(-1, -2) * ~ahead
            scores = scores + q @ made["k", group, right].transpose(-1, -2) * ahead
            scores = scores / (config.query_pre_attn_scalar if kind in GEMMA else q.shape[-1]) ** 0.5
            if kind == "gemma2":
                scores = config.attn_logit_softcapping * (scores / config.attn_logit_softcapping).tanh()
            pattern = scores.masked_fill(~allowed, -float("inf")).softmax(-1)
            mixed = (pattern * ~ahead) @ made["v", group, left] + (pattern * ahead) @ made["v", group, right]
            mixes.append(mixed @ _output(attention, kind)[head * q.shape[-1] : (head + 1) * q.shape[-1]])
        projection = {"gpt2": "c_proj", "gpt_neox": "dense", "modernbert": "Wo"}.get(kind, "o_proj")
        bias = getattr(attention, projection).bias
        rest = rest if bias is None else rest + bias
        behind = 1.0 if norm_behind is None else _gain(norm_behind, kind) / _size(norm_behind, total(mixes))
        for head, mix in enumerate(mixes):
            write(f"a{layer}.h{head}", mix * behind)
        written = block.mlp(mlp_norm(read(f"m{layer}") if read_by_mlp is None else read_by_mlp))
        write(f"m{layer}", written if mlp_norm_behind is None else mlp_norm_behind(written))
    last = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm", "modernbert": "final_norm"}
    final = getattr(trunk, last.get(kind, "norm"))(read("logits"))
    run.logits = backbone.decoder(backbone.head(final)) if kind == "modernbert" else backbone.lm_head(final)
    if kind == "gemma2":
        run.logits = config.final_logit_softcapping * (run.logits / config.final_logit_softcapping).tanh()
    return run


GEMMA = ("gemma2", "gemma3_text")


def _norms(block, kind: str) -> tuple[Callable[[Tensor], Tensor], nn.Module | None, Callable, nn.Module | None]:
    """Before attention, behind it, before the MLP, behind it."""
    if kind == "gpt2":
        return block.ln_1, None, block.ln_2, None
    if kind == "modernbert":
        return block.attn_norm, None, block.mlp_norm, None
    if kind == "olmo2":
        return nn.Identity(), block.post_attention_layernorm, nn.Identity(), block.post_feedforward_layernorm
    if kind in GEMMA:
        behind = block.post_attention_layernorm, block.post_feedforward_layernorm
        return block.input_layernorm, behind[0], block.pre_feedforward_layernorm, behind[1]
    return block.input_layernorm, None, block.post_attention_layernorm, None


def _gain(norm, kind: str) -> Tensor:
    return 1 + norm.weight if kind in GEMMA else norm.weight


def _size(norm, whole: Tensor) -> Tensor:
    """What an RMS norm divides by."""
    epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    return (whole.square().mean(-1, keepdim=True) + epsilon).sqrt()


def _projected(attention, seen: Tensor, part: str, head: int, config) -> Tensor:
    """A head's query, key or value as its projection makes it."""
    turn, n_heads = "qkv".index(part), config.num_attention_heads
    size = config.hidden_size // n_heads
    if config.model_type == "gpt2":
        columns = slice(turn * n_heads * size + head * size, turn * n_heads * size + (head + 1) * size)
        return seen @ attention.c_attn.weight[:, columns] + attention.c_attn.bias[columns]
    if config.model_type == "gpt_neox":
        joint = attention.query_key_value
        start = 3 * head * size + turn * size
        out = seen @ joint.weight[start : start + size].T
        return out if joint.bias is None else out + joint.bias[start : start + size]
    size = attention.head_dim
    if config.model_type == "modernbert":
        rows = slice((turn * n_heads + head) * size, (turn * n_heads + head + 1) * size)
        out = seen @ attention.Wqkv.weight[rows].T
        return out if attention.Wqkv.bias is None else out + attention.Wqkv.bias[rows]
    if config.model_type == "phi3":
        before = {"q": 0, "k": n_heads, "v": n_heads + config.num_key_value_heads}[part]
        return seen @ attention.qkv_proj.weight[(before + head) * size : (before + head + 1) * size].T
    projection: nn.Linear = getattr(attention, f"{part}_proj")
    rows = slice(head * size, (head + 1) * size)
    out = seen @ projection.weight[rows].T
    return out if projection.bias is None else out + projection.bias[rows]


def _turned(attention, raw: dict, key: tuple[str, int, str], layer: int, config, places: Tensor) -> Tensor:
    """The same, normed and turned by its place where the architecture does that."""
    (part, head, side), out, kind = key, raw[key], config.model_type
    size = out.shape[-1]
    if part == "v" or kind == "gpt2":
        return out
    norm = getattr(attention, f"{part}_norm", None)
    if kind == "olmo2":
        together = torch.cat([one for (of, _, where), one in raw.items() if (of, where) == (part, side)], -1)
        out = out / _size(norm, together) * norm.weight[head * size : (head + 1) * size]
    elif norm is not None:
        out = norm(out)
    if kind == "smollm3" and not config.no_rope_layers[layer]:
        return out
    rope = config.rope_parameters
    rope = rope[config.layer_types[layer]] if kind in ("gemma3_text", "modernbert") else rope
    wide = int(size * rope.get("partial_rotary_factor", 1))
    angles = places[..., None] / rope["rope_theta"] ** (torch.arange(0, wide, 2) / wide)
    cos, sin = angles.cos().repeat(1, 1, 2), angles.sin().repeat(1, 1, 2)
    turned, still = out[..., :wide], out[..., wide:]
    first, second = turned.chunk(2, -1)
    return torch.cat([turned * cos + torch.cat([-second, first], -1) * sin, still], -1)


def _output(attention, kind: str) -> Tensor:
    """(heads' features, feature)."""
    if kind == "gpt2":
        return attention.c_proj.weight
    return getattr(attention, {"gpt_neox": "dense", "modernbert": "Wo"}.get(kind, "o_proj")).weight.T


def writes(backbone, tokens, allowed, places) -> Names:
    """What every source writes on some tokens."""
    with torch.no_grad():
        return forward(backbone, embedded(backbone, tokens), allowed, places).writes


def embedded(backbone, tokens) -> Tensor:
    """What tokens write to the stream."""
    if backbone.config.model_type == "modernbert":
        return backbone.model.embeddings(tokens)
    return backbone.get_input_embeddings()(tokens)


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
    first: int = 1,
) -> Scores:
    """EAP-IG edge by edge. `value` makes of logits the sum of the rows' metrics; `instead` holds other writes than
    the corrupt ones; `first` is the first k of the path."""
    own = writes(backbone, clean, allowed, places)
    instead = writes(backbone, corrupt, allowed, places) if instead is None else instead
    scores: Scores = {}
    for k in range(first, first + steps):
        point = instead["input"] + (k / steps) * (own["input"] - instead["input"])
        run = forward(backbone, point, allowed, places, apart=apart)
        _add(scores, run, value, own, instead, list(own), steps, _side_by_side(backbone))
    return scores


def integrated_along_activations(
    backbone, clean, corrupt, allowed, places, value: Callable[[Tensor], Tensor], steps: int, first: int = 1
) -> Scores:
    """The same along the writes of one layer's heads, one MLP or the input at a time, all else being clean."""
    own, instead = (writes(backbone, tokens, allowed, places) for tokens in (clean, corrupt))
    groups: dict[str, list[str]] = {}
    for source in own:
        groups.setdefault(source.split(".")[0], []).append(source)
    scores: Scores = {}
    for sources in groups.values():
        for k in range(first, first + steps):
            put = {name: instead[name] + (k / steps) * (own[name] - instead[name]) for name in sources}
            run = forward(backbone, own["input"], allowed, places, put=put)
            _add(scores, run, value, own, instead, sources, steps, _side_by_side(backbone))
    return scores


def _side_by_side(backbone) -> bool:
    return getattr(backbone.config, "use_parallel_residual", False)


def _add(
    scores: Scores, run: Run, value, own: Names, instead: Names, sources: list[str], steps: int, side_by_side: bool
) -> None:
    """The scores of some sources' edges in one run, a share of them each step."""
    targets, n = list(run.nudges), len(own["input"])
    nudges = list(run.nudges.values())
    gradients = torch.autograd.grad(value(run.logits).sum(), nudges, allow_unused=True, materialize_grads=True)
    for target, gradient in zip(targets, gradients, strict=True):
        for source in before(target, sources, side_by_side):
            score = float(((instead[source] - own[source]) * gradient).sum()) / steps / n
            scores[source, target] = scores.get((source, target), 0.0) + score


def before(target: str, sources, side_by_side: bool = False) -> list[str]:
    """The sources that a target can read."""

    def turn(name: str) -> float:
        if name in ("input", "logits"):
            return -1.0 if name == "input" else float("inf")
        return int(name[1:].split(".")[0]) + (0.5 if name[0] == "m" and not side_by_side else 0.0)

    return [source for source in sources if turn(source) < turn(target)]


def total(writes: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, writes)


def edge_patched(backbone, clean, corrupt, allowed, places, source: str, target: str) -> Tensor:
    """Logits of the clean run in which one target reads one source's corrupt write, and everything else follows."""
    with torch.no_grad():
        other = forward(backbone, embedded(backbone, corrupt), allowed, places).writes[source]

        def swap(asked: str, writes: Names) -> Tensor:
            return total((writes | {source: other} if asked == target else writes).values())

        return forward(backbone, embedded(backbone, clean), allowed, places, swap).logits


def circuit_alone(backbone, clean, corrupt, allowed, places, kept: set[tuple[str, str]], apart: bool = False) -> Tensor:
    """Logits of the run in which every edge that is not kept carries what it carries in the corrupt run."""
    with torch.no_grad():
        other = forward(backbone, embedded(backbone, corrupt), allowed, places).writes

        def swap(asked: str, writes: Names) -> Tensor:
            return total(write if (name, asked) in kept else other[name] for name, write in writes.items())

        return forward(backbone, embedded(backbone, clean), allowed, places, swap, apart).logits
