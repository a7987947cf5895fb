"""What installed packages declare for others to find: entry points, by the name of their group."""

from __future__ import annotations

from importlib.metadata import EntryPoint, distributions


def entries(group: str) -> set[EntryPoint]:
    """The group's entries of every distribution: of one that was installed twice (a checkout's stale metadata beside
    the real one), the standard library would look at the first alone."""
    return {entry for found in distributions() for entry in found.entry_points.select(group=group)}
