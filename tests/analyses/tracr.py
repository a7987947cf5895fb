"""Tracr's compiled programs in a stock GPT-2: weights that mean something, and a circuit that follows from the program.

Tracr's transformer is GPT-2 without norms, with ReLU and a head size of its own. `planted.blank` gives norms that do
nothing; heads are padded to GPT-2's size, and the query is scaled for the wider head. The vocabulary is the program's
input tokens, then a mask that writes nothing, then its answers. Answers are read one slot early, as an AR model's are,
although they are the answer *at* that slot: so a text of k tokens is asked for its k-th answer by the slots before the
k+1-th place, and nothing else need be shown (`UpToHere`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import pad

from probe.models.model import Model
from probe.paradigms import Autoregressive, Masked
from probe.readings import Reading, View
from probe.tasks import Batch
from tests.analyses.planted import balance, batch_of, blank

FIXTURES = Path(__file__).parent / "fixtures"
LONGEST = 5  # with the token that begins a text


@dataclass(frozen=True)
class Program:
    """A compiled program: its model under either mask, and what Tracr itself says on `texts`."""

    name: str
    tokens: tuple[str, ...]
    answers: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    said: dict[str, tuple[tuple[str, ...], ...]]  # under "causal" and "full"
    weights: dict[str, Tensor]
    layers: int
    heads: int

    @property
    def first_answer(self) -> int:
        return len(self.tokens) + 1

    def encode(self, text: tuple[str, ...]) -> list[int]:
        return [self.tokens.index(token) for token in ("bos", *text)]

    def decode(self, answers: Tensor) -> tuple[str, ...]:
        return tuple(self.answers[answer - self.first_answer] for answer in answers.tolist())

    def model(self, attention: str, *, noise: float = 0.0, seed: int = 0) -> Model:
        """The program under "causal" or "full" attention. `noise` stands where the program has no weights."""
        mask = len(self.tokens)
        manner = Autoregressive(mask_id=mask) if attention == "causal" else Masked(mask_id=mask, shift=True)
        return Model(_hosted(self, noise, seed), manner, name=f"tracr {self.name}, {attention}")


# What each program's compiled heads and MLPs read, from its text in RASP. `hist` counts, at each place, the tokens that
# are as the one there. `sort` counts the smaller ones first, which makes the place where a token belongs; then each
# place looks for the token that belongs to it.
CIRCUITS = {
    "hist": {("input", "a0.h0<q>"), ("input", "a0.h0<k>"), ("a0.h0", "m0"), ("m0", "logits")},
    "sort": {
        ("input", "a0.h0<q>"), ("input", "a0.h0<k>"), ("a0.h0", "m0"), ("m0", "a1.h0<k>"), ("input", "a1.h0<v>"),
        ("a1.h0", "logits"),
    },
}  # fmt: skip


def program(name: str) -> Program:
    with safe_open(FIXTURES / f"tracr_{name}.safetensors", "pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
        said = json.loads(file.metadata()["said"])
    texts, full, causal = (tuple(map(tuple, said[part])) for part in ("texts", "full", "causal"))
    outputs = {"full": full, "causal": causal}
    return Program(
        name, tuple(said["tokens"]), tuple(said["answers"]), texts, outputs, weights, said["layers"], said["heads"]
    )


def prompts(of: Program, attention: str, n: int, *, seed: int = 0) -> Batch:
    """Pairs of texts of three tokens, whose answers at the last differ; every token may."""
    generator = torch.Generator().manual_seed(seed)
    place = 3  # of the last token; its answer is read as the next place's
    at = [number for number, text in enumerate(of.texts) if len(text) == place]
    tokens = torch.tensor([[*of.encode(of.texts[number]), 0] for number in at])
    said = [of.said[attention][number][-1] for number in at]
    tokens[:, place + 1] = torch.tensor([of.first_answer + of.answers.index(answer) for answer in said])
    rows = []
    while len(rows) < n:
        clean, corrupt = torch.randint(len(at), (2,), generator=generator).tolist()
        if said[clean] != said[corrupt]:
            rows.append((clean, corrupt))
    chosen = torch.tensor(rows)
    clean, corrupt = tokens[chosen[:, 0]], tokens[chosen[:, 1]]
    distractor = corrupt[:, place + 1].clone()
    corrupt[:, place + 1] = clean[:, place + 1]
    return batch_of(clean, corrupt, place + 1, distractor)


@dataclass(frozen=True)
class UpToHere(Reading):
    """The text before the answer's place, all of it visible."""

    name = "up_to_here"

    def view(self, model: Model, batch: Batch) -> View:
        return View.still(torch.zeros(len(batch), int(batch.positions["answer"][0, 0]), dtype=torch.bool))


def _hosted(of: Program, noise: float, seed: int):
    """The program as the first heads of a GPT-2 that has one more, in each of its layers."""
    vocabulary = len(of.tokens) + 1 + len(of.answers)
    width, key_size = (
        of.weights["layer_0/attn/query/w"].shape[0],
        of.weights["layer_0/attn/query/w"].shape[1] // of.heads,
    )
    n_heads = of.heads + 1
    d_head = max(key_size, -(-(width + 1) // n_heads))
    n_inner = of.weights["layer_0/mlp/linear_1/w"].shape[1]
    backbone = blank(of.layers, n_heads, d_head, vocabulary, LONGEST + 1, n_inner=n_inner, activation_function="relu")
    d = n_heads * d_head
    trunk = backbone.transformer
    generator = torch.Generator().manual_seed(seed)

    def wide(rows: Tensor) -> Tensor:
        """Columns of Tracr's stream as columns of ours."""
        return pad(rows, (0, d - width))

    with torch.no_grad():
        trunk.wte.weight[: len(of.tokens)] = wide(of.weights["token_embed/embeddings"])
        positions = of.weights["pos_embed/embeddings"]
        trunk.wpe.weight[: len(positions)] = wide(positions)
        backbone.lm_head.weight[of.first_answer :, :width] = of.weights["unembed"].T
        for number, block in enumerate(trunk.h):
            for part in (block.attn.c_attn, block.attn.c_proj):
                part.weight.copy_(noise * torch.randn(part.weight.shape, generator=generator))
            _attention(block.attn, of, number, wide, d, d_head, key_size)
            mlp = {
                part: of.weights[f"layer_{number}/mlp/{part}"]
                for part in ("linear_1/w", "linear_1/b", "linear_2/w", "linear_2/b")
            }
            block.mlp.c_fc.weight[:width] = mlp["linear_1/w"]
            block.mlp.c_fc.bias.copy_(mlp["linear_1/b"])
            block.mlp.c_proj.weight.copy_(wide(mlp["linear_2/w"]))
            block.mlp.c_proj.bias.copy_(wide(mlp["linear_2/b"]))
        balance(backbone)
    return backbone


def _attention(attention, of: Program, layer: int, wide, d: int, d_head: int, key_size: int) -> None:
    def heads(part: str) -> Tensor:
        """A projection's weight over its bias, with each head padded: (stream + 1, heads · d_head)."""
        both = torch.cat([of.weights[f"layer_{layer}/attn/{part}/w"], of.weights[f"layer_{layer}/attn/{part}/b"][None]])
        return pad(both.unflatten(1, (of.heads, key_size)), (0, d_head - key_size)).flatten(1)

    used = of.heads * d_head
    for third, part in enumerate(("query", "key", "value")):
        both = heads(part) * ((d_head / key_size) ** 0.5 if part == "query" else 1.0)
        columns = slice(third * d, third * d + used)
        attention.c_attn.weight[:, columns] = 0.0
        attention.c_attn.weight[: len(both) - 1, columns] = both[:-1]
        attention.c_attn.bias[columns] = both[-1]
    out = of.weights[f"layer_{layer}/attn/linear/w"].unflatten(0, (of.heads, key_size))
    attention.c_proj.weight[:used] = wide(pad(out, (0, 0, 0, d_head - key_size)).flatten(0, 1))
    attention.c_proj.bias.copy_(wide(of.weights[f"layer_{layer}/attn/linear/b"]))
