"""The same job over a real Ray cluster of two nodes, of which one is killed in the middle."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from probe.jobs.runner import run
from tests.probe.jobs.asked import same, spec_of, tables

ROOT = Path(__file__).parents[3]


@pytest.fixture
def nodes(stand_ins, monkeypatch):
    """A head that does no units, and two nodes of one core that do; workers find the tests beside the toolkit."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster, made
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_is_lost_costs_nothing_but_time(nodes, stand_ins, tmp_path, monkeypatch):
    cluster, (first, _) = nodes
    wanted = {"measures": ["mean", "across", "heads"], "seeds": [0, 1]}
    run(spec_of(tmp_path / "alone", **wanted))
    monkeypatch.setenv("STAND_IN_PAUSE", "0.4")
    for file in Path(os.environ["STAND_IN_COUNTS"]).iterdir():
        file.unlink()

    def kill_one() -> None:
        while len(stand_ins()) < 5:  # the middle: units are done, and units are being done
            time.sleep(0.02)
        cluster.remove_node(first, allow_graceful=False)

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary = run(spec_of(tmp_path / "run", **wanted), on="ray", address=cluster.address)
    killer.join()
    assert summary.state == "complete"
    assert same(tables(tmp_path / "run"), tables(tmp_path / "alone"))
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert told["on"] == "ray"
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2 if ray.is_initialized() else True
    assert any("done again elsewhere" in note for unit in told["units"] for note in unit["notes"])
