"""The demo over a real Ray cluster of two nodes, of which one is killed in the middle."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from probe.jobs.run.runner import run_job as run
from probe.jobs.spec.file import read_spec
from probe.jobs.spec.model import Spec
from tests.probe.jobs.asked import same, tables

ROOT = Path(__file__).parents[4]


SMALLER = (
    *('pairs=[{pair: zoo:masked, controls: {ar-cpt: "zoo:ar-cpt"}}]', "tasks=[ioi, greater_than]"),
    *("measures=[front_loading, heads]", "budget.examples=8", "budget.resamples=20"),
)


@pytest.fixture
def nodes(monkeypatch):
    """A head that does no units, and two nodes of one core that do."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster, made
    ray.shutdown()
    cluster.shutdown()


def demo_in(folder: Path) -> Spec:
    return read_spec("demo", [*SMALLER, f"output={folder}"])


def at_work(node) -> bool:
    """Whether a worker of the node is in the middle of a unit: Ray then calls its process by the task's name."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    workers = psutil.process_iter(["ppid", "cmdline"])
    return any(
        "ray::_execute" in " ".join(one.info["cmdline"] or ()) for one in workers if one.info["ppid"] == raylet.pid
    )


@pytest.mark.slow
def test_a_node_that_is_lost_costs_nothing_but_time(nodes, tmp_path):
    cluster, (first, _) = nodes
    alone = run(demo_in(tmp_path / "alone"), workers=0)
    middle = alone.counts["done"] // 3

    def done() -> int:
        return len(list((tmp_path / "run" / "units").glob("*/unit.json")))

    def kill_one() -> None:
        while done() < middle or (done() < alone.counts["done"] and not at_work(first)):
            time.sleep(0.01)
        cluster.remove_node(first, allow_graceful=False)

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary = run(demo_in(tmp_path / "run"), on="ray", address=cluster.address)
    killer.join()
    assert summary.state == "complete"
    assert same(tables(tmp_path / "run"), tables(tmp_path / "alone"))
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert told["on"] == "ray"
    assert any("computed again elsewhere" in note for unit in told["units"] for note in unit["notes"])
