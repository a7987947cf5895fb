"""What a dry run measures on a few prompts, beside what the job then takes."""

from __future__ import annotations

import json
from dataclasses import replace

from probe.jobs.run import cost
from probe.jobs.run.calibration import measured
from probe.jobs.run.cost import estimates
from probe.jobs.run.plan import plan_of
from probe.jobs.run.runner import run_job
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.spec.file import parse_spec
from tests.command import twinprobe
from tests.probe.jobs.asked import spec_of, text_of

JOB = """
pairs: [{ar: zoo:ar, diffusion: zoo:masked, controls: {}}]
tasks: [ioi]
measures: [front_loading, skip_effects]
shared: {circuit: {steps: 2}}
device: cpu
budget: {examples: 64, resamples: 50, workers: 0}
"""


def test_a_measured_estimate_is_what_the_job_takes(tmp_path):
    """In time by the processor's own count, in bytes on disk, and in memory: within a factor of 1.5 in all."""
    spec = parse_spec(f"{JOB}output: {tmp_path / 'run'}")
    plan, store = plan_of(spec), UnitStore(tmp_path / "run")
    said = measured(spec, plan, estimates(plan, store))
    assert run_job(spec).state == "complete"
    records = {unit.hash: store.record(unit.hash) for unit in plan}
    took = sum(record["cpu_seconds"] for record in records.values() if record is not None)
    peak = max(record["peak_bytes"] for record in records.values() if record is not None)
    disk = sum(file.stat().st_size for unit in plan for file in store.folder(unit.hash).rglob("*") if file.is_file())
    totals = {
        "seconds": (sum(one.seconds for one in said.values()), took),
        "memory": (max(one.memory for one in said.values()), peak),
        "disk": (sum(one.disk for one in said.values()), disk),
    }
    for name, (expected, found) in totals.items():
        assert found / 1.5 <= expected <= found * 1.5, (name, expected, found)


def test_what_fails_on_a_few_prompts_keeps_its_counted_estimate(stand_ins, tmp_path):
    spec = spec_of(tmp_path / "run", measures=["wrong", "after_wrong", "mean"], tasks=["ioi"])
    plan = plan_of(spec)
    counted = estimates(plan, UnitStore(tmp_path / "run"))
    said = measured(spec, plan, counted)
    assert said.keys() == counted.keys()
    kept = {unit.stage for unit in plan if said[unit.hash] == counted[unit.hash]}
    assert {"wrong", "after_wrong"} <= kept
    assert "mean" not in kept
    assert not (tmp_path / "run" / "units").exists()


def test_the_command_measures_and_says_so(stand_ins, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(text_of(tmp_path / "run", tasks=["ioi"], measures=["mean"]))
    ended = twinprobe("run", str(file), "--dry-run", "--measure", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    (mean,) = (unit for unit in told["units"] if unit["id"].startswith("mean/"))
    assert 0 < mean["disk"] < 50_000  # counted, it would be 100,000
    alone = twinprobe("run", str(file), "--measure")
    assert alone.returncode == 2
    assert "--dry-run" in alone.stderr


def test_a_job_s_time_goes_with_what_works_and_its_memory_with_what_is_held(stand_ins, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "_measured", lambda device, width: 1e6)
    plan, store = plan_of(spec_of(tmp_path / "run")), UnitStore(tmp_path / "run")
    pairs = {}
    for name, pair in plan.pairs.items():
        mixtures = {role: replace(model, active=model.active // 4) for role, model in pair.models.items()}
        pairs[name] = replace(pair, models=mixtures)
    dense, mixed = estimates(plan, store), estimates(replace(plan, pairs=pairs), store)
    for unit, whole in dense.items():
        assert mixed[unit].memory == whole.memory
        assert mixed[unit].seconds <= whole.seconds
    most = max(dense, key=lambda unit: dense[unit].seconds)
    assert mixed[most].seconds - cost.OVERHEAD < 0.6 * (dense[most].seconds - cost.OVERHEAD)
