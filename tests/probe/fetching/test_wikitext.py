"""The cleaner: markup written by hand, and the prose that is in it."""

from __future__ import annotations

import pytest

from probe.fetching.corpus import LEARNT, OF, split
from probe.fetching.wikitext import articles, prose

FILLER = "It is played by two people on a board of eight rows and eight columns, and has been for a long time. " * 2


def cleaned(markup: str) -> str:
    (found,) = prose(markup + " " + FILLER)
    return found.removesuffix(" " + FILLER.strip())


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        ("'''Chess''' is a ''board'' game.", "Chess is a board game."),
        ("It is an [[abstract strategy|abstract]] [[board game]].", "It is an abstract board game."),
        ("See {{fact|date={{year}}}} this.", "See this."),
        ("A rule<ref name=a>Smith, p. 3</ref> and another<ref name=b/>.", "A rule and another."),
        ("Visit [http://example.org/a?b=c the site] or http://example.org/x now.", "Visit the site or now."),
        ("[[Image:Set.jpg|thumb|A [[set]] of [[piece]]s]]It has pieces.", "It has pieces."),
        ("Hello [[de:Schach]][[Category:Games]] there.", "Hello there."),
        ("Less &lt;b&gt;bold&lt;/b&gt; than <i>this</i>.", "Less bold than this."),
        ("The game (, called chess ;) and () no more.", "The game (called chess) and no more."),
        ("A line<!-- a note\nover two lines --> goes on.", "A line goes on."),
        ("\u201cWell\u201d, he said \u2013 it\u2019s so.", '"Well", he said \u2013 it\'s so.'),
    ],
)
def test_markup_becomes_prose(markup, plain):
    import html

    assert cleaned(html.unescape(markup)) == plain


@pytest.mark.parametrize(
    "line",
    [
        "* " + FILLER,
        "== Heading ==",
        "| " + FILLER,
        "Too short to be a paragraph.",
        FILLER.strip().removesuffix("."),
        "It holds | a sign of markup. " + FILLER,
        "Born 1815, died 1816, 1817, 1818, 1819, 1820, 1821, 1822, 1823, 1824, 1825 and 1826. " + FILLER,
        "Ελληνικά κείμενα είναι αυτά. " + FILLER,
        "Alice Bob Carol Dave Eve Frank Grace Heidi Ivan Judy " * 5 + ".",
    ],
)
def test_what_is_no_prose_is_left_out_whole(line):
    assert list(prose(line)) == []


def test_tables_within_tables_go_and_the_text_around_them_stays():
    markup = f"{FILLER}\n{{| class=x\n| a {{| b |}} c\n|}}\n{FILLER}"
    assert list(prose(markup)) == [FILLER.strip()] * 2


def page(title: str, text: str) -> str:
    return f'<page>\n<title>{title}</title>\n<text xml:space="preserve">{text}</text>\n</page>\n'


def test_articles_are_read_from_a_dump():
    dump = (
        page("Chess", f"{FILLER}\n\n{FILLER}")
        + page("Talk:Chess", FILLER)
        + page("Draughts", f"#REDIRECT [[Checkers]] {FILLER}")
        + page("Smalltown", f"As of the census of 2000, there are people. {FILLER}")
        + page("A &amp; B", f"One &amp;amp; two. {FILLER}")
        + "<page><title>Cut off</title><text>"
        + FILLER
    )
    found = list(articles(dump.splitlines(keepends=True)))
    assert [(one.title, len(one.paragraphs)) for one in found] == [("Chess", 2), ("A & B", 1)]
    assert found[1].paragraphs[0].startswith("One & two.")


def test_no_article_is_in_two_parts():
    found = [*range(3 * OF)]
    learnt, tested, asked = split(iter(found))  # type: ignore[arg-type]  # anything that can be told apart
    assert sorted([*learnt, *tested, *asked]) == found
    assert len(learnt) == 3 * LEARNT
