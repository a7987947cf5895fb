"""How well the shipped models answer: `python tests/benchmarks/zoo.py [n]` prints the table that stands in the README.

Each model writes the whole completion of held-out examples by its own sampler, one token a step, and the task's checker
says whether it is right. The interval is Wilson's, at 95%.
"""

from __future__ import annotations

import sys

import probe
from probe.tasks.score import score
from probe.training import read_recipe
from probe.zoo import shipped, zoo_folder


def main(n: int = 500) -> None:
    names = shipped()
    tasks = list(read_recipe(zoo_folder(names[0]) / "recipe.yaml").tasks)
    print("| model | " + " | ".join(tasks) + " |")
    print("|---" * (len(tasks) + 1) + "|")
    for name in names:
        model = probe.load(f"zoo:{name}")
        cells = [str(score(model, probe.task(task), n)) for task in tasks]
        print(f"| `zoo:{name}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
