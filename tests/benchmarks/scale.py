"""What comparing costs at the size of a 7B model: its graph of edges, its neurons, its depth.

    python tests/benchmarks/scale.py [--examples 256] [--markdown] [--only compare]

No model is loaded: circuits of 28 layers × 28 heads with 4 key-value heads and directions (496,147 edges) are drawn,
heavy-tailed and with noise on every prompt, and so are activations of 18,944 neurons. Each function runs in a process
of its own, on one thread. Memory is the most that it held beyond the circuits themselves. What puts two models' states
beside each other is measured on a narrow pair with random weights, 28 layers × 28 heads, and texts of 64 tokens.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from frame import alone, arguments, held_while, main, show

from analyses import circuits
from analyses.circuits.circuit import Circuit, Provenance
from analyses.circuits.graph import Graph
from analyses.specialization.neurons import _layer_rows

GRAPH = Graph(n_layers=28, n_heads=28, n_kv_heads=4, directions=True)
NEURONS, CASES = 18_944, 8
CALLS = {
    "diff": lambda a, b: circuits.diff(a, b),
    "mass": lambda a, b: circuits.mass(a),
    "compare": lambda a, b: circuits.compare(a, b),
}


def drawn(seed: int, n: int) -> Circuit:
    """A circuit whose prompts see one truth with five times its spread in noise."""
    truth = np.random.default_rng(0).standard_normal(GRAPH.n_edges, dtype=np.float32) ** 3
    noise = np.random.default_rng(seed)
    by_example = np.empty((n, GRAPH.n_edges), np.float32)
    for row in by_example:
        row[:] = truth + 5 * noise.standard_normal(GRAPH.n_edges, dtype=np.float32)
    scores = np.zeros(GRAPH.shape)
    scores[GRAPH.valid] = by_example.mean(0)
    about = Provenance(
        model="drawn", paradigm="masked", task="none", reading="prefix", method="eap-ig", steps=5, metric="none",
        ablation="corrupt", n=n, seed=seed,
    )  # fmt: skip
    return Circuit(GRAPH, scores, np.zeros((n, GRAPH.n_sources + 1), np.float32), about, by_example)


def of_circuits(name: str, n: int) -> dict[str, Any]:
    a, b = drawn(1, n), drawn(2, n)
    began = time.process_time()
    before, most = held_while(lambda: CALLS[name](a, b), "cpu")
    return {"seconds": time.process_time() - began, "bytes": most - before}


def of_neurons(n: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    values, cases = generator.standard_normal((n, NEURONS)), np.eye(CASES)[generator.integers(CASES, size=n)]
    began = time.process_time()
    before, most = held_while(lambda: _layer_rows(values, cases, seed=0), "cpu")
    return {"seconds": time.process_time() - began, "bytes": most - before}


def narrow(seed: int, paradigm: Any) -> Any:
    """A model of 28 layers × 28 heads, 8 numbers wide each, with random weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from probe.models.model import Model

    torch.manual_seed(seed)
    sizes = {"hidden_size": 224, "intermediate_size": 592, "vocab_size": 512, "max_position_embeddings": 512}
    config = Qwen2Config(num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, **sizes)
    return Model(Qwen2ForCausalLM(config), paradigm, name=f"narrow {seed}")


def texts(n: int, length: int, words: int) -> Any:
    """Drawn tokens as a batch whose answer is the last."""
    import torch

    from probe.batch import Batch

    clean = torch.randint(2, words, (n, length), generator=torch.Generator().manual_seed(0))
    at = torch.full((n, 1), length - 1)
    places = {"answer": at, "completion": at, "corrupted": torch.ones_like(at)}
    either = torch.tensor([[True, False]]).expand(n, -1)
    return Batch("drawn", "local", 0, "all", clean, clean.roll(1, 0), clean[:, -1], clean[:, -2], places,
                 torch.tensor([2, 3]), either, ~either, tuple({} for _ in range(n)), {})  # fmt: skip


def of_states(name: str, n: int) -> dict[str, Any]:
    from analyses import representation
    from probe.pairs import Pair
    from probe.paradigms import Autoregressive, Masked

    pair = Pair(narrow(0, Autoregressive(mask_id=1)), narrow(1, Masked(mask_id=1)), name="narrow")
    batch = texts(n, 64, pair.vocabulary)
    measure = getattr(representation, name)
    began = time.process_time()
    before, most = held_while(lambda: measure(pair, batch), "cpu")
    return {"seconds": time.process_time() - began, "bytes": most - before}


def of_a_step(n: int) -> dict[str, Any]:
    """What a sampler does with the logits of 64 masks, 152,064 columns each: tokens at T = 0.3, by entropy."""
    import torch

    from probe.paradigms.sampler import choose, order_scores

    logits, generator = torch.randn(1, 64, 152_064), torch.Generator().manual_seed(0)

    def step() -> None:
        choose(logits, 0.3, generator)
        order_scores("entropy", logits, generator)

    step()
    began = time.process_time()
    before, most = held_while(step, "cpu")
    return {"seconds": time.process_time() - began, "bytes": most - before}


STATES = ("cka", "cosine", "outliers")


def run() -> None:
    works = {
        **dict.fromkeys(CALLS, ("of", f"{GRAPH.n_edges:,} edges")),
        "selectivity": ("neurons", f"a layer of {NEURONS:,} neurons"),
        **dict.fromkeys(STATES, ("states", "28 layers, d 224, 64 tokens")),
    }
    works["a sampler's step"] = ("step", "64 slots × 152,064 words")
    options = arguments(__doc__, examples=256, only=("all", *works))
    rows = []
    for name, (function, size) in works.items():
        if options.only not in ("all", name):
            continue
        own = {} if function in ("neurons", "step") else {"name": name}
        took = alone(__file__, function, n=options.examples, **own)
        prompts, digits = "" if function == "step" else str(options.examples), 1 if took["seconds"] > 1 else 2
        rows.append(
            {"": name, "of": size, "prompts": prompts, "CPU s": f"{took['seconds']:.{digits}f}",
             "GB more": f"{took['bytes'] / 1e9:.2f}"}
        )  # fmt: skip
    show("At the size of a 7B model", rows, options.markdown)


if __name__ == "__main__":
    main(run, of=of_circuits, neurons=of_neurons, states=of_states, step=of_a_step)
