"""Specs: what is right is understood, and what is wrong is told with its line, whatever it is."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.jobs.run.plan import plan_of
from probe.jobs.spec.file import (
    SpecError,
    as_yaml,
    parse_spec,
    read_spec,
    schema,
)
from probe.jobs.spec.shipped import shipped
from probe.jobs.spec.template import template, write_template

GOOD = """\
name: a job
pairs:
  - zoo:masked
  - {ar: "zoo:ar", diffusion: "zoo:block", name: block}
tasks: [ioi, {task: countdown, numbers: 3}]
readings:
  - prefix
  - reading: ratio
    rate: 0.5
measures:
  - front_loading
  - {measure: faithfulness, draws: 2}
shared: {circuit: {steps: 3}}
seeds: [0, 1]
budget: {examples: 16}
output: runs/a-job
"""


def test_a_spec_is_read_as_it_is_meant():
    spec = parse_spec(GOOD)
    assert [pair.label for pair in spec.pairs] == ["zoo:masked", "block"]
    assert spec.tasks[1].made().numbers == 3
    assert spec.readings[1].made().rate == 0.5
    assert spec.measures[1].knobs == {"draws": 2}
    assert (spec.budget.examples, spec.budget.solved, spec.device) == (16, True, "auto")


def test_what_a_run_writes_down_is_the_same_spec():
    spec = parse_spec(GOOD)
    assert parse_spec(as_yaml(spec)) == spec


def test_bare_names_stand_for_themselves_and_readings_default_to_prefix():
    spec = parse_spec("pairs: [zoo:fluid]\ntasks: [ioi]\nmeasures: [heads]\n")
    assert [reading.label for reading in spec.readings] == ["prefix"]


@pytest.mark.parametrize(
    ("wrong", "right", "line", "key", "told"),
    [
        ("front_loading", "front_lodaing", 11, "measures.0", "'front_loading'"),
        ("draws: 2", "drawz: 2", 12, "measures.1", "'draws'"),
        ("draws: 2", "draws: many", 12, "measures.1", "a whole number"),
        ("- prefix", "- prefx", 7, "readings.0", "'prefix'"),
        ("rate: 0.5", "rate: 5", 8, "readings.1", "a rate from 0 to 1"),
        ("rate: 0.5", "rate: [x]", 8, "readings.1", "expected"),
        ("numbers: 3", "numberz: 3", 5, "tasks.1", "'numbers'"),
        ("ioi", "ioy", 5, "tasks.0", "'ioi'"),
        ("seeds: [0, 1]", "seeds: [0, -1]", 14, "seeds.1", "greater than or equal to 0"),
        ("seeds: [0, 1]", "seeds: [1, 1]", 14, "seeds", "more than once"),
        ("budget: {examples: 16}", "budget: {exampels: 16}", 15, "budget.exampels", "'examples'"),
        ("budget: {examples: 16}", "budjet: {examples: 16}", 15, "budjet", "'budget'"),
        ("budget: {examples: 16}", "budget: {examples: x}", 15, "budget.examples", "expected a whole number"),
        ("tasks: [ioi, {task: countdown, numbers: 3}]", "tasks: ioi", 5, "tasks", "expected a list, such as [a, b]"),
        ("steps: 3", "stepz: 3", 13, "shared", "'steps'"),
        ("output: runs/a-job", "output: ''", 16, "output", "at least 1 character"),
        ("output: runs/a-job", "dtype: float23", 16, "dtype", "'float32'"),
        ("output: runs/a-job", "device: cudda", 16, "device", "cuda"),
        ('ar: "zoo:ar", ', "", 4, "pairs.1", "both 'ar' and 'diffusion'"),
        ("output: runs/a-job", "name: twice", 16, "name", "line 1 already"),
        ("output: runs/a-job", "output: [", 17, "", "YAML"),
        ("output: runs/a-job", "output: !!python/object:os.system {}", 16, "", "plain values"),
    ],
)
def test_a_fault_is_told_with_line_key_and_what_would_be_right(wrong, right, line, key, told):
    assert wrong in GOOD
    with pytest.raises(SpecError) as caught:
        parse_spec(GOOD.replace(wrong, right), "spec.yaml")
    assert f"line {line}" in str(caught.value)
    assert key in str(caught.value)
    assert told in str(caught.value)


def test_every_fault_of_a_file_is_told_at_once():
    text = GOOD.replace("ioi", "ioy").replace("prefix", "prefx").replace("budget", "budjet")
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert len(caught.value.faults) == 3


def test_a_missing_key_is_named():
    with pytest.raises(SpecError, match="the key 'tasks'"):
        parse_spec("pairs: [zoo:masked]\nmeasures: [heads]\n")


@pytest.mark.parametrize(
    "text", ["", "just words", "- a\n- list\n", "&a [*a]", "a: &a {b: *a}", "\x00", "? [x]\n: y\n"]
)
def test_what_is_no_spec_at_all_is_told(text):
    with pytest.raises(SpecError):
        parse_spec(text)


def test_an_explosion_of_aliases_is_refused_at_once():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(SpecError, match="without end"):
        parse_spec("\n".join(lines))


def test_overrides_are_put_in_before_anything_is_checked():
    overrides = ["budget.examples=8", "tasks=[infilling]", "pairs.0=zoo:fluid", "shared.circuit.steps=2"]
    spec = parse_spec(GOOD, overrides=overrides)
    assert spec.budget.examples == 8
    assert [task.label for task in spec.tasks] == ["infilling"]
    assert spec.pairs[0].label == "zoo:fluid"
    assert spec.shared["circuit"]["steps"] == 2


@pytest.mark.parametrize(
    "override", ["budget.examples=none", "nonsense", "=3", "seeds.9=1", "name.x.y=1", "tasks=[ioy]"]
)
def test_a_wrong_override_is_told_by_its_own_name(override):
    with pytest.raises(SpecError) as caught:
        parse_spec(GOOD, overrides=[override])
    assert f"--set {override}" in str(caught.value)


def test_the_template_is_a_valid_spec_and_is_never_written_over(tmp_path):
    file, beside = write_template(tmp_path / "mine.yaml")
    spec = read_spec(file)
    assert {measure.label for measure in spec.measures} >= {"front_loading", "overlap", "did"}
    assert json.loads(beside.read_text()) == schema()
    assert beside.name in file.read_text().splitlines()[0]
    with pytest.raises(ProbeError, match="already"):
        write_template(file)
    assert parse_spec(template()).output == "runs/spec"


def test_the_schema_knows_the_names_and_takes_what_the_reader_takes():
    made = schema()
    measures = json.dumps(made["properties"]["measures"])
    assert "front_loading" in measures
    assert made["additionalProperties"] is False
    assert {"pairs", "tasks", "measures"} <= set(made["required"])


# Mutations: two hundred ways to spoil a spec, each of which ends in a plan or in an error message

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["zoo:masked", "zoo:no", "../x", "/", "ioi", "prefix", "heads", "a\0b", "task.jsonl", "cuda:99"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["pair", "ar", "task", "measure", "reading", "", "steps"]), st.integers(), max_size=2
    ),
    st.dates(),
)


def places(data: object, at: tuple = ()) -> list[tuple]:
    """Every place in plain data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


@st.composite
def spoilt(draw) -> str:
    """A good spec with some values exchanged, keys renamed or parts left out; sometimes its text cut or scratched."""
    data = yaml.safe_load(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([at for at in places(data) if at] or [("name",)]))
        into = data
        for step in place[:-1]:
            into = into[step]
        change = draw(st.sampled_from(["value", "gone", "renamed", "copied"]))
        if change == "value":
            into[place[-1]] = draw(ODD)
        elif change == "gone" or not isinstance(into, dict):
            into.pop(place[-1], None) if isinstance(into, dict) else into.pop(place[-1])
        elif change == "renamed":
            into[draw(st.text(max_size=8))] = into.pop(place[-1])
        else:
            into[draw(st.sampled_from(["pairs", "name", "shared", "budget", "device"]))] = copy.deepcopy(
                into[place[-1]]
            )
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 4)) :]
    return text


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spoilt())
def test_a_spoilt_spec_ends_in_a_plan_or_in_an_error_message(text):
    assert outcome(text)


def outcome(text: str) -> str:
    """What a user sees of a spec: its plan, or what is wrong with it. Any other exception is a traceback."""
    try:
        return "\n".join(unit.id for unit in plan_of(parse_spec(text, "spec.yaml")))
    except ProbeError as told:
        return told.found and told.expected


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path):
    with pytest.raises(SpecError, match="no such file"):
        read_spec(tmp_path / "spec.yaml")
    (tmp_path / "spec.yaml").write_bytes(b"\xff\xfe\x00pairs")
    with pytest.raises(SpecError, match="YAML text"):
        read_spec(tmp_path / "spec.yaml")


# Shipped specs


OF_FETCHED_MODELS = {"smollm2"}


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_spec_is_known_by_its_name_and_has_a_plan(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # as on a machine that has fetched nothing
    spec = read_spec(name)
    assert (spec.name, spec.output) == (name, f"runs/{name}")
    if name in OF_FETCHED_MODELS:
        with pytest.raises(ProbeError, match=f"twinprobe fetch {name}"):
            plan_of(spec)
    else:
        assert len(plan_of(spec)) > len(spec.measures)


def test_a_path_wins_over_a_name_and_a_folder_that_is_no_run_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert read_spec("demo").name == "demo"
    Path("demo/spec.yaml").write_text(GOOD)
    assert read_spec("demo").name == "a job"
    shutil.rmtree("demo")
    Path("demo").write_text(GOOD)
    assert read_spec("demo").name == "a job"


@pytest.mark.parametrize(("said", "told"), [("dmo", "'demo'"), ("mine", "'mine.yaml'"), ("demo.yaml", "run by name")])
def test_a_name_that_is_not_known_is_told_with_the_nearest(said, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(GOOD)
    with pytest.raises(ProbeError) as caught:
        read_spec(said)
    assert told in caught.value.remedy


def test_a_copy_of_a_shipped_spec_asks_the_same_under_a_name_of_its_own(tmp_path):
    file, _ = write_template(tmp_path / "mine.yaml", like="demo")
    copied, known = read_spec(file), read_spec("demo")
    assert (copied.name, copied.output) == ("mine", "runs/mine")
    assert copied.model_copy(update={"name": known.name, "output": known.output}) == known
    with pytest.raises(ProbeError, match="demo"):
        write_template(tmp_path / "other.yaml", like="dem")
