"""Encyclopedia markup to plain English paragraphs.

A dump of Wikipedia is a tenth markup, a fifth tables and lists, and a good part articles that a program wrote from a
census. A model that learns from it as it stands learns to write brackets. Here an article becomes the paragraphs of
running prose in it:

    '''Chess''' is an [[abstract strategy|abstract]] [[board game]].{{fact}}    Chess is an abstract board game.

What is no prose is left out whole, never mended: lists, tables, headings, captions, formulas, and a paragraph that
after cleaning still holds a sign of markup, is short, ends in mid-sentence, or is mostly names and numbers. About a
third of the dump's bytes remain; the whole of enwik8 takes a minute or two.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SHORTEST = 200  # characters of a paragraph
MOST_FOREIGN = 0.02  # share of characters that plain English prose does not have
MOST_DIGITS = 0.06
WRITTEN_BY_A_PROGRAM = re.compile(r"census of 2000|square miles? \(|per capita income")


@dataclass(frozen=True)
class Article:
    """A page of the encyclopedia: its title and the paragraphs of prose in it."""

    title: str
    paragraphs: tuple[str, ...]


def articles(lines: Iterable[str]) -> Iterator[Article]:
    """The articles of a dump in XML that hold any prose, in its order; `lines` are those of the file."""
    for title, text in _pages(lines):
        if ":" in title or text.lstrip()[:9].upper() == "#REDIRECT" or WRITTEN_BY_A_PROGRAM.search(text):
            continue
        kept = tuple(prose(text))
        if kept:
            yield Article(title, kept)


def _pages(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Title and markup of each page that is there to its end."""
    title, text = "", None
    for line in lines:
        if text is None:
            if found := re.search(r"<title>(.*)</title>", line):
                title = html.unescape(found[1])
            if found := re.search(r"<text[^>/]*>(.*)", line, re.DOTALL):
                text, line = [], found[1]
        if text is not None:
            before, end, _ = line.partition("</text>")
            text.append(before)
            if end:
                yield title, html.unescape(html.unescape("".join(text)))
                text = None


_WHOLE = re.compile(r"<!--.*?-->|<(ref|math|table|pre|gallery|timeline|code|div)\b[^>]*?(/>|>.*?</\1\s*>)", re.S | re.I)
_INNERMOST = re.compile(r"\{\{[^{}]*\}\}|\{\|(?:(?!\{\|).)*?\|\}", re.S)
_PICTURE = re.compile(r"\[\[\s*(?:image|file|media)\s*:(?:[^\[\]]|\[\[[^\[\]]*\]\]|\[[^\[\]]*\])*\]\]", re.I)
_LINKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\[\[[^\[\]|]*:[^\[\]|]*\]\]"), ""),  # a category, or the article in another language
    (re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]"), r"\1"),
    (re.compile(r"\[(?:https?|ftp)://\S+ ([^\[\]]*)\]"), r"\1"),
    (re.compile(r"\[?(?:https?|ftp)://[^\s\]]+\]?"), ""),
)
_TIDYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<[^<>]*>"), ""),
    (re.compile(r"'{2,}"), ""),
    (re.compile("[\u2018\u2019]"), "'"),
    (re.compile("[\u201c\u201d]"), '"'),
    (re.compile("\u00a0"), " "),
    (re.compile(r"\(\s*[,;:]*\s*"), "("),
    (re.compile(r"\s*[,;:]*\s*\)"), ")"),
    (re.compile(r"\s*\(\)"), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" ([,.;:!?])"), r"\1"),
)


def prose(markup: str) -> Iterator[str]:
    """The paragraphs of running English in an article's markup."""
    plain = _emptied(_INNERMOST, _WHOLE.sub("", markup))
    plain = _PICTURE.sub("", plain)
    for pattern, instead in _LINKS:
        plain = pattern.sub(instead, plain)
    for line in plain.split("\n"):
        if line[:1] in "*#:;|!= {}_":  # a list, a table, a heading; the empty line, too
            continue
        for pattern, instead in _TIDYING:
            line = pattern.sub(instead, line)
        line = line.strip()
        if _is_prose(line):
            yield line


def _emptied(innermost: re.Pattern[str], text: str) -> str:
    """Text without its nested brackets, removed from the inside out."""
    while (less := innermost.sub("", text)) != text:
        text = less
    return text


_MARKUP = re.compile(r"[\[\]{}<>|=\\~^_]|&\w+;|__")
_PLAIN = re.compile(r"[A-Za-z0-9 .,;:!?'\"()\-\u2013\u2014%$/&]")


def _is_prose(line: str) -> bool:
    if len(line) < SHORTEST or line[-1] not in '.!?"' or not (line[0].isupper() or line[0] == '"'):
        return False
    if _MARKUP.search(line) or line.count("(") != line.count(")"):
        return False
    foreign = len(line) - len(_PLAIN.findall(line))
    digits = sum(sign.isdigit() for sign in line)
    words = line.split()
    names = sum(word[:1].isupper() for word in words)
    return foreign <= MOST_FOREIGN * len(line) and digits <= MOST_DIGITS * len(line) and names <= 0.35 * len(words)
