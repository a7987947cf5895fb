"""Computing the same units on a cluster, with Ray (`pip install 'twinprobe[ray]'`).

Each unit is a Ray task that asks for cores, GPUs and memory; Ray decides where it runs. The run folder has to lie on a
disk that every node sees. Each task writes its unit there, by the same single rename as on one machine, and sends back
only its outcome. A task whose worker or node died is given out again. Tables are the same as on one machine.

    twinprobe run spec.yaml --on ray                        # starts Ray on this machine
    twinprobe run spec.yaml --on ray --address auto         # the cluster that this machine belongs to
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.jobs.run.cost import estimates
from probe.jobs.run.execute import Outcome, execute
from probe.jobs.run.executors import Lost
from probe.jobs.run.plan import Plan
from probe.jobs.run.stage_inputs import WorkerContext
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.stages.registry import VARIABLE

IN_FLIGHT = 4  # tasks given out beyond what the cluster can do at once, so that no node waits for the next
PASSED_ON = (VARIABLE, "TWINPROBE_CATALOG", "PYTHONPATH", "HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


class Cluster:
    """An executor whose workers are on other machines."""

    def __init__(self, plan: Plan, root: Path, address: str | None, workers: int | None):
        ray = _ray()
        self._ray, self._began_here = ray, not ray.is_initialized()
        if self._began_here:
            _connect(ray, address, workers)
        self._plan, self._root, self._limit = plan, root.resolve(), workers
        self._gpus = plan.spec.budget.gpus if plan.spec.device != "cpu" and _has_gpus(ray) else 0.0
        self._memory = {digest: cost.memory for digest, cost in estimates(plan, UnitStore(root)).items()}
        self._shared = ray.put(plan)
        self._task = ray.remote(max_retries=0)(_execute)
        self._running: dict[Any, str] = {}

    def free(self) -> bool:
        return len(self._running) < (self._limit or self._at_once() + IN_FLIGHT)

    def _at_once(self) -> int:
        """Units that the cluster, as it is now, can do at the same time."""
        total = self._ray.cluster_resources()
        by_gpu = total.get("GPU", 0.0) / self._gpus if self._gpus else float("inf")
        return int(min(by_gpu, total.get("CPU", 1.0) / self._plan.spec.budget.threads))

    def pairs(self) -> list[str]:
        return []  # which worker takes a task is Ray's to say

    def take(self, digest: str, pair: str) -> None:
        needs = {"num_cpus": self._plan.spec.budget.threads, "num_gpus": self._gpus, "memory": self._memory[digest]}
        self._running[self._task.options(**needs).remote(self._shared, str(self._root), digest)] = digest

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        done, _ = self._ray.wait(list(self._running), num_returns=1)
        return [(self._running.pop(task), self._outcome(task)) for task in done]

    def _outcome(self, task: Any) -> Outcome | Lost:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as problem:  # the code around the unit failed; a failing unit returns an Outcome
            return Outcome(
                error={"kind": type(problem).__name__, "message": str(problem.cause), "traceback": str(problem)}
            )
        except errors.RayError as problem:
            return Lost(f"its worker or node was lost ({type(problem).__name__})")

    def stop(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running = {}
        if self._began_here:
            self._ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ProbeError(
            "--on ray",
            expected="Ray",
            found="it is not installed",
            remedy="pip install 'twinprobe[ray]', here and on every node.",
        ) from None
    return ray


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    """Join a cluster, or start Ray on this machine."""
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    own = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address, runtime_env={"env_vars": variables}, **quiet, **own)
    except (ConnectionError, ValueError, RuntimeError) as problem:
        raise ProbeError(
            f"--address {address}",
            expected="the address of a Ray cluster that can be reached",
            found=str(problem).splitlines()[0],
            remedy="Start one (ray start --head), or leave --address out for this machine alone.",
        ) from None


def _has_gpus(ray: Any) -> bool:
    return ray.cluster_resources().get("GPU", 0.0) > 0


_contexts: dict[tuple[str, str], WorkerContext] = {}


def _execute(plan: Plan, root: str, digest: str) -> Outcome:
    """A unit, on whatever node this is; a worker keeps its models from unit to unit."""
    key = (root, plan.spec.model_dump_json())
    if key not in _contexts:
        _contexts.clear()
        _contexts[key] = WorkerContext(plan, Path(root))
    _contexts[key].plan = plan
    return execute(_contexts[key], digest)
