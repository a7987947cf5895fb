"""How well the shipped models answer: python tests/benchmarks/zoo.py [--n 500] [--markdown]

Each model writes the whole completion of held-out examples by its own sampler, one token a step, and the task's checker
says whether it is right. The interval is Wilson's, at 95%.
"""

from __future__ import annotations

from frame import arguments, main, show

import probe
from probe.tasks.score import score
from probe.training import read_recipe
from probe.zoo import shipped, zoo_folder


def run() -> None:
    options = arguments(__doc__, n=500)
    taught = {name: list(read_recipe(zoo_folder(name) / "recipe.yaml").tasks) for name in shipped()}
    rows = (row(name, tasks, options.n) for name, tasks in taught.items() if tasks)  # others write running text
    show("Right answers of the shipped models", rows, options.markdown)


def row(name: str, tasks: list[str], n: int) -> dict[str, str]:
    model = probe.load(f"zoo:{name}")
    return {"model": f"`zoo:{name}`"} | {task: str(score(model, probe.task(task), n)) for task in tasks}


if __name__ == "__main__":
    main(run)
