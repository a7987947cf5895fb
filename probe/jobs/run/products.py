"""The products that a process opened last, as many as fit in some bytes.

Several units read the same circuit or trace, one after the other, so what was opened is kept for the next. How many are
kept is a matter of their size: 64 circuits of a shipped model are 30 MB, 64 of a 7B model's with edge scores by prompt
would be 29 GB. So bytes are counted, when a product comes in: those of all products, since one that was read since it
was opened may hold more now (a trace reads its arrays when they are asked for; a circuit makes its table of edges). The
longest unused go first. What is mapped from a file takes no memory of the process's own and is not counted.

    products = Products(most=1_000_000_000)
    products.get("c0ffee", lambda: serializer.open(folder, given))

The newest stays whatever its size, and a unit holds what it is using: this bounds only what is kept in case of need.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from probe.memory import bytes_held

MOST = 1_000_000_000  # bytes of products that a process keeps, beside the newest


class Products:
    """Products by their unit's hash."""

    def __init__(self, most: int = MOST):
        self.most = most
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def get(self, digest: str, opened: Callable[[], Any]) -> Any:
        """A product; opened, if it is not there, in place of those unused for longest."""
        if digest not in self._kept:
            self._kept[digest] = opened()
            self._make_room()
        self._kept.move_to_end(digest)
        return self._kept[digest]

    def __len__(self) -> int:
        return len(self._kept)

    def _make_room(self) -> None:
        sizes = {digest: bytes_held(product) for digest, product in self._kept.items()}
        total = sum(sizes.values())
        while total > self.most and len(self._kept) > 1:
            digest, _ = self._kept.popitem(last=False)
            total -= sizes[digest]
