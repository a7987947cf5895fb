"""The glossary: each of this project's words, explained in one place and linked wherever the report uses it.

A reader who meets "R", "FLI" or "transfer" in a sentence needs the definition there, offline, and the same one as on
the docs' page. So both come from `glossary.md` in this folder, which the docs site shows as it is:

    words = Glossary()
    words.linked("ΔFLI on global tasks")     # Δ<a class="word" href="#word-fli" title="…">FLI</a> on global tasks
    words.used                               # {"FLI": its Entry, …}: what the page lists at its end

A word is linked once in each text, at its first place. Everything else of the text is escaped. The words that a page
linked, and the few that every report needs, are its list of definitions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

# What is linked: everybody understands the rest of the glossary well enough where it stands (run, unit).
LINKED = (
    "Twin", "AR-CPT", "Second seed", "Shift", "Reading", "2×2", "Pool", "Margin", "Jacobian lens", "Tuned lens",
    "Direct attribution", "Sink", "CKA", "Drift", "Knock-out", "Faithfulness", "Retention", "Transfer",
    "Kept, lost, gained, undecided", "Attribution mass", "FLI", "Early mass", "W₁", "Span", "Right context",
    "Causal FLI", "DiD", "PR", "Spread", "Crosscoder", "Latent scaling", "Selectivity", "Knock-out area",
    "Prediction depth", "Smallest effect", "Null", "Seed null", "q", "Equivalence margin",
)  # fmt: skip
ALWAYS = ("AR-CPT", "Second seed", "Smallest effect", "Interval", "Null", "Reading", "`ar`", "`prefix`", "`one_mask`")
LEAST = 4  # characters from which a word is known in small letters too
_NOT_ALONE = {"q", "Kept, lost, gained, undecided"}  # letters and everyday words that mean something else elsewhere


@dataclass(frozen=True)
class Entry:
    """One word's definition, as the glossary has it."""

    word: str
    others: tuple[str, ...]  # other names: "Reseed", "PR/n"
    meaning: str  # Markdown without links

    @property
    def anchor(self) -> str:
        kind = "word-reading-" if self.word.startswith("`") else "word-"  # `trajectory`, and a trajectory
        return kind + (re.sub(r"[^a-z0-9]+", "-", self.word.lower()).strip("-") or "w")

    @property
    def plain(self) -> str:
        """The meaning without marks, for a title."""
        return re.sub(r"[*`]", "", self.meaning)

    @property
    def html(self) -> Markup:
        """The meaning; emphasis and code are the only marks it may have."""
        found = str(escape(self.meaning))
        for mark, tag in ((r"\*\*(.+?)\*\*", "b"), (r"`(.+?)`", "code"), (r"\*(.+?)\*", "em")):
            found = re.sub(mark, rf"<{tag}>\1</{tag}>", found)
        return Markup(found)


@cache
def entries() -> dict[str, Entry]:
    """Every word, in the order in which a reader meets them."""
    text = Path(__file__).with_name("glossary.md").read_text("utf-8")
    paragraphs = re.split(r"\n\s*\n|\n(?=\*\*)", text)
    found = [_entry(" ".join(each.split())) for each in paragraphs if each.startswith("**")]
    return {entry.word: entry for entry in found}


def _entry(paragraph: str) -> Entry:
    names = []
    rest = paragraph
    while named := re.match(r"(?:, |, or )?\*\*(.+?)\*\*", rest):
        names.append(named[1])
        rest = rest[named.end() :]
    return Entry(names[0], tuple(names[1:]), rest.removeprefix(":").removeprefix(",").strip())


@dataclass
class Glossary:
    """The words that a page uses, collected while it is written."""

    _seen: set[str] = field(default_factory=set)

    def linked(self, text: object) -> Markup:
        """A text, escaped, with its words linked to their definitions."""
        said, parts, end, here = str(text), [], 0, set[str]()
        for found in _pattern().finditer(said):
            entry = _named(found[0])
            if entry.word in here:
                continue
            here.add(entry.word)
            parts += [escape(said[end : found.start()]), self._link(entry, found[0])]
            end = found.end()
        return Markup("").join([*parts, escape(said[end:])])

    def about(self, text: str, terms: Sequence[str]) -> Markup:
        """A figure's heading, linked; behind it the terms that the heading does not name itself."""
        linked = self.linked(text)
        entry_of = {term: next(each for each in entries().values() if each.word.startswith(term)) for term in terms}
        more = [self._link(entry, f"{term}?") for term, entry in entry_of.items() if f"#{entry.anchor}" not in linked]
        return Markup(" ").join([linked, *more])

    def _link(self, entry: Entry, shown: str) -> Markup:
        self._seen.add(entry.word)
        words = Markup('<a class="word" href="#{}" title="{}">{}</a>')
        return words.format(entry.anchor, entry.plain, shown)

    @property
    def used(self) -> dict[str, Entry]:
        """The words of a page with their definitions, in the glossary's order."""
        return {word: entry for word, entry in entries().items() if word in self._seen or word in ALWAYS}


@cache
def _names() -> dict[str, Entry]:
    """What is looked for in a text, with what it means."""
    found = {}
    for word in LINKED:
        entry = entries()[word]
        for name in (word, *entry.others):
            if word not in _NOT_ALONE:
                found[name] = entry
    return found


@cache
def _pattern() -> re.Pattern[str]:
    """Any of the words, the longest first; as a whole word, in small letters too where it is long enough."""
    names = sorted(_names(), key=len, reverse=True)
    any_case = [f"(?i:{re.escape(name)}s?)" if len(name) >= LEAST else re.escape(name) for name in names]
    return re.compile(r"(?<![\w/])Δ?(?:" + "|".join(any_case) + r")(?![\w/])")


@cache
def _named(shown: str) -> Entry:
    bare = shown.removeprefix("Δ")
    names = _names()
    if bare in names:
        return names[bare]
    small = {name.lower(): entry for name, entry in names.items()}
    return small.get(bare.lower()) or small[bare.lower().removesuffix("s")]
