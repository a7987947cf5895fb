"""Transformers written by hand, whose circuit is known because somebody put it there.

They are stock GPT-2s in every respect, so whatever works on a loaded model works on them. Two things make writing one
by hand possible:

    norms that do nothing   A LayerNorm with an epsilon of 1e12 and a weight of 1e6 is (x - mean) · (1 - var / 2e12).
                            `balance` then has every write to the residual stream add up to 0, through one coordinate
                            that nobody reads, and so the mean is 0 too.
    one-hot subspaces       The stream holds the token here, the place here, what was carried here (`relayed`), and the
                            answer. A head copies from one place to another and from one subspace to another.

The planted task is to say, at a place, which token stands at a faraway one. One set of heads carries it from the source
to a relay, a later set from the relay to where the question is read, and an MLP turns it into the answer:

    input ─v─► first heads ─v─► second heads ──► MLP ──► logits

How early the two layers are and over how many heads each step is spread are the knobs: the known answers of every
measure of depth (early, late) and of spread (concentrated, spread out). `noise` fills all other weights with small
random numbers, so that edges outside the circuit have effects too, only smaller ones.

`induction` plants a circuit whose information also goes through queries and keys, softly, so that gradients exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from probe.models.model import Model
from probe.paradigms import Autoregressive, Paradigm
from probe.tasks import Batch

WORDS = 8  # ordinary tokens, which are also the answers
MASK = WORDS
EPSILON = 1e12
SURE = 30.0  # a difference of scores that makes softmax a choice: exp(-30) is nothing in float32
SOFT = 3.0  # one that makes it a preference


@dataclass(frozen=True)
class Planted:
    """A model, a question for it, and the whole truth about how it answers."""

    model: Model
    batch: Batch
    edges: frozenset[tuple[str, str]]  # source, target, as `Circuit.edges` names them
    nodes: frozenset[str]  # heads and MLPs


@dataclass(frozen=True)
class _Space:
    """Where the parts of the residual stream begin for texts of `places` slots, and how wide it is."""

    places: int
    n_heads: int

    token = 0  # WORDS + 1 coordinates, the mask's being the last
    place = WORDS + 1

    @property
    def relayed(self) -> int:
        return self.place + self.places

    @property
    def found(self) -> int:
        return self.relayed + WORDS

    @property
    def answer(self) -> int:
        return self.found + WORDS

    @property
    def d_head(self) -> int:
        """Room in a head for the places or words it compares and the words it carries, in the stream for all of it."""
        coordinates = self.answer + WORDS + 1  # the last balances the others
        return max(-(-coordinates // self.n_heads), self.looked_at + WORDS)

    @property
    def looked_at(self) -> int:
        """The coordinates of a query or key; those of the value come after them."""
        return self.places + WORDS


def relay(
    *,
    n_layers: int = 6,
    n_heads: int = 4,
    first: int = 0,
    heads: tuple[int, ...] = (0,),
    noise: float = 0.0,
    source: int = 1,
    via: int = 3,
    at: int = 5,
    places: int = 6,
    paradigm: Paradigm | None = None,
    n: int = 16,
    seed: int = 0,
    wait: int = 0,
) -> Planted:
    """The token at `source`, brought to `via` by layer `first` and to the answer at `at` by the next.

    Each of `heads` does its share of both steps, and as many neurons a word as there are heads share the last, which
    is in the layer of the second step, or `wait` layers later.
    """
    paradigm = paradigm or Autoregressive(mask_id=MASK)
    space = _Space(places, n_heads)
    backbone = blank(n_layers, n_heads, space.d_head, WORDS + 1, places)
    share = 1 / len(heads)
    with torch.no_grad():
        _prepare(backbone, space, noise, seed)
        for head in heads:
            _look(backbone, space, first, head, {via: source})
            _carry(backbone, space, first, head, space.token, space.relayed, share)
            _look(backbone, space, first + 1, head, {at - paradigm.shift: via})
            _carry(backbone, space, first + 1, head, space.relayed, space.found, share)
        _conclude(backbone, space, first + 1 + wait, copies=len(heads))
        balance(backbone)
    one, two = ([f"a{layer}.h{head}" for head in heads] for layer in (first, first + 1))
    mlp = f"m{first + 1 + wait}"
    edges = {
        *(("input", f"{a}<v>") for a in one),
        *((a, f"{b}<v>") for a in one for b in two),
        *((b, mlp) for b in two),
        (mlp, "logits"),
    }
    model = Model(backbone, paradigm, name=f"relay in layer {first} by {len(heads)}")
    clean, changed = _texts(n, places, seed)
    clean[:, at] = _concluded(clean[:, source])
    corrupt = clean.clone()
    corrupt[:, source] = changed
    batch = batch_of(clean, corrupt, at, _concluded(changed))
    return Planted(model, batch, frozenset(edges), frozenset({*one, *two, mlp}))


def two_tokens(*, plans: bool, uses: bool = False, n_layers: int = 3, n: int = 48, seed: int = 0) -> Planted:
    """Four words, of which the second and then the first decide the two tokens that are written behind them.

    With `plans`, a second head of the first layer already brings the first word to where the first token is read, into
    a part of the stream that nothing reads: the model then knows its second token before it writes the first. If it
    `uses` its plan, it writes the second token from there, and not from the first word.
    """
    space = _Space(6, 2)
    backbone = blank(n_layers, 2, space.d_head, WORDS + 1, space.places)
    with torch.no_grad():
        _prepare(backbone, space, 0.0, seed)
        _look(backbone, space, 0, 0, {3: 1} if uses else {3: 1, 4: 0})
        _carry(backbone, space, 0, 0, space.token, space.found, 1.0)
        if plans:
            _look(backbone, space, 0, 1, {3: 0})
            _carry(backbone, space, 0, 1, space.token, space.relayed, 1.0)
        if uses:
            _look(backbone, space, 1, 0, {4: 3})
            _carry(backbone, space, 1, 0, space.relayed, space.found, 2.0)  # more than what layer 0 found there
        _conclude(backbone, space, int(uses), copies=1)
        balance(backbone)
    generator = torch.Generator().manual_seed(seed)
    given = torch.randint(0, WORDS, (n, 4), generator=generator)
    clean = torch.cat([given, _concluded(given[:, [1, 0]])], 1)
    corrupt = clean.clone()
    corrupt[:, 2] = (corrupt[:, 2] + 1 + torch.randint(0, WORDS - 1, (n,), generator=generator)) % WORDS
    batch = batch_of(clean, corrupt, 4, (clean[:, 4] + 1) % WORDS)
    batch = replace(batch, positions={**batch.positions, "completion": torch.tensor([[4, 5]]).expand(n, -1)})
    model = Model(backbone, Autoregressive(mask_id=MASK), name="plans" if plans else "does not plan")
    return Planted(model, batch, frozenset(), frozenset())


def induction(
    *,
    through: str = "k",
    n_layers: int = 4,
    n_heads: int = 2,
    first: int = 0,
    noise: float = 0.0,
    n: int = 16,
    seed: int = 0,
) -> Planted:
    """A B C D A → B: a head brings the token before, a later one looks, softly, for the token that is asked for.

    `through` says what the corrupt text changes: "k", what stands before B and D is exchanged; "q", what is asked for.
    """
    space = _Space(6, n_heads)
    backbone = blank(n_layers, n_heads, space.d_head, WORDS + 1, space.places)
    with torch.no_grad():
        _prepare(backbone, space, noise, seed)
        _look(backbone, space, first, 0, {1: 0, 3: 2})
        _carry(backbone, space, first, 0, space.token, space.relayed, 1.0)
        _look(backbone, space, first + 1, 0, {})
        _match(backbone, space, first + 1, 0, asked_at=4, among=(1, 3))
        _carry(backbone, space, first + 1, 0, space.token, space.found, 1.0)
        _conclude(backbone, space, first + 1, copies=1)
        balance(backbone)
    one, two, mlp = f"a{first}.h0", f"a{first + 1}.h0", f"m{first + 1}"
    into = {("input", f"{one}<v>"), (one, f"{two}<k>")} if through == "k" else {("input", f"{two}<q>")}
    generator = torch.Generator().manual_seed(seed)
    a, b, c, d = torch.stack([torch.randperm(WORDS, generator=generator)[:4] for _ in range(n)]).T
    clean = torch.stack([a, b, c, d, a, _concluded(b)], 1)
    corrupt = clean.clone()
    if through == "k":
        corrupt[:, 0], corrupt[:, 2] = c, a
    else:
        corrupt[:, 4] = c
    batch = batch_of(clean, corrupt, 5, _concluded(d))
    nodes = frozenset({two, mlp} | ({one} if through == "k" else set()))
    model = Model(backbone, Autoregressive(mask_id=MASK), name=f"induction through {through}")
    return Planted(model, batch, frozenset(into | {(two, mlp), (mlp, "logits")}), nodes)


def permuted_heads(model: Model, seed: int = 0) -> Model:
    """The same function of a GPT-2, with the heads of every layer in another order."""
    import copy

    backbone = copy.deepcopy(model.backbone)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in model.layout.blocks(backbone):
            order = torch.randperm(model.n_heads, generator=generator)
            inward, outward = (model.layout.of_block(block, part) for part in ("query", "output"))
            for of_inward in (inward.weight, inward.bias):
                of_inward.copy_(of_inward.unflatten(-1, (3, model.n_heads, -1))[..., order, :].flatten(-3))
            outward.weight.copy_(outward.weight.unflatten(0, (model.n_heads, -1))[order].flatten(0, 1))
    return Model(backbone, model.paradigm, name=f"{model.name}, heads permuted")


# A stock GPT-2 to write in


def blank(n_layers: int, n_heads: int, d_head: int, vocabulary: int, places: int, **other: object) -> GPT2LMHeadModel:
    """A stock GPT-2 whose weights are all 0 and whose norms do nothing to what is balanced."""
    config = GPT2Config(
        vocab_size=vocabulary, n_positions=places, n_embd=n_heads * d_head, n_layer=n_layers, n_head=n_heads,
        layer_norm_epsilon=EPSILON, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
        **{"n_inner": n_heads * WORDS, **other},
    )  # fmt: skip
    backbone = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            is_norm = name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight"))
            parameter.fill_(EPSILON**0.5 if is_norm else 0.0)
    return backbone


def balance(backbone: GPT2LMHeadModel) -> None:
    """Let the last coordinate of every write to the residual stream be minus the sum of its others."""
    trunk = backbone.transformer
    writes = [trunk.wte.weight, trunk.wpe.weight]
    for block in trunk.h:
        writes += [block.attn.c_proj.weight, block.attn.c_proj.bias, block.mlp.c_proj.weight, block.mlp.c_proj.bias]
    with torch.no_grad():
        for write in writes:
            write[..., -1] = -write[..., :-1].sum(-1)


def _prepare(backbone: GPT2LMHeadModel, space: _Space, noise: float, seed: int) -> None:
    """Noise in every layer; the embeddings and the unembedding, which have none."""
    generator = torch.Generator().manual_seed(seed)
    for block in backbone.transformer.h:
        for part in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
            part.weight.copy_(noise * torch.randn(part.weight.shape, generator=generator))
    backbone.transformer.wte.weight[:, space.token : space.token + WORDS + 1] = torch.eye(WORDS + 1)
    backbone.transformer.wpe.weight[:, space.place : space.place + space.places] = torch.eye(space.places)
    backbone.lm_head.weight[:WORDS, space.answer : space.answer + WORDS] = torch.eye(WORDS)


def _look(backbone: GPT2LMHeadModel, space: _Space, layer: int, head: int, moves: Mapping[int, int]) -> None:
    """Let a head attend from some places to others, and from all the rest to themselves."""
    query, key, _ = _head(backbone, space, layer, head)
    query.zero_()
    key.zero_()
    for place in range(space.places):
        query[space.place + place, moves.get(place, place)] = SURE * space.d_head**0.5
        key[space.place + place, place] = 1.0


def _match(
    backbone: GPT2LMHeadModel, space: _Space, layer: int, head: int, *, asked_at: int, among: tuple[int, ...]
) -> None:
    """Let a head attend from a place to some others, the more where the token here has been relayed to."""
    query, key, _ = _head(backbone, space, layer, head)
    query[space.place + asked_at] = 0.0
    query[space.place + asked_at, list(among)] = SURE * space.d_head**0.5
    for word in range(WORDS):
        query[space.token + word, space.places + word] = SOFT * space.d_head**0.5
        key[space.relayed + word, space.places + word] = 1.0


def _carry(
    backbone: GPT2LMHeadModel, space: _Space, layer: int, head: int, source: int, target: int, share: float
) -> None:
    """Let a head bring words from one subspace to another."""
    value = _head(backbone, space, layer, head)[2]
    first = head * space.d_head
    output = backbone.transformer.h[layer].attn.c_proj.weight[first : first + space.d_head]
    value.zero_()
    output.zero_()
    for word in range(WORDS):
        value[source + word, space.looked_at + word] = 1.0
        output[space.looked_at + word, target + word] = share


def _conclude(backbone: GPT2LMHeadModel, space: _Space, layer: int, copies: int) -> None:
    """Let an MLP turn what was found into the answer, `copies` neurons a word."""
    mlp = backbone.transformer.h[layer].mlp
    mlp.c_fc.weight.zero_()
    mlp.c_proj.weight.zero_()
    for word in range(WORDS):
        neurons = slice(word * copies, (word + 1) * copies)
        mlp.c_fc.weight[space.found + word, neurons] = 2.0
        mlp.c_proj.weight[neurons, space.answer + (word + 1) % WORDS] = 4.0 / copies


def _head(backbone: GPT2LMHeadModel, space: _Space, layer: int, head: int) -> list[Tensor]:
    """A head's query, key and value weights, stream × head features each."""
    d = backbone.config.n_embd
    first = head * space.d_head
    weight = backbone.transformer.h[layer].attn.c_attn.weight
    return [weight[:, part * d + first : part * d + first + space.d_head] for part in range(3)]


# The questions


def batch_of(clean: Tensor, corrupt: Tensor, at: int, distractor: Tensor) -> Batch:
    """A batch of no task, whose answers stand at one place."""
    n = len(clean)
    choices = torch.arange(int(clean.max()) + 1)
    is_right = choices == clean[:, at, None]
    place = torch.full((n, 1), at)
    changed = (clean != corrupt).any(0).nonzero()[:, 0]
    return Batch(
        task="planted", scope="global", seed=0, split="test", clean=clean, corrupt=corrupt, target=clean[:, at],
        distractor=distractor, positions={"answer": place, "completion": place, "corrupted": changed.expand(n, -1)},
        choices=choices, right=is_right, wrong=~is_right, facts=tuple({"number": i} for i in range(n)), spelling={},
    )  # fmt: skip


def _texts(n: int, places: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random words, and for each text one that it does not hold."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.stack([torch.randperm(WORDS, generator=generator) for _ in range(n)])
    return words[:, :places].clone(), words[:, places]


def _concluded(words: Tensor) -> Tensor:
    return (words + 1) % WORDS
