"""On-policy text: what a model itself writes, for its twin to learn from.

A twin that drafts what its AR model would have written must know what that is; an encyclopedia is not. So the model
writes, prompted with articles that are held out of training: some texts go on from the first words of a paragraph, the
others answer a question about an article's subject. Tokens are drawn at temperature 1 from the likeliest `TOP_K`, of
those from the smallest set that holds `TOP_P`.

    prompts ─► batches of one length in tokens ─► keys and values are kept ─► one line of JSON a text

A batch depends on the seed and its number alone, so that writing resumes where it was. One core writes about 200 tokens
a second with a model of 135 million parameters.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.fetching.wikitext import Article
from probe.outside_files import FileKind

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = FileKind("file", remedy="Delete it and fetch it again.", largest=1 << 30)
BATCH, WRITTEN, FIRST_WORDS = 96, 112, 16  # texts at once; tokens written of each; tokens that a continuation is given
TOP_K, TOP_P = 50, 0.95
SHORTEST = 200  # characters of a text that is kept
BEGUN, ASKED = 3, 2  # of each article: paragraphs that are gone on from, and questions
QUESTIONS = (
    "What is {title}?",
    "Tell me about {title}.",
    "Explain {title} in simple words.",
    "Write a short paragraph about {title}.",
    "Why is {title} important?",
    "Write a short story in which {title} plays a part.",
    "Describe {title} to a child.",
    "What would you tell a friend about {title}?",
)


@dataclass(frozen=True)
class Prompt:
    """What the model is given, in tokens, and the words of it that belong to the text."""

    tokens: tuple[int, ...]
    words: str


def prompts(held_out: Iterable[Article], tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> list[Prompt]:
    """Up to BEGUN + ASKED of each article, in an order drawn from the seed."""
    draw, made = random.Random(seed), []
    for article in held_out:
        for paragraph in article.paragraphs[:BEGUN]:
            first = tokenizer(paragraph)["input_ids"][:FIRST_WORDS]
            made.append(Prompt(tuple(first), str(tokenizer.decode(first))))
        for question in draw.sample(QUESTIONS, ASKED):
            asked = question.format(title=article.title)
            chat = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
            made.append(Prompt(tuple(tokenizer(chat)["input_ids"]), ""))
    draw.shuffle(made)
    return made


def batches(made: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """Prompts of one length together, in the order in which a batch is full; those that fill none are left out."""
    waiting: dict[int, list[Prompt]] = defaultdict(list)
    for prompt in made:
        group = waiting[len(prompt.tokens)]
        group.append(prompt)
        if len(group) == BATCH:
            yield group.copy()
            group.clear()


def write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, made: Sequence[Prompt], file: Path, most: int
) -> Iterator[int]:
    """Write a text behind every prompt of the first `most` full batches, into `file`; yields the tokens of each batch
    as it is done. Batches that stand in the file already are not written again."""
    done = len(FILE.text(file).splitlines()) if file.is_file() else 0
    for number, batch in enumerate(islice(batches(made), most)):
        if number < done:
            continue
        written = continued(model, torch.tensor([prompt.tokens for prompt in batch]), WRITTEN, seed=number)
        texts = [_text(prompt, row, tokenizer) for prompt, row in zip(batch, written.tolist(), strict=True)]
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps([text for text in texts if len(text) >= SHORTEST], ensure_ascii=False) + "\n")
        yield written.numel()


def _text(prompt: Prompt, written: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """A text up to the model's own end of it. What was cut off by the length ends with its last sentence."""
    ends = [place for place, token in enumerate(written) if token in tokenizer.all_special_ids]
    said = prompt.words + str(tokenizer.decode(written[: ends[0]] if ends else written))
    if not ends:
        said = said[: max(said.rfind(". "), said.rfind(".\n"), said.rfind("? "), said.rfind("! ")) + 1]
    return said.strip()


@torch.inference_mode()
def continued(model: PreTrainedModel, tokens: Tensor, length: int, seed: int) -> Tensor:
    """`length` tokens behind each row of `tokens`, drawn one by one."""
    generator = torch.Generator().manual_seed(seed)
    written, shown, kept = [], tokens, None
    for _ in range(length):
        answer = model(input_ids=shown, past_key_values=kept, use_cache=True, logits_to_keep=1)
        kept, shown = answer.past_key_values, drawn(answer.logits[:, -1].float(), generator)
        written.append(shown)
    return torch.cat(written, dim=1)


def drawn(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One token (rows × 1) from the likeliest TOP_K of each row, of those from the smallest set that holds TOP_P."""
    best, names = logits.topk(min(TOP_K, logits.shape[-1]))
    shares = best.softmax(-1)
    shares = shares.masked_fill(shares.cumsum(-1) - shares > TOP_P, 0)
    return names.gather(1, torch.multinomial(shares, 1, generator=generator))
