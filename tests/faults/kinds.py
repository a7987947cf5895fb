"""The kinds of faults, each a function that does one to a world and says what came of it.

It answers TOLD where somebody was told (a finding of `verify`, an error that names the thing, a run that says that it
was stopped), and MENDED where nobody needed to be, because the next run made good what was missing. It raises where
something was lost. Afterwards the world is as it was before.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from itertools import permutations
from pathlib import Path
from random import Random

import torch
import yaml

import probe
from analyses.components.partial_forward import Whole
from probe.errors import ProbeError
from probe.jobs.run.runner import run_job
from tests.faults.world import LostError, World, killed_at, touching
from tests.forked import begin
from tests.probe.jobs.asked import SMALL, same, tables
from tests.probe.tracing.architectures import hooks_of, model_of, tokens_of

TOLD, MENDED = "told", "mended"


def killed(world: World, draw: Random) -> str:
    """SIGKILL, in the middle of a run."""
    world.forget(draw)
    process = begin(killed_at, world.spec, draw.randint(1, world.touches // 2))
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise LostError(f"the process was to be killed and ended with {process.exitcode}")
    world.mended()
    return MENDED


def interrupted(world: World, draw: Random) -> str:
    """SIGTERM, SIGHUP or SIGINT, in the middle of a run."""
    world.forget(draw)
    number = draw.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT])

    def end() -> None:
        if callable(signal.getsignal(number)):  # before the run minds it, it would end this process
            os.kill(os.getpid(), number)

    told = MENDED
    try:
        with touching(world.folder, draw.randint(20, world.touches // 2), end):
            if world.run().state == "interrupted":
                told = TOLD
    except KeyboardInterrupt:
        told = TOLD
    world.mended()
    return told


def disk_full(world: World, draw: Random) -> str:
    """No room for another file, from some moment of a run on."""
    world.forget(draw)
    told = ""
    with touching(world.folder, draw.randint(2, world.touches), lambda: None, full=True):
        try:
            summary = world.run()
            told = " ".join([summary.why, *(error["message"] for error in summary.failures.values())])
            if summary.state == "complete" and not told.strip() and not same(tables(world.folder), world.expected):
                raise LostError("a run on a full disk says that it is complete, and is not")
        except ProbeError as problem:
            told = str(problem)
    if told.strip() and "No space left" not in told:
        raise LostError(f"a full disk was told as: {told}")
    world.mended()
    return TOLD if told.strip() else MENDED


def flipped(world: World, draw: Random) -> str:
    """One bit of one file of a finished run."""
    file = draw.choice(world.files(draw))
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return _looked_at(world, file)


def removed(world: World, draw: Random) -> str:
    """One file of a finished run, gone or cut short."""
    file = draw.choice([path for path in world.files(draw) if path.name != ".twinprobe-run"])
    if draw.random() < 0.5:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])
    return _looked_at(world, file)


def _looked_at(world: World, file: Path) -> str:
    """Whether verifying says so; what it cannot know of (a manifest's own words) the next run writes anew."""
    troubles = world.troubles()
    own = file.relative_to(world.folder).parts
    hashed = own[0] in ("units", "results", "figures", "traces") or own[0].startswith("report.")
    if hashed and not any(own[-1] in one or (own[1:2] and own[1][:8] in one) or "files of" in one for one in troubles):
        raise LostError(f"{'/'.join(own)} is damaged, and verifying says: {troubles}")
    world.mended()
    return TOLD if troubles else MENDED


def linked(world: World, draw: Random) -> str:
    """A link out of the run's folder, where a run writes or removes."""
    inner = ["units", ".scratch", "results", "figures", "traces"]
    files = ["spec.yaml", "manifest.json", "report.html", "report.md", "report.parquet", ".report.html.part", ".lock"]
    unit = draw.choice(world.units(cheap=True))
    places = [*inner, *files, f"units/{unit.name}", f"units/{unit.name}/unit.json", f".scratch/{unit.name}-x"]
    places += [str(path.relative_to(world.folder)) for path in sorted((world.folder / "results").iterdir())]
    place, kept = world.folder / draw.choice(places), world.root / "kept"
    if place.exists():
        place.rename(kept)
    target = world.elsewhere / draw.choice(["", "inner", "mine.txt", "nowhere"])
    place.symlink_to(target)
    told = MENDED
    try:
        world.run()
    except ProbeError as problem:
        if place.name not in str(problem) and "link" not in str(problem):
            raise LostError(f"a link at {place.name} was told as: {problem}") from None
        told = TOLD
    if place.is_symlink():
        place.unlink()
        if kept.exists():
            kept.rename(place)
    elif kept.is_dir():
        shutil.rmtree(kept)
    else:
        kept.unlink(missing_ok=True)
    world.mended()
    return told


def swapped(world: World, draw: Random) -> str:
    """The lines of a task, or a model's weights at the same size and time, exchanged for others and back."""
    inputs = _inputs(world)
    which = draw.choice(["task", "weights"])
    before = inputs.hashes(inputs.run())
    kept = inputs.exchange(which)
    try:
        changed, tables_then = inputs.hashes(inputs.run()), tables(inputs.folder)
        if changed == before:
            raise LostError(f"{which} exchanged, and every unit is the old one")
        if which == "task" and same(tables_then, inputs.expected):
            raise LostError("the task's lines were exchanged, and the old numbers are shown")
    finally:
        inputs.put_back(kept)
    if inputs.hashes(inputs.run()) != before or not same(tables(inputs.folder), inputs.expected):
        raise LostError(f"{which} put back, and the numbers are not those of before")
    return MENDED


NAMES = ("Luke", "Keith", "Greg", "Gabriel", "Edward", "Nicholas")


def lines(place: str) -> str:
    """Thirty questions of one kind that the shipped pair has learnt, at a place."""
    rows = []
    for one, other in permutations(NAMES, 2):
        asked = f"When {one} and {other} went to the {place}, %s gave a flower to"
        prompts = {"clean": asked % other, "corrupt": asked % "Mark"}
        rows.append({**prompts, "target": f" {one}", "distractor": f" {other}"})
    return "".join(json.dumps(row) + "\n" for row in rows)


class _Inputs:
    """A run on inputs of its own: a task from a file, a copy of a model."""

    def __init__(self, root: Path):
        self.root, self.folder = root, root / "run"
        self.model = root / "masked"
        shutil.copytree(Path(probe.__file__).parent / "zoo" / "masked", self.model, dirs_exist_ok=True)
        self.task = root / "task.jsonl"
        self.task.write_text(lines("museum"))
        self.run()
        self.expected = tables(self.folder)

    def run(self) -> Path:
        from probe.jobs.spec.file import parse_spec

        pair = {"ar": "zoo:ar", "diffusion": str(self.model), "controls": False, "name": "mine"}
        job = {"pairs": [pair], "tasks": [str(self.task)], "measures": ["mean"], "budget": SMALL}
        summary = run_job(parse_spec(yaml.safe_dump({**job, "output": str(self.folder)})))
        if summary.state != "complete":
            raise LostError(f"{summary.state}: {summary.why} {summary.failures}")
        return self.folder

    def hashes(self, folder: Path) -> list[str]:
        return sorted(unit["hash"] for unit in json.loads((folder / "manifest.json").read_text())["units"])

    def exchange(self, which: str) -> tuple[Path, bytes, os.stat_result]:
        file = self.task if which == "task" else self.model / "model.safetensors"
        kept, stat = file.read_bytes(), file.stat()
        if which == "task":
            file.write_text(lines("garden"))
        else:
            content = bytearray(kept)
            content[-1] ^= 1
            file.write_bytes(content)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return file, kept, stat

    def put_back(self, kept: tuple[Path, bytes, os.stat_result]) -> None:
        file, content, stat = kept
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@cache
def _made_inputs(root: Path) -> _Inputs:
    root.mkdir(exist_ok=True)
    return _Inputs(root)


def _inputs(world: World) -> _Inputs:
    return _made_inputs(world.root / "inputs")


def out_of_order(world: World, draw: Random) -> str:
    """Edits and partial passes of one model, opened in several threads and closed in any order by any of them."""
    model, tokens = model_of("llama", "full"), tokens_of()
    plain, wrong = model.logits(tokens), []
    canvas = model.canvas(tokens)
    whole = Whole.of(model, canvas)
    contexts: list[Callable] = [
        lambda: probe.edit(model, probe.zero("pattern", layer=draw.randrange(2))),
        lambda: probe.edit(model, [probe.zero("head_out", layer=0, head=1), probe.skip(1)]),
        lambda: probe.edit(model, probe.patch("resid_mid", 1.0, layer=1, position=2)),
        lambda: whole.begun(1, torch.arange(len(tokens))),
    ]
    stacks = [ExitStack() for _ in range(draw.randint(2, 5))]
    for stack in stacks:
        _somewhere(draw, lambda stack=stack: stack.enter_context(draw.choice(contexts)()), wrong)
    _in_a_thread(lambda: torch.testing.assert_close(model.logits(tokens), plain, atol=0, rtol=0), wrong)
    for stack in draw.sample(stacks, len(stacks)):
        _somewhere(draw, stack.close, wrong)
    # What another thread has closed, this one may still list; it acts no more.
    model.before_run.clear()
    model.attention_override = None
    torch.testing.assert_close(model.logits(tokens), plain, atol=0, rtol=0)
    if wrong or hooks_of(model) or any("forward" in vars(block) for block in model.blocks):
        raise LostError(f"{wrong}, {hooks_of(model)} hooks left")
    return MENDED


def _somewhere(draw: Random, work: Callable[[], object], wrong: list) -> None:
    """Here or in another thread."""
    if draw.random() < 0.5:
        work()
    else:
        _in_a_thread(work, wrong)


def _in_a_thread(work: Callable[[], object], wrong: list) -> None:
    def told() -> None:
        try:
            work()
        except BaseException as problem:
            wrong.append(problem)

    thread = threading.Thread(target=told)
    thread.start()
    thread.join(60)


KINDS: dict[str, tuple[int, Callable[[World, Random], str]]] = {
    "a run is killed (SIGKILL)": (12, killed),
    "a run is interrupted (SIGTERM, SIGHUP, SIGINT)": (18, interrupted),
    "the disk is full": (24, disk_full),
    "a bit of a file is flipped": (60, flipped),
    "a file is removed or cut short": (20, removed),
    "a link is planted": (24, linked),
    "a task or weights are exchanged": (12, swapped),
    "contexts are closed out of order, by several threads": (30, out_of_order),
}
"""The kinds, and how many of each are in two hundred."""
