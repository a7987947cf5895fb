"""An old number is never shown as a new one: whatever a unit reads is part of its hash."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

import probe
from probe.errors import ProbeError
from probe.jobs.run import code_hash
from probe.jobs.run.code_hash import code_of
from probe.jobs.run.model_identity import HashCache
from probe.jobs.run.plan import Plan, plan_of
from probe.jobs.run.runner import run_job as run
from probe.jobs.run.value_identity import facts_of
from probe.jobs.spec.file import parse_spec
from probe.jobs.stages import registry
from tests.probe.jobs.asked import PAIR, spec_of, tables

ZOO = Path(probe.__file__).parent / "zoo"
PLUGIN = """
from analyses.measures.storage import TABLE
from probe.jobs.stages.stage import A_PAIR, Stage
from plugin_helper import number
STAGES = [Stage("mine", "of one's own", lambda given: number(), TABLE, axes=A_PAIR, needs=("pool",), measure=True)]
"""


def lines(*, swapped: bool = False) -> str:
    """Forty-five questions; `swapped` asks each the other way round."""
    target, distractor = (" from", " to") if swapped else (" to", " from")
    places = ("museum", "palace", "school", "garden", "station", "market", "office", "kitchen", "church", "hospital")
    rows = [
        {"clean": f"The {one}", "corrupt": f"The {other}", "target": target, "distractor": distractor}
        for one, other in combinations(places, 2)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """All that a job can read, in a folder of its own: three models, a catalog, a task, a plug-in of two files."""
    for name in ("ar", "masked", "ar-cpt"):
        shutil.copytree(ZOO / name, tmp_path / name)
    (tmp_path / "task.jsonl").write_text(lines())
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump([{"name": "somewhere/else", "paradigm": "masked"}]))
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "plugin_helper.py").write_text("def number(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(registry.VARIABLE, "plugin:STAGES")
    monkeypatch.chdir(tmp_path)
    registry.stages.cache_clear()
    yield tmp_path
    registry.stages.cache_clear()
    for name in ("plugin", "plugin_helper"):
        sys.modules.pop(name, None)


def planned(**changes: Any) -> Plan:
    measures = sorted(name for name in registry.measures())
    job: dict[str, Any] = {
        "pairs": [{"ar": "ar", "diffusion": "masked", "controls": {"ar-cpt": "ar-cpt"}, "name": "mine"}],
        "tasks": ["task.jsonl", {"task": "countdown", "numbers": 3}],
        "readings": ["prefix", {"reading": "ratio", "rate": 0.5}],
        "measures": [*measures, "pool", "check"],
        "catalog": "catalog.yaml",
    }
    return plan_of(parse_spec(yaml.safe_dump({**job, **changes})))


def unmoved(before: Plan, after: Plan) -> set[str]:
    """The units whose hash is the same."""
    return {unit.id for unit in before if unit.hash in after.units}


def loading(plan: Plan, role: str) -> set[str]:
    """The units that load a model of the pair, or need one that does."""
    from probe.jobs.stages.registry import known_stage

    found: set[str] = set()
    for unit in plan:
        roles = known_stage(unit.stage).roles
        mine = unit.place.get("role") == role if "role" in unit.place else roles is None or role in roles
        if ("pair" in unit.place and mine) or found & set(unit.needed):
            found.add(unit.hash)
    return {plan.units[digest].id for digest in found}


def flip_last_byte(file: Path) -> None:
    """Another content of the same size and time."""
    stat, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_every_file_of_a_model_moves_the_hash_of_every_unit_that_loads_it(world):
    before = planned()
    for role, folder in {"ar": "ar", "diffusion": "masked", "ar-cpt": "ar-cpt"}.items():
        expected = loading(before, role)
        assert len(expected) > 3
        for file in sorted((world / folder).iterdir()):
            if file.suffix not in {".safetensors", ".json", ".txt"}:
                continue
            kept = file.read_bytes()
            flip_last_byte(file) if file.suffix != ".json" else file.write_bytes(kept + b"\n")
            assert not unmoved(before, planned()) & expected, file
            file.write_bytes(kept)
    assert {unit.hash for unit in planned()} == set(before.units)


def with_task(plan: Plan) -> set[str]:
    return {unit.id for unit in plan if unit.place.get("task") == "task.jsonl"}


Change = Callable[[Path], dict[str, Any]]


def swap_answers(world: Path) -> dict[str, Any]:
    (world / "task.jsonl").write_text(lines(swapped=True))
    return {}


def other_helper(world: Path) -> dict[str, Any]:
    (world / "plugin_helper.py").write_text("def number(): return 2\n")
    return {}


def declare(world: Path) -> dict[str, Any]:
    row = {"name": "masked", "paradigm": "masked", "mask_id": 1, "shift": False}
    (world / "masked" / "twinprobe.json").unlink()
    (world / "catalog.yaml").write_text(yaml.safe_dump([row]))
    return {}


CHANGES: dict[str, tuple[Change, Callable[[Plan], set[str]]]] = {
    "the lines of a task": (swap_answers, with_task),
    "a knob of a task": (
        lambda world: {"tasks": ["task.jsonl", {"task": "countdown", "numbers": 4}]},
        lambda plan: {unit.id for unit in plan if "tasks" in unit.made["settings"]},
    ),
    "a knob of a reading": (
        lambda world: {"readings": ["prefix", {"reading": "ratio", "rate": 0.25}]},
        lambda plan: {unit.id for unit in plan if "ratio" in str(unit.place.get("reading"))},
    ),
    "a file that a plug-in imports": (
        other_helper,
        lambda plan: {unit.id for unit in plan if unit.stage == "mine"},
    ),
    "a row of the catalog": (declare, lambda plan: loading(plan, "diffusion")),
    "the precision": (lambda world: {"dtype": "bfloat16"}, lambda plan: loading(plan, "ar")),
    "the examples": (
        lambda world: {"budget": {"examples": 8}},
        lambda plan: {unit.id for unit in plan if unit.stage == "pool" or "pool" in unit.needs},
    ),
    "the resamples": (
        lambda world: {"budget": {"resamples": 8}},
        lambda plan: {unit.id for unit in plan if "resamples" in unit.made["settings"]},
    ),
    "a knob of a shared stage": (
        lambda world: {"shared": {"circuit": {"steps": 2}}},
        lambda plan: {unit.id for unit in plan if unit.stage == "circuit" or "circuit" in unit.needs},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_other_input_moves_the_hash_of_what_reads_it(world, name):
    change, concerned = CHANGES[name]
    before = planned()
    assert concerned(before)
    after = planned(**change(world))
    assert not unmoved(before, after) & concerned(before)


def test_the_seed_moves_the_hash_of_all_that_has_one(world):
    before, after = planned(), planned(seeds=[1])
    assert not {unit.hash for unit in before if "seed" in unit.place} & set(after.units)


def test_a_task_whose_answers_are_swapped_is_computed_again(stand_ins, tmp_path):
    """As it was found: the same file name, the same `repr`, target and distractor swapped in every line."""
    (tmp_path / "mine.jsonl").write_text(lines())
    asked = {"tasks": [str(tmp_path / "mine.jsonl")], "measures": ["mean"], "pairs": [{**PAIR, "controls": False}]}
    asked["budget"] = {"solved": False, "examples": 2}
    run(spec_of(tmp_path / "run", **asked))
    before, shown = stand_ins(), tables(tmp_path / "run")
    (tmp_path / "mine.jsonl").write_text(lines(swapped=True))
    summary = run(spec_of(tmp_path / "run", **asked))
    assert summary.state == "complete", summary.failures
    assert len(tables(tmp_path / "run")) == len(shown) == 1
    assert all(stand_ins()[name] == times + 1 for name, times in before.items())


def test_a_task_that_changes_while_a_run_goes_on_is_refused(world):
    from probe.jobs.run.execute import execute
    from probe.jobs.run.stage_inputs import WorkerContext

    plan = planned(measures=["pool"], budget={"solved": False, "examples": 2, "workers": 0})
    swap_answers(world)
    digest = next(unit.hash for unit in plan if unit.place.get("task") == "task.jsonl")
    outcome = execute(WorkerContext(plan, world / "run"), digest)
    assert outcome.error is not None
    assert "changed since" in outcome.error["message"]


@pytest.mark.parametrize("remembered", ["the file was settled", "it was not"])
def test_weights_that_are_replaced_at_equal_size_and_time_are_noticed(tmp_path, monkeypatch, remembered):
    from probe.jobs.run import model_identity

    monkeypatch.setattr(model_identity, "SETTLED", 0 if remembered == "the file was settled" else 10**12)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    cache = HashCache()
    first = cache.sha256(file)
    assert cache.sha256(file) == first
    flip_last_byte(file)
    second = cache.sha256(file)
    assert second != first
    (tmp_path / "new").write_bytes(b"WEIGHTS")
    shutil.copystat(file, tmp_path / "new")
    os.replace(tmp_path / "new", file)
    assert cache.sha256(file) not in (first, second)


def test_an_identity_is_made_of_all_fields_and_never_of_a_repr():
    @dataclasses.dataclass(frozen=True)
    class Hidden:
        shown: int
        hidden: tuple[str, ...] = dataclasses.field(repr=False)

    assert repr(Hidden(1, ("a",))) == repr(Hidden(1, ("b",)))
    assert facts_of(Hidden(1, ("a",))) != facts_of(Hidden(1, ("b",)))
    with pytest.raises(ProbeError, match="Make it a dataclass"):
        facts_of(object())


def test_the_code_of_a_partial_is_that_of_its_function():
    assert code_of(functools.partial(spec_of, 1)) == code_of(spec_of)


def test_the_code_of_a_plug_in_counts_whatever_its_folders_are_called(tmp_path, monkeypatch):
    (tmp_path / "my_package" / "plots").mkdir(parents=True)
    (tmp_path / "my_package" / "__init__.py").write_text("def make(given): ...\n")
    inner = tmp_path / "my_package" / "plots" / "table.csv"
    inner.write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    from my_package import make  # pyright: ignore[reportMissingImports]  # written above

    code_hash._of_package.cache_clear()
    before = code_of(make)
    inner.write_text("2")
    code_hash._of_package.cache_clear()
    assert code_of(make) != before
