"""Models whose answer is known: GPT-2 with one layer and one head, its weights set by hand.

The residual stream has three parts, each one-hot: what stands here (V), where here is (P), and the answer (V). The
head's query at place p looks for place p + reach, and twice less for place 0; its keys are places, its values tokens,
and it writes into the answer part, which alone is unembedded. So the model answers with the token that stands at
`offset` from the place asked about, and with the first token of the text where that place is not seen or not there.

Both norms are undone: every row holds two ones before the head and three behind it, so that mean and variance are
known, and a norm's weight and bias can take them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from probe.models.model import Model
from probe.paradigms import Paradigm
from probe.tasks import Batch, vocabulary

PLACES = 64
SURE = 200.0  # a difference of scores that makes softmax a choice


def reads(offset: int, paradigm: Paradigm) -> Model:
    """Answers for a place with the token at `offset` from it."""
    backbone = _blank()
    reach = offset + (1 if paradigm.shift else 0)  # with shift the slot that answers is one to the left
    here, where, answer, d = _parts()
    block = backbone.transformer.h[0]
    with torch.no_grad():
        # c_attn maps a row of the stream (d) to query, key and value (3d).
        query, key, value = (block.attn.c_attn.weight[:, i * d : (i + 1) * d] for i in range(3))
        for place in range(PLACES):
            query[where + place, where] += SURE * d**0.5
            if 0 <= place + reach < PLACES:
                query[where + place, where + place + reach] += 2 * SURE * d**0.5
            key[where + place, where + place] = 1.0
        for token in range(backbone.config.vocab_size):
            value[here + token, here + token] = 1.0
            block.attn.c_proj.weight[here + token, answer + token] = 1.0
    return Model(backbone, paradigm, vocabulary.shipped(), name=f"reads {offset:+d}")


def constant(token: int, paradigm: Paradigm) -> Model:
    """Answers with `token`, whatever it is shown."""
    return likes({token: SURE}, paradigm)


def likes(logits: Mapping[int, float], paradigm: Paradigm) -> Model:
    """Gives some tokens these logits more than the others, whatever it is shown."""
    backbone = _blank()
    with torch.no_grad():
        for token, logit in logits.items():
            backbone.transformer.ln_f.bias[_parts()[2] + token] += logit
    return Model(backbone, paradigm, vocabulary.shipped(), name=f"likes {', '.join(map(str, logits))}")


def _parts() -> tuple[int, int, int, int]:
    """Where in the stream the token here, the place and the answer begin, and the stream's width."""
    size = len(vocabulary.shipped())
    return 0, size, size + PLACES, 2 * size + PLACES


def _blank() -> GPT2LMHeadModel:
    here, where, answer, d = _parts()
    size = where - here
    config = GPT2Config(
        vocab_size=size, n_positions=PLACES, n_embd=d, n_layer=1, n_head=1, n_inner=1, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    backbone = GPT2LMHeadModel(config)
    block = backbone.transformer.h[0]
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.zero_()
        backbone.transformer.wte.weight[:, here : here + size] = torch.eye(size)
        backbone.transformer.wpe.weight[:, where : where + PLACES] = torch.eye(PLACES)
        backbone.lm_head.weight[:, answer:] = torch.eye(size)
        for norm, ones in ((block.ln_1, 2), (backbone.transformer.ln_f, 3)):
            mean = ones / d
            norm.weight.fill_((mean * (1 - mean) + norm.eps) ** 0.5)
            norm.bias.fill_(mean)
    return backbone


def batch_of(tokens: Tensor, answer: Tensor, start: int, length: int, **other: Any) -> Batch:
    """A batch of no task: the text, where its completion is, and what is asked. Corrupt differs in its second token."""
    n = len(tokens)
    corrupt = tokens.clone()
    corrupt[:, 1] = 20 + (corrupt[:, 1] + 1) % 100  # past the special tokens
    target = tokens.gather(1, answer)[:, 0]
    choices = torch.arange(int(tokens.max()) + 2)
    is_right = choices == target[:, None]
    positions = {
        "answer": answer,
        "completion": torch.arange(start, start + length).expand(n, -1),
        "corrupted": torch.ones(n, 1, dtype=torch.long),
    }
    return Batch(
        task="none", scope="local", seed=0, split="test", clean=tokens, corrupt=corrupt, target=target,
        distractor=target + 1, positions=positions, choices=choices, right=is_right, wrong=~is_right,
        facts=({},) * n, spelling={}, **other,
    )  # fmt: skip
