"""Which split an example belongs to, decided by the example itself.

Cutting one shuffled list into train and test leaks as soon as two seeds are used, and it leaks always where the same
question can be written in several ways. Here every example names its `key`: what it is once everything that does not
matter is taken away (the order of the numbers, the order of the edges, who of two people comes first). A stable hash
of the key picks the split. So two examples that share a key are in the same split for any seed, any n and any
machine, and nothing has to be remembered to keep it so.
"""

from __future__ import annotations

import hashlib

from probe.errors import TaskError, nearest

SHARES = {"train": 0.60, "test": 0.25, "calibration": 0.15}
ALL = "all"  # whoever trains nothing on a task may ask all of it
Key = tuple["str | int | Key", ...]


def split_of(key: Key) -> str:
    """The split of a key: nested tuples of strings and integers, whose `repr` is the same everywhere."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return "calibration"


def checked_split(split: str) -> str:
    known = (*SHARES, ALL)
    if split not in known:
        raise TaskError("the split", expected=" or ".join(known), found=repr(split), remedy=nearest(str(split), known))
    return split
