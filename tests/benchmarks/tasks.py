"""How fast each task makes examples, for the shipped vocabulary: python tests/benchmarks/tasks.py [--n 10000]

Seconds are CPU time of one thread; each row has a process of its own, so that nothing is remembered from another.
"""

from __future__ import annotations

from frame import alone, arguments, main, seconds, show

from probe.tasks import TASKS, task, vocabulary

VARIANTS: list[tuple[str, dict]] = [
    *((name, {}) for name in TASKS),
    ("countdown", {"ask": "operand"}),
    ("countdown", {"numbers": 4}),
    ("paths", {"graph": "random"}),
    ("paths", {"distance": 6}),
    ("infilling", {"in_place": True}),
    ("ioi", {"corrupt": "swap"}),
]


def run() -> None:
    options = arguments(__doc__, n=10_000)
    rows = (alone(__file__, "row", name=name, knobs=knobs, n=options.n) for name, knobs in VARIANTS)
    show("How fast each task makes examples", rows, options.markdown)


def row(name: str, knobs: dict, n: int) -> dict[str, str]:
    tokenizer, found = vocabulary.shipped(), []
    make = task(name, **knobs).examples
    took = seconds(lambda: found.append(make(tokenizer, n, split="train", fewer=True)))
    told = ", ".join(f"{knob}={value}" for knob, value in knobs.items())
    return {"task": name, "knobs": told, "examples": f"{len(found[0]):,}", "CPU seconds": f"{took:.2f}"}


if __name__ == "__main__":
    main(run, row=row)
