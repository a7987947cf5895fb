"""docs/how_to/add_a_task.md, run: a task from a file, and one that a package declares."""

from __future__ import annotations

import pytest

from probe.errors import ProbeError
from probe.jobs import parse_spec
from probe.tasks import ENGLISH, INSTALLED, TASKS, task
from tests import how_to

PAGE = "add_a_task.md"


def test_a_task_of_ones_own_is_found_by_its_name_and_studied_like_any_other(tmp_path, monkeypatch):
    how_to.install(PAGE, tmp_path, monkeypatch)
    assert list(INSTALLED) == [*TASKS, *ENGLISH, "alternates"]
    made = how_to.used(PAGE, containing='"alternates"')
    assert made["batch"].task == "alternates"
    assert len(made["batch"]) == 8
    assert len(made["circuit"].edges)
    spec = "pairs: [zoo:masked]\ntasks: [{task: alternates, times: 3}]\nmeasures: [cosine]\n"
    assert parse_spec(spec).tasks[0].made() == task("alternates", times=3)


def test_a_file_of_examples_is_a_task(tmp_path, monkeypatch):
    (tmp_path / "my.jsonl").write_text(how_to.blocks(PAGE, "json")[0])
    monkeypatch.chdir(tmp_path)
    assert len(how_to.used(PAGE, containing="my.jsonl")["batch"])
    assert task("my.jsonl", scope="global").scope == "global"
    with pytest.raises(ProbeError, match="a knob it has; found 'times'"):
        task("my.jsonl", times=3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ioi = alternates:Alternates", "a name that is not taken"),
        ("other = alternates:Missing", "something that can be imported"),
        ("other = alternates:WORDS", "a subclass of probe.tasks.Task that is a dataclass"),
    ],
)
def test_an_entry_that_cannot_be_a_task_is_named(line, message, tmp_path, monkeypatch):
    how_to.install(PAGE, tmp_path, monkeypatch)
    next(tmp_path.glob("*.dist-info/entry_points.txt")).write_text(f"[twinprobe.tasks]\n{line}\n")
    with pytest.raises(ProbeError, match=message):
        task("other")
