"""What measuring attention and skip effects costs in memory, as layers and texts grow.

    python tests/benchmarks/attention.py [--markdown] [--lengths 512 1024 2048] [--layers 8 32] [--device cuda]

A Llama of random weights (4 heads), one text. Peak memory is that of a process of its own, less what it held before the
measure began; beside it stands what the patterns of all layers would take, were they kept. The measure is right if the
first column does not grow with the layers, and stays near one layer's pattern.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time

import psutil
import torch
import transformers
from rich.console import Console
from rich.table import Table

from analyses import attention
from analyses.depth.layer_skipping import effect
from probe.models.model import Model
from probe.paradigms import Masked

HEADS, WIDTH = 4, 64
MEASURES = ("forward pass", "attention heads", "skip effects")
COLUMNS = ("layers", "tokens", "measure", "seconds", "peak memory", "one layer's patterns", "all patterns")


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(peak_of(*options.measure, options.device)))
        return
    rows = [
        row(layers, length, measure, options.device)
        for length in options.lengths
        for layers in options.layers
        for measure in MEASURES
    ]
    show(rows, options.markdown)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 1024, 2048])
    parser.add_argument("--layers", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markdown", action="store_true", help="print the table as a document has it")
    parser.add_argument("--measure", nargs=3, metavar=("LAYERS", "TOKENS", "MEASURE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def row(layers: int, length: int, measure: str, device: str) -> tuple[str, ...]:
    command = [sys.executable, __file__, "--device", device, "--measure", str(layers), str(length), measure]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    pattern = 4 * HEADS * length**2
    sizes = (found["bytes"], pattern, pattern * layers)
    return (
        str(layers), str(length), measure, f"{found['seconds']:.1f}", *(f"{size / 2**20:,.0f} MB" for size in sizes)
    )  # fmt: skip


def peak_of(layers: str, length: str, measure: str, device: str) -> dict[str, float]:
    """The most that a measure holds, above what stood there before, and its time."""
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=int(layers),
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=int(length),
    )  # fmt: skip
    torch.manual_seed(0)
    model = Model(transformers.AutoModelForCausalLM.from_config(config).to(device), Masked(mask_id=0), name="random")
    work = {
        "forward pass": lambda tokens: model.run_trunk(model.canvas(tokens), eager=True),
        "attention heads": lambda tokens: attention.measured(model, model.canvas(tokens)),
        "skip effects": lambda tokens: effect(model, model.canvas(tokens), torch.full((1, 1), 8)),
    }[measure]
    with torch.no_grad():
        work(torch.randint(1, 512, (1, 16)))  # what is loaded on first use is loaded now
        tokens = torch.randint(1, 512, (1, int(length)))
        with Peak(device) as peak:
            work(tokens)
    return {"bytes": peak.bytes, "seconds": peak.seconds}


class Peak:
    """The peak of this process's memory (of the GPU's, on one) within a context."""

    def __init__(self, device: str):
        self.cuda = device.startswith("cuda")

    def __enter__(self) -> Peak:
        self._done, self._began = threading.Event(), time.perf_counter()
        self._process = psutil.Process()
        self._before = self._most = self._now()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()
        self.seconds = time.perf_counter() - self._began
        self.bytes = (torch.cuda.max_memory_allocated() if self.cuda else self._most) - self._before

    def _look(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, self._now())

    def _now(self) -> int:
        return torch.cuda.memory_allocated() if self.cuda else self._process.memory_info().rss


def show(rows: list[tuple[str, ...]], markdown: bool) -> None:
    if markdown:
        print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
        print("\n".join("| " + " | ".join(row) + " |" for row in rows))
        return
    table = Table(*COLUMNS)
    for each in rows:
        table.add_row(*each)
    Console().print(table)


if __name__ == "__main__":
    main()
