"""How well the shipped models answer: `python tests/benchmarks/zoo.py [n]` prints the table that stands in the README.

Each model writes the whole completion of held-out examples by its own sampler, one token a step, and the task's checker
says whether it is right. The interval is Wilson's, at 95%.
"""

from __future__ import annotations

import sys

import probe
from probe.readings import Accuracy
from probe.training import read_recipe
from probe.zoo import shipped, zoo_folder


def main(n: int = 500) -> None:
    names = shipped()
    tasks = list(read_recipe(zoo_folder(names[0]) / "recipe.yaml").tasks)
    print("| model | " + " | ".join(tasks) + " |")
    print("|---" * (len(tasks) + 1) + "|")
    for name in names:
        model = probe.load(f"zoo:{name}")
        cells = [str(accuracy(model, probe.task(task), n)) for task in tasks]
        print(f"| `zoo:{name}` | " + " | ".join(cells) + " |", flush=True)


def accuracy(model: probe.Model, task, n: int) -> Accuracy:
    batch = task.examples(model, n, fewer=True)
    completion = batch.positions["completion"]
    start = int(completion.min())
    run = probe.decode(model, batch.clean[:, :start], batch.clean.shape[1] - start)
    written = run.tokens.cpu().gather(1, completion)
    return Accuracy(int(task.check(batch, written).sum()), len(batch))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
