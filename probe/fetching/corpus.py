"""The text of the real twin: an encyclopedia cleaned to prose, and what the base writes by itself.

    enwik8 ─► articles ─► 16 of 20 ─► wiki.txt        what twins learn from
                          1 of 20  ─► wiki-test.txt   what they are measured on
                          3 of 20  ─► prompts ─► the base writes ─► own.txt

The split is by article, so nothing that is measured stands in a paragraph beside what was learnt. Cleaning takes half a
minute, writing 12 minutes of one core (BATCHES × 96 texts); it resumes where it was interrupted.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from probe.cache import cache_folder
from probe.fetching.own_text import FILE, prompts, write
from probe.fetching.package import Packaged
from probe.fetching.wikitext import Article, articles

NAME = "smollm2-text"
ENWIK8 = Packaged(
    "mingru-pytorch",
    "0.2.1",
    "data/enwik8.gz",
    "d52ea2118b505f79007e084b2f49acef9fd0e45fb481f84b2cab0a7191a7ef60",
    source=True,
)
WIKI, WIKI_TEST, OWN, OWN_LINES = "wiki.txt", "wiki-test.txt", "own.txt", "own.jsonl"
OF, LEARNT, TESTED = 20, 16, 1
BATCHES = 11


def fetch_text(given: Path | None = None) -> Iterator[str]:
    """Make the text in the user's cache, unless it is there; yields what has been done, a line a step. `given` is
    enwik8.gz, already at hand."""
    folder = cache_folder() / NAME
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / OWN).is_file():
        return
    dump = ENWIK8.checked(given) if given else ENWIK8.fetch(folder)
    with gzip.open(dump, "rt", encoding="utf-8") as lines:
        learnt, tested, asked = split(articles(lines))
    (folder / WIKI).write_text(_joined(learnt), "utf-8")
    (folder / WIKI_TEST).write_text(_joined(tested), "utf-8")
    yield f"{len(learnt)} articles to learn from, {len(tested)} to be measured on, {len(asked)} to begin texts with"
    yield from _own(asked, folder)


def _own(asked: list[Article], folder: Path) -> Iterator[str]:
    from probe.models.loading import load

    base = load("zoo:smollm2", selftest="off", device="cpu")
    made = prompts(asked, base.tokenizer)
    lines, tokens = folder / OWN_LINES, 0
    for written in write(base.backbone, base.tokenizer, made, lines, BATCHES):
        tokens += written
        yield f"the base has written {tokens:,} tokens of {BATCHES * written:,}"
    texts = [str(text) for _, line in FILE.json_lines(lines) for text in line]
    (folder / OWN).write_text("".join(text + "\n\n" for text in texts), "utf-8")


def split(found: Iterator[Article]) -> tuple[list[Article], list[Article], list[Article]]:
    """Articles to learn from, to be measured on, and to begin texts with."""
    parts: tuple[list[Article], list[Article], list[Article]] = [], [], []
    for number, article in enumerate(found):
        place = number % OF
        parts[0 if place < LEARNT else 1 if place < LEARNT + TESTED else 2].append(article)
    return parts


def _joined(some: list[Article]) -> str:
    return "".join("\n".join(article.paragraphs) + "\n\n" for article in some)
