"""On-policy text: what is drawn, and what is kept of it."""

from __future__ import annotations

import json

import torch

from probe.fetching.own_text import BATCH, Prompt, batches, continued, drawn, write
from tests.probe.tiny import MASK, backbone_of


def test_only_the_likeliest_are_drawn():
    logits = torch.full((1, 200), -20.0)
    logits[0, [5, 9]] = torch.tensor([2.0, 1.0])  # 73% and 27%: both are needed for 95%
    found = {int(drawn(logits, torch.Generator().manual_seed(seed))) for seed in range(60)}
    assert found == {5, 9}


def test_a_batch_depends_on_its_seed_alone():
    backbone, tokens = backbone_of("llama"), torch.randint(0, MASK, (3, 4))
    one, again, other = (continued(backbone, tokens, 5, seed) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (3, 5)


def test_with_kept_keys_and_values_it_writes_what_it_would_without():
    backbone, tokens = backbone_of("llama"), torch.randint(0, MASK, (2, 4))
    written, generator = continued(backbone, tokens, 4, seed=3), torch.Generator().manual_seed(3)
    for _ in range(4):
        tokens = torch.cat([tokens, drawn(backbone(input_ids=tokens).logits[:, -1], generator)], 1)
    assert torch.equal(tokens[:, 4:], written)


def test_batches_are_of_one_length():
    made = [Prompt((0,) * (1 + n % 2), "") for n in range(3 * BATCH)]
    assert [{len(prompt.tokens) for prompt in batch} for batch in batches(made)] == [{1}, {2}]


class Letters:
    """A tokenizer of one letter a token; 0 ends a text."""

    all_special_ids = (0,)

    def decode(self, tokens) -> str:
        return "".join(chr(97 + token % 26) for token in tokens) * 60


def test_writing_goes_on_where_it_was(tmp_path):
    backbone, made = backbone_of("llama"), [Prompt((1 + n % 3, 2), "") for n in range(2 * BATCH)]
    at_once, in_two = tmp_path / "a", tmp_path / "b"
    assert sum(1 for _ in write(backbone, Letters(), made, at_once, 2)) == 2
    assert sum(1 for _ in write(backbone, Letters(), made, in_two, 1)) == 1
    assert sum(1 for _ in write(backbone, Letters(), made, in_two, 2)) == 1
    assert at_once.read_text() == in_two.read_text()
    assert all(isinstance(json.loads(line), list) for line in at_once.read_text().splitlines())
