"""Files gone wrong, from a seed: what a valid file of each kind becomes, and the functions that such files reach.

A `Door` is a function of ours that reads a file from outside, with a valid file of its kind. `spoilt(content, seed)` is
that file with one to three things wrong: bytes flipped, cut off, or said twice; values, keys and whole parts of another
type, depth or size than anybody means. The same seed spoils it alike on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Values that no reader expects, as they are written.
ODD = (
    *(
        "null",
        "true",
        "-1",
        "0",
        "1.5",
        "1e400",
        "NaN",
        "-Infinity",
        "9" * 5_000,
        "1" * 30,
        "200000",
        "1e9",
        "[]",
        "{}",
    ),
    *('""', '"x"', '"\\ud800"', '"\\u0000"', '"\\u001b[31m"', '"[bold]x[/]"', '"<script>alert(1)</script>"', "[null]"),
    *('"' + "x" * 20_000 + '"', '"../../../etc/passwd"', '"/"', '"' + "a/" * 300 + '"', '"zoo:nothing"', "2020-01-01"),
    *("[" * 200 + "]" * 200, "[" * 50_000, '{"a": {"b": []}}', "!!set {a}", "&a [*a]", ".nan", "'", '"\\"', "@", "\t"),
    "[" + "1, " * 200 + "1]",
)
BYTES = (b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b'"', b"{", b"}", b"[", b",", b":", b"-", b"\\", b"9", b"e", b"\x1b")


@dataclass(frozen=True)
class Door:
    """A function that reads one kind of file, and a valid file of that kind, put in its place by `enter`."""

    name: str
    valid: bytes
    enter: Callable[[bytes], Any]
    cases: int = 80


def spoilt(content: bytes, seed: int) -> bytes:
    """A valid file with one to three things wrong."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice((_values, _values, _values, _bytes))(content, chance)
    return content


def _bytes(content: bytes, chance: random.Random) -> bytes:
    near = chance.choice((64, 2_000, len(content)))  # of weights, the header is what is read
    start = chance.randrange(min(near, len(content)) + 1)
    end = min(len(content), start + chance.choice((1, 1, 4, 64, 1_000)))
    return chance.choice(
        (
            content[:start] + chance.choice(BYTES) * chance.choice((1, 1, 8)) + content[end:],
            content[:start] + content[end:],
            content[:start],
            content[:end] + content[start:],
            b"",
            b"\xef\xbb\xbf" + content,
        )
    )


def _values(content: bytes, chance: random.Random) -> bytes:
    """Something wrong with a value of JSON (which is YAML too), or with a line of any other text."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return _lines(content, chance)
    places = list(_places(data))
    if not places:
        return chance.choice(ODD).encode("utf-8", "surrogatepass")
    into, key = chance.choice(places)
    do = chance.randrange(6)
    if do == 0:
        del into[key]
    elif do == 1 and isinstance(into, dict):
        into[f"{key}_"] = into.pop(key)
    elif do == 2 and isinstance(into, dict):
        into |= {f"unknown{number}": number for number in range(chance.choice((1, 200)))}
    elif do == 3:
        other, name = chance.choice(places)
        into[key] = json.loads(json.dumps(other[name]))
    else:
        into[key] = "@@here@@"
    return json.dumps(data).replace('"@@here@@"', chance.choice(ODD)).encode("utf-8", "surrogatepass")


def _places(data: Any):
    if isinstance(data, dict | list):
        for key, inner in list(data.items() if isinstance(data, dict) else enumerate(data)):
            yield data, key
            yield from _places(inner)


def _lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = chance.randrange(len(lines))
    head, colon, _ = lines[at].partition(b": ")
    odd = chance.choice(ODD).encode("utf-8", "surrogatepass")
    lines[at] = chance.choice((head + colon + odd, odd, b"", lines[at] + b"\n" + lines[at], b"  " + lines[at]))
    return b"\n".join(lines)


def into(file: Path, read: Callable[[], Any]) -> Callable[[bytes], Any]:
    """A way through a door: the content is written to a file, which a function then reads."""

    def enter(content: bytes) -> Any:
        file.write_bytes(content)
        return read()

    return enter
