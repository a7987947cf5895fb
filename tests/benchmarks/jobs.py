"""What running a job costs over calling the analyses, and how units scale with workers.

    python tests/benchmarks/jobs.py [--rounds N]

Overhead: the same measures of a shipped pair, once by a script that calls the functions one after the other, and once
as a job in this process; medians of the ratio within a round, with models loaded in both. Scaling: units that do
nothing but compute for a while, on more and more processes.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from frame import arguments, main, seconds

EXAMPLES, UNITS, SECONDS = 64, 24, 0.5


def directly() -> None:
    """The analyses, as a script calls them."""
    import probe
    from analyses import circuits
    from analyses.circuits import AttributionOptions, EvaluationOptions, faithfulness
    from probe.readings.by_role import roles

    pair = probe.load_pair("zoo:masked")
    for name in ("ioi", "greater_than"):
        batch = probe.task(name).batch(pair, EXAMPLES, seed=0)
        for model, reading in roles(pair, "prefix").values():
            found = circuits.attribute(
                model, batch, reading=reading, options=AttributionOptions(directions=True, example_edges=True)
            )
            faithfulness(model, batch, found, reading=reading, options=EvaluationOptions(draws=2))


def as_job(folder: Path, *, faces: bool = True) -> None:
    """The same as a job; without `faces`, no figure is drawn and no report written."""
    from unittest.mock import patch

    from probe.jobs import parse_spec
    from probe.jobs.run import runner

    text = f"""
        pairs: [zoo:masked]
        tasks: [ioi, greater_than]
        measures: [{{measure: faithfulness, draws: 2}}]
        budget: {{examples: {EXAMPLES}, workers: 0}}
        output: {folder}
    """
    shown = nullcontext() if faces else patch.multiple(runner, draw=lambda *_: None, write_report=lambda root: root)
    with shown:
        summary = runner.run_job(parse_spec(text))
    assert summary.state == "complete", summary


def overhead(rounds: int) -> None:
    bare, whole = [], []
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp())
        alone = seconds(directly)
        bare.append(seconds(lambda folder=folder: as_job(folder / "bare", faces=False)) / alone)
        whole.append(seconds(lambda folder=folder: as_job(folder / "whole")) / alone)
        shutil.rmtree(folder)
        print(f"  directly {alone:6.2f} s of CPU; as a job {bare[-1]:.3f} ×; with report {whole[-1]:.3f} ×", flush=True)
    said = [f"{100 * (statistics.median(ratios) - 1):+.1f}%" for ratios in (bare, whole)]
    print(f"the runner's overhead: {said[0]}; with figures and report: {said[1]} (medians of {rounds})")


def scaling() -> None:
    """Wall time of units that compute, by number of processes; the first unit of each process pays for its start."""
    from probe.jobs import parse_spec, run_job
    from probe.jobs.stages import registry

    root = str(Path(__file__).parents[2])
    sys.path.insert(0, root)
    os.environ["PYTHONPATH"] = root
    os.environ[registry.VARIABLE] = "tests.probe.jobs.stand_ins:STAGES"
    os.environ["STAND_IN_PAUSE"] = str(SECONDS)
    registry.stages.cache_clear()
    seeds = list(range(UNITS))
    for workers in (1, 2, 4, 8):
        folder = Path(tempfile.mkdtemp())
        text = f"pairs: [zoo:masked]\ntasks: [ioi]\nmeasures: [waits]\nseeds: {seeds}\n"
        text += f"budget: {{examples: 4, resamples: 5, workers: {workers}}}\noutput: {folder / 'run'}"
        began = time.perf_counter()
        assert run_job(parse_spec(text)).state == "complete"
        took = time.perf_counter() - began
        shutil.rmtree(folder)
        ideal = UNITS * SECONDS / workers
        print(
            f"  {workers} workers: {took:6.1f} s for {UNITS} units of {SECONDS} s (at best {ideal:.1f} s)", flush=True
        )


def run() -> None:
    options = arguments(__doc__, rounds=5)
    overhead(options.rounds)
    scaling()


if __name__ == "__main__":
    main(run)
