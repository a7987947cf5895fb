"""Computing the same units on a cluster, with Ray (`pip install 'twinprobe[ray]'`).

Each unit is a Ray task that requests cores, memory and, if it loads a model, GPUs; Ray decides where it runs. The run
folder must be on a disk that every node can access. Each task writes its unit there, by the same single rename as on
one machine, and returns only its outcome. A task whose worker or node died is submitted again. Tables are the same as
on one machine.

    twinprobe run spec.yaml --on ray                        # starts Ray on this machine
    twinprobe run spec.yaml --on ray --address auto         # the cluster that this machine belongs to
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.jobs.run.cost import Cost, estimates, models_of
from probe.jobs.run.execute import Outcome, execute
from probe.jobs.run.executors import Lost
from probe.jobs.run.plan import Plan
from probe.jobs.run.stage_inputs import WorkerContext
from probe.jobs.run.unit import Unit
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.stages.registry import VARIABLE
from probe.memory import readable

Needs = dict[str, float]  # num_cpus, num_gpus, memory
Node = Mapping[str, float]  # CPU, GPU, memory, …
log = logging.getLogger("twinprobe")
SILENCE = 60.0  # seconds of waiting before a message
IN_FLIGHT = 4  # tasks submitted beyond the cluster's capacity, so that no node has to wait
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
        costs = estimates(plan, UnitStore(root))
        self._needs = {unit.hash: needs(plan, unit, costs[unit.hash], self._gpus) for unit in plan}
        refuse_too_large(self._needs.values(), _nodes(ray))
        self._shared = ray.put(plan)
        self._task = ray.remote(max_retries=0)(_execute)
        self._running: dict[Any, str] = {}

    def free(self) -> bool:
        return len(self._running) < (self._limit or self._at_once() + IN_FLIGHT)

    def _at_once(self) -> int:
        """How many units the current cluster can compute at the same time."""
        total = self._ray.cluster_resources()
        by_gpu = total.get("GPU", 0.0) / self._gpus if self._gpus else float("inf")
        return int(min(by_gpu, total.get("CPU", 1.0) / self._plan.spec.budget.threads))

    def pairs(self) -> list[str]:
        return []  # Ray decides which worker takes a task

    def take(self, digest: str, pair: str) -> None:
        asked = self._needs[digest]
        self._running[self._task.options(**asked).remote(self._shared, str(self._root), digest)] = digest

    def finished(self) -> list[tuple[str, Outcome | Lost]]:
        done: list[Any] = []
        while not done:
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=SILENCE)
            if not done:
                log.warning(waited_for([self._needs[digest] for digest in self._running.values()], _nodes(self._ray)))
        return [(self._running.pop(task), self._outcome(task)) for task in done]

    def _outcome(self, task: Any) -> Outcome | Lost:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as problem:  # an error outside of the unit; a failing unit returns an Outcome
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


def needs(plan: Plan, unit: Unit, cost: Cost, gpus: float) -> Needs:
    """A unit's resource request. One that loads no model needs no GPU."""
    own = gpus if models_of(plan, unit) else 0.0
    return {"num_cpus": plan.spec.budget.threads, "num_gpus": own, "memory": cost.host(on_gpu=own > 0)}


def refuse_too_large(asked: Iterable[Needs], nodes: Sequence[Node]) -> None:
    """Refuse units that no node can compute, for which Ray would silently wait."""
    for one in sorted(asked, key=lambda need: -need["memory"]):
        if nodes and not any(_fits(one, node) for node in nodes):
            raise ProbeError(
                "a unit of this job on the cluster",
                expected=f"a node with {_in_words(one)}",
                found="; ".join(sorted({_in_words(_of_node(node)) for node in nodes})),
                remedy="Lower budget.batch, budget.threads or budget.gpus, choose dtype: bfloat16, or add such a node.",
            )


def waited_for(running: Sequence[Needs], nodes: Sequence[Node]) -> str:
    """A one-line message on what the run waits for."""
    most = max(running, key=lambda need: need["memory"])
    there = ", ".join(_in_words(_of_node(node)) for node in nodes) or "no node"
    return f"waiting for {len(running)} units; the largest needs {_in_words(most)}. The cluster: {there}."


def _fits(asked: Needs, node: Node) -> bool:
    return all(asked[name] <= has for name, has in _of_node(node).items())


def _of_node(node: Node) -> Needs:
    return {"num_cpus": node.get("CPU", 0.0), "num_gpus": node.get("GPU", 0.0), "memory": node.get("memory", 0.0)}


def _in_words(need: Needs) -> str:
    gpus = f", {need['num_gpus']:g} GPUs" if need["num_gpus"] else ""
    return f"{need['num_cpus']:g} cores{gpus}, {readable(need['memory'])}"


def _nodes(ray: Any) -> list[Node]:
    """The total resources of each node, by the cluster's own names."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0.0) > 0]


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
            remedy="Start one (ray start --head), or leave out --address to use only this machine.",
        ) from None


def _has_gpus(ray: Any) -> bool:
    return ray.cluster_resources().get("GPU", 0.0) > 0


_contexts: dict[tuple[str, str], WorkerContext] = {}


def _execute(plan: Plan, root: str, digest: str) -> Outcome:
    """Compute a unit on this node; a worker keeps its models from unit to unit."""
    key = (root, plan.spec.model_dump_json())
    if key not in _contexts:
        _contexts.clear()
        _contexts[key] = WorkerContext(plan, Path(root))
    _contexts[key].plan = plan
    return execute(_contexts[key], digest)
