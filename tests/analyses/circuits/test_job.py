"""The shipped job of circuits leaves out no shipped twin, no task, and no figure of circuits."""

from __future__ import annotations

import json

from probe.jobs.spec.file import read_spec
from probe.tasks import TASKS
from probe.training import read_recipe
from probe.zoo import shipped, zoo_folder

# By what measures.md says of circuits: the circuit itself, s(v), kinds of edges and right-to-left attention apart,
# faithfulness, overlap, the diff, cross-faithfulness.
FIGURES = {
    *("circuit_graph", "node_importance", "edge_kinds", "faithfulness"),
    *("overlap", "circuit_diff", "cross_faithfulness"),
}


def test_the_job_asks_for_everything_of_every_twin():
    said = {name: json.loads((zoo_folder(name) / "twinprobe.json").read_text()) for name in shipped()}
    controls = {place for of in said.values() for place in of.get("controls", {}).values()}
    readers = {name for name in said if not read_recipe(zoo_folder(name) / "recipe.yaml").tasks}  # of running text
    twins = {f"zoo:{name}" for name, of in said.items() if of.get("ar") and name not in readers} - controls
    spec = read_spec("circuits")
    assert {pair.label for pair in spec.pairs} == twins
    assert {task.label for task in spec.tasks} == set(TASKS)
    assert {measure.measure for measure in spec.measures} >= FIGURES
