"""What was opened is kept up to some bytes, not up to some number."""

from __future__ import annotations

import numpy as np

from probe.jobs.run.products import Products


def test_small_products_are_kept_however_many_and_large_ones_make_way():
    products, opened = Products(most=1_000_000), []

    def get(digest: str, size: int) -> None:
        products.get(digest, lambda: opened.append(digest) or np.zeros(size, np.int8))

    for turn in range(200):
        get(f"small-{turn}", 1_000)
    assert len(products) == 200
    get("small-0", 1_000)
    assert opened.count("small-0") == 1
    get("large", 900_000)  # of the small ones, those unused for longest go
    assert len(products) == 101
    get("small-0", 1_000)
    assert opened.count("small-0") == 1
    get("larger than all", 2_000_000)
    assert len(products) == 1


def test_what_was_read_since_it_was_opened_is_counted_with_it():
    products, grows = Products(most=1_000_000), {"read": np.zeros(0, np.int8)}
    products.get("trace", lambda: grows)
    grows["read"] = np.zeros(5_000_000, np.int8)
    products.get("other", lambda: np.zeros(8))
    assert len(products) == 1
