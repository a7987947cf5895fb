"""A spec to start from: commented, valid, with the installed names; or a copy of a shipped one.

A JSON schema is written with it. The first line of the spec names it, so an editor can complete names and underline
mistakes.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from probe.errors import ProbeError
from probe.jobs.atomic import write_atomically
from probe.jobs.spec.file import schema
from probe.jobs.spec.shipped import text_of
from probe.jobs.stages.registry import measures
from probe.readings.registry import READINGS
from probe.tasks import INSTALLED

SCHEMA = "twinprobe.schema.json"

_FIRST = "# yaml-language-server: $schema={schema}\n"
_TEMPLATE = """\
# A job. Every combination of pair, task, reading, measure and seed is one unit of work; the same command again
# does only what is missing or changed.    twinprobe run {file}

name: {name}
question: What changes inside a language model when an autoregressive one becomes a diffusion one?

# A diffusion model whose AR twin is declared (a shipped one, or a name that `twinprobe catalog` lists), or two models:
#   - {{ar: path/to/ar, diffusion: path/to/twin, name: mine, controls: {{ar-cpt: path/to/more-training}}}}
pairs:
  - {pair}

# Of: {tasks}.
# With an option of a task:  - {{task: countdown, numbers: 3}}
tasks: [{some_tasks}]

# Of: {readings}. `prefix` gives both twins the same left context.
#   - {{reading: ratio, rate: 0.5}}
readings: [prefix]

# What is measured:
{listed}
measures:
{measures}

seeds: [0]

device: auto     # cpu, cuda, cuda:1
dtype: float32   # recommended; bfloat16 halves memory

budget:
  examples: 256    # prompts of each task
  solved: true     # only prompts that both twins answer right; over_distractor: that prefer it to the distractor
  resamples: 2000  # for each interval
  # batch: 32      # prompts in one forward pass; halved automatically when memory runs out
  # workers: 2     # processes; by default one per core, or GPU
  # resident: 1    # models that a process keeps from unit to unit; by default as many as fit in memory
  # minutes: 480   # no further unit is begun after this time

output: {output}
"""


def template(file: str = "spec.yaml", pair: str = "zoo:masked") -> str:
    """The text of a commented spec."""
    known = measures()
    name = Path(file).stem
    return _FIRST.format(schema=SCHEMA) + _TEMPLATE.format(
        file=file,
        name=name,
        pair=pair,
        tasks=", ".join(INSTALLED),
        some_tasks="ioi, infilling",
        readings=", ".join(READINGS),
        listed="\n".join(f"#   {stage.name:<24} {stage.about}" for stage in known.values()),
        measures="\n".join(f"  - {name}" for name in known),
        output=f"runs/{name}",
    )


def copy_of(shipped: str, file: str = "spec.yaml") -> str:
    """The text of a shipped spec, with a name and a run folder of its own."""
    name = Path(file).stem
    text = re.sub(r"^name:.*$", f"name: {name}", text_of(shipped), flags=re.MULTILINE)
    return _FIRST.format(schema=SCHEMA) + re.sub(r"^output:.*$", f"output: runs/{name}", text, flags=re.MULTILINE)


def write_template(file: Path, pair: str = "zoo:masked", *, like: str | None = None) -> list[Path]:
    """Write a commented spec (or one like a shipped one), and its schema; existing files are never overwritten."""
    if file.exists():
        raise ProbeError(
            f"file {file}", expected="a new file", found="one that is there already", remedy="Choose another name."
        )
    text = copy_of(like, file.name) if like else template(file.name, pair)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text)
    beside = file.with_name(SCHEMA)
    write_atomically(beside, json.dumps(schema(), indent=1))
    return [file, beside]


def write_slurm(beside: Path) -> Path:
    """Write the script that runs a spec on a SLURM cluster, next to the spec."""
    file = beside.with_name("slurm.sh")
    write_atomically(file, files("probe.jobs.spec").joinpath("slurm.sh").read_text("utf-8"))
    return file
