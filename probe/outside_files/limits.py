"""How much of a file can be meant in earnest, and what is raised where that is passed."""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = 40  # of one whole number; 64 bits have 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large and how deep a file may be; the defaults are far beyond what any of ours holds."""

    largest: int = 64_000_000  # bytes
    deepest: int = 60  # lists and mappings in one another
    most_keys: int = 20_000  # of one mapping
    most_values: int = 5_000_000  # in all
    most_parts: int = 10_000  # of YAML: lines and commas; reading so many takes a second
    finite: bool = True  # whether NaN and infinity are refused

    @property
    def too_deep(self) -> UnreadableError:
        """What to raise where lists and mappings stand in one another without end."""
        return UnreadableError(f"at most {self.deepest} lists and mappings in one another", "more")


class UnreadableError(Exception):
    """What is wrong with a text, and where in it ("line 3", or nothing)."""

    def __init__(self, expected: str, found: str, where: str = "", remedy: str = ""):
        self.expected, self.found, self.where, self.remedy = expected, found, where, remedy
        super().__init__(expected, found, where, remedy)
