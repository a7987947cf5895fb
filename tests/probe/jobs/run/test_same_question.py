"""A dry run names the tasks on which two readings of a spec ask the same question."""

from __future__ import annotations

import json

import pytest
import torch

import probe
from probe.jobs import parse_spec
from probe.jobs.run.plan import plan_of
from probe.jobs.run.same_question import SameQuestion, same_questions
from probe.readings import named
from tests.command import twinprobe

SPEC = """
pairs: [zoo:masked, zoo:flow]
tasks: [{tasks}]
readings: [{readings}]
measures: [heads]
budget: {{examples: 4}}
output: {folder}
"""


def spec_text(folder, tasks: str, readings: str = "prefix, one_mask") -> str:
    return SPEC.format(tasks=tasks, readings=readings, folder=folder)


def test_tasks_whose_answer_comes_last_are_named(tmp_path):
    tasks = "ioi, countdown, {task: infilling, in_place: true}"
    plan = plan_of(parse_spec(spec_text(tmp_path / "run", tasks)))
    assert same_questions(plan) == [SameQuestion("ioi", ("prefix", "one_mask"), ("zoo:masked", "zoo:flow"))]


@pytest.mark.parametrize("readings", ["prefix", "prefix, ar", "prefix, {reading: ratio, rate: 0.5}"])
def test_nothing_is_said_of_readings_that_differ(readings, tmp_path):
    assert same_questions(plan_of(parse_spec(spec_text(tmp_path / "run", "ioi", readings)))) == []


def test_a_longer_canvas_is_another_question(tmp_path):
    readings = "{reading: prefix, canvas_length: 3}, one_mask"
    assert same_questions(plan_of(parse_spec(spec_text(tmp_path / "run", "ioi", readings)))) == []


@pytest.mark.parametrize(("task", "same"), [("ioi", True), ("countdown", False)])
def test_what_is_called_the_same_gives_the_same_logits(task, same):
    model = probe.load("zoo:masked")
    batch = probe.task(task).examples(model, 2)
    one, other = (named(reading).logits(model, batch) for reading in ("prefix", "one_mask"))
    assert torch.equal(one, other) is same


def test_the_dry_run_says_so(tmp_path):
    (tmp_path / "spec.yaml").write_text(spec_text(tmp_path / "run", "ioi, countdown"))
    shown = twinprobe("run", str(tmp_path / "spec.yaml"), "--dry-run")
    assert "prefix and one_mask ask the same question on ioi" in " ".join(shown.stdout.split())
    told = json.loads(twinprobe("run", str(tmp_path / "spec.yaml"), "--dry-run", "--json").stdout)
    assert [each["task"] for each in told["same_questions"]] == ["ioi"]
