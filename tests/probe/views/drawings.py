"""Views of made-up content, whose words are HTML that must stay words."""

from __future__ import annotations

from probe.views import View

NASTY = "<img src=x onerror=document.title='owned'>"


def canvas(slots: int, steps: int) -> View:
    """A run that writes slot s in pass s."""
    row = [[0 if slot < step else -1 for slot in range(slots)] for step in range(steps)]
    sure = [[None if slot < step else (slot + step) % 10 / 10 for slot in range(slots)] for step in range(steps)]
    writes = [[min(slot, steps - 1)] for slot in range(slots)]
    candidates = [[[[0, 0.6], [1, 0.3]] for _ in range(slots)] for _ in range(steps)]
    data = {"title": NASTY, "about": NASTY, "words": [NASTY, "b"], "ids": [7, 8], "states": row, "final": [0] * slots}
    data |= {"given": [False] * slots, "withdrawn": [[] for _ in range(slots)]}
    return View("canvas", {**data, "confidence": sure, "writes": writes, "strides": None, "tau": None,
                           "candidates": candidates if slots < 20 else None, "step": 0})  # fmt: skip


def lens_grid() -> View:
    def model(name: str, share: float) -> dict:
        cells = [[[[0, share], [1, 0.1]] for _ in range(3)] for _ in range(2)]
        return {"name": name, "role": name, "steps": [{"tokens": [0, 1, -1], "read": 1, "cells": cells}]}

    pins = {0: [[[[one] * 3 for _ in range(2)]] for one in (0.2, 0.7)]}
    return View("lens_grid", {"title": NASTY, "about": "", "models": [model("ar", 0.2), model(NASTY, 0.7)],
                              "pins": pins, "names": {0: "answer"}, "words": [NASTY, "b"], "ids": [7, 8]})  # fmt: skip


def circuit_graph(edges: int) -> View:
    nodes = [{"label": "input", "layer": -1, "kind": "input"}]
    nodes += [{"label": f"L{layer}H{head}", "layer": layer, "head": head, "kind": "head"}
              for layer in range(10) for head in range(10)]  # fmt: skip
    nodes.append({"label": "logits", "layer": 10, "kind": "logits"})
    ends = [
        (source, target)
        for target in range(1, 102)
        for source in range(target)
        if (target - 1) // 10 > (source - 1) // 10
    ]
    found = [{"source": source, "target": target, "kind": "q", "side": None, "low": [None, None], "high": [None, None],
              "scores": [1 / (rank + 1), -1 / (rank + 2)], "seed": None, "ranks": [rank + 1, edges - rank]}
             for rank, (source, target) in enumerate(ends[:edges])]  # fmt: skip
    assert len(found) == edges
    return View(
        "circuit_graph",
        {"title": NASTY, "about": "", "models": ["ar", NASTY], "n_layers": 10, "nodes": nodes, "edges": found},
    )
