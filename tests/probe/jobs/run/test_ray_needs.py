"""What a unit asks of a cluster: what its process takes, no GPU without a model; and refused where no node has it."""

from __future__ import annotations

import pytest

from probe.errors import ProbeError
from probe.jobs.run.cost import PROCESS, SHARD, estimates
from probe.jobs.run.plan import plan_of
from probe.jobs.run.ray_cluster import needs, refuse_too_large, waited_for
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.spec.file import read_spec

NODE = {"CPU": 8.0, "memory": 16e9, "object_store_memory": 4e9}


def asked_of(tmp_path, *overrides: str, gpus: float = 0.0) -> dict[str, dict[str, float]]:
    plan = plan_of(read_spec("demo", [*overrides, f"output={tmp_path}"]))
    costs = estimates(plan, UnitStore(tmp_path))
    return {unit.stage: needs(plan, unit, costs[unit.hash], gpus) for unit in plan}


def test_more_prompts_ask_for_no_more_memory_since_they_go_in_batches(tmp_path):
    few, many = (asked_of(tmp_path, f"budget.examples={count}") for count in (64, 500))
    assert few == many
    assert PROCESS <= max(one["memory"] for one in many.values()) < 1.5 * PROCESS


def test_a_unit_that_loads_no_model_takes_no_gpu(tmp_path):
    asked = asked_of(tmp_path, gpus=1.0)
    assert asked["circuit"]["num_gpus"] == 1
    assert asked["two_by_two"]["num_gpus"] == asked["causal_front_loading"]["num_gpus"] == 0


def test_with_the_models_on_a_gpu_little_is_asked_of_the_machine(tmp_path):
    here, there = (asked_of(tmp_path, "budget.batch=256", gpus=gpus)["circuit"]["memory"] for gpus in (0.0, 1.0))
    assert PROCESS < there <= PROCESS + SHARD
    assert there < here


def test_what_no_node_has_is_refused_before_anything_is_given_out():
    fits = {"num_cpus": 2, "num_gpus": 0.0, "memory": 15e9}
    refuse_too_large([fits], [NODE])
    refuse_too_large([{**fits, "num_gpus": 1.0}], [NODE, {**NODE, "GPU": 1.0}])
    for wrong in ({"memory": 17e9}, {"num_cpus": 9}, {"num_gpus": 1.0}):
        with pytest.raises(ProbeError, match=r"a node with .* found 8 cores, 16\.0 GB"):
            refuse_too_large([fits, {**fits, **wrong}], [NODE])
    with pytest.raises(ProbeError, match="found 8 cores"):  # nodes that have it only together
        refuse_too_large([{**fits, "num_gpus": 1.0, "memory": 15e9}], [NODE, {"CPU": 8.0, "GPU": 1.0, "memory": 8e9}])


def test_a_silence_says_what_is_waited_for():
    running = [{"num_cpus": 1, "num_gpus": 0.0, "memory": 2e9}, {"num_cpus": 1, "num_gpus": 0.5, "memory": 9e9}]
    said = waited_for(running, [NODE])
    assert said == "waiting for 2 units; the largest needs 1 cores, 0.5 GPUs, 9.0 GB. The cluster: 8 cores, 16.0 GB."
