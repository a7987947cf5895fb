"""How far each layer of the shipped twins is from what they end with: by the logit lens, and by the tuned one.

    python tests/benchmarks/lens.py [--markdown] [--twins zoo:ar zoo:masked zoo:fluid]

Lenses are trained on the train split of all seven tasks and read on the test split; KL to the final distribution in
nats, the mean over 100 questions of each task.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from frame import arguments, main, show

import probe
from analyses import lens
from analyses.activations.answer_states import answer_states
from analyses.lens.curves import curves
from probe.tasks import TASKS

TAUGHT, ASKED = 160, 100


def run() -> None:
    options = arguments(__doc__, twins=["zoo:ar", "zoo:masked", "zoo:fluid"])
    show("KL to the final distribution (nats)", rows(options.twins), options.markdown)


def rows(twins: list[str]) -> Iterator[dict[str, str]]:
    for where in twins:
        for name, found in zip(("logit", "tuned"), gap(where), strict=True):
            told = {f"layer {layer}": f"{value:.3f}" for layer, value in enumerate(found.tolist())}
            yield {"twin": f"`{where}`", "lens": name, **told}


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
    main(run)
