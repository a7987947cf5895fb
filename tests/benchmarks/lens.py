"""How far each layer of the shipped twins is from what they end with: by the logit lens, and by the tuned one.

    python tests/benchmarks/lens.py [--twins zoo:ar zoo:masked zoo:fluid]

Lenses are trained on the train split of all seven tasks and read on the test split; KL to the final distribution in
nats, the mean over 100 questions of each task.
"""

from __future__ import annotations

import argparse

import torch

import probe
from analyses import lens
from analyses.activations.answer_states import answer_states
from analyses.lens.curves import curves
from probe.tasks import TASKS

TAUGHT, ASKED = 160, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", nargs="+", default=["zoo:ar", "zoo:masked", "zoo:fluid"])
    for turn, where in enumerate(parser.parse_args().twins):
        plain, tuned = gap(where)
        if turn == 0:
            print("| twin | lens | " + " | ".join(f"layer {layer}" for layer in range(len(plain))) + " |")
            print("|---" * (len(plain) + 2) + "|")
        for name, found in (("logit", plain), ("tuned", tuned)):
            print(
                f"| `{where}` | {name} | " + " | ".join(f"{value:.3f}" for value in found.tolist()) + " |", flush=True
            )


def gap(where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean KL at every depth, the embedding first, by either lens."""
    model = probe.load(where)
    taught = lens.train(model, [probe.task(name).examples(model, TAUGHT, seed=1, split="train") for name in TASKS])
    found = []
    for name in TASKS:
        batch = probe.task(name).examples(model, ASKED, seed=5, split="test", fewer=True)
        states = answer_states(model, batch)
        found.append(torch.stack([torch.as_tensor(curves(states, by).kl).mean(0) for by in (None, taught)]))
    plain, tuned = torch.stack(found).mean(0)
    return plain, tuned


if __name__ == "__main__":
    main()
