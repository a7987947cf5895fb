"""The command line as a user meets it: tables, JSON, exit codes, and no traceback for a mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import probe
from tests.command import in_a_shell, twinprobe


@pytest.mark.parametrize(
    ("words", "code"),
    [("catalog --json", 0), ("check zoo:masked --no-shift --json", 1), ("catalg", 2)],
)
def test_a_shell_gets_the_exit_code_and_the_output_that_the_entry_point_gives(words, code):
    run, here = in_a_shell(*words.split()), twinprobe(*words.split())
    assert run.returncode == here.returncode == code
    assert words_of(run.stdout) == words_of(here.stdout)
    assert "Traceback" not in run.stderr


def words_of(printed: str) -> str:
    """What was printed, but for numbers: their last digits are not the same with another number of threads."""
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", printed)


def test_check_passes_on_a_shipped_model_and_prints_a_row_a_test():
    run = twinprobe("check", "zoo:masked", "--json")
    assert run.returncode == 0, run.stderr
    findings = json.loads(run.stdout)["zoo:masked"]
    tests = {finding["test"] for finding in findings}
    assert {
        "mask token",
        "rotary",
        "wiring",
        "attention reach",
        "attention on text",
        "shift",
        "kernels",
        "streams",
    } == tests
    assert {finding["outcome"] for finding in findings} == {"pass"}


@pytest.mark.parametrize(
    ("model", "declared", "test"),
    [
        ("masked", ("--no-shift",), "shift"),
        ("fluid", ("--paradigm", "masked"), "attention on text"),
        ("ar", ("--mask-id", "5"), "mask token"),  # a number of the vocabulary: an ordinary token of text
    ],
)
def test_check_fails_with_1_on_a_wrong_declaration(model, declared, test):
    run = twinprobe("check", f"zoo:{model}", *declared, "--json")
    assert run.returncode == 1
    (findings,) = json.loads(run.stdout).values()
    assert [finding["test"] for finding in findings if finding["outcome"] == "fail"] == [test]
    assert "Traceback" not in run.stderr


def test_check_takes_a_text_of_ones_own(tmp_path):
    """In letters without spaces nothing can be told; in the model's own language a wrong shift is."""
    check = ("check", "zoo:masked", "--no-shift", "--json", "--text")
    own = "The tour ran from the year 16 67 to the year 16 80"
    for line, outcome in (("qqq", "not run"), (own, "fail")):
        (tmp_path / "lines.txt").write_text(f"{line}\n" * 9)
        (findings,) = json.loads(twinprobe(*check, str(tmp_path / "lines.txt")).stdout).values()
        assert {each["test"]: each["outcome"] for each in findings}["shift"] == outcome
    assert "no such file" in twinprobe(*check, str(tmp_path / "none.txt")).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", "zoo:maskd"), "zoo:masked"),
        (("check", "no/such/folder"), "no such folder"),
        (("task", "ioy"), "ioi"),
        (("task", "countdown", "--knob", "numbrs=4"), "numbers"),
        (("task", "countdown", "--knob", "numbers"), "name=value"),
        (("decode", "zoo:masked", "The", "--sampler", "confidenc"), "confidence"),
        (("decode", "zoo:masked", "The", "--stop", "musuem"), "museum"),
        (("decode", "zoo:masked", "The", "--fill"), "___"),
        (("adapt", "no-recipe.yaml", "--out", "x"), "no such file"),
        (("catalog", "--catalog", "no-catalog.yaml"), "no such file"),
    ],
)
def test_a_mistake_is_told_with_its_remedy_and_exit_code_2(words, told, tmp_path):
    run = twinprobe(*words, cwd=tmp_path)
    assert run.returncode == 2
    assert told in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


def test_a_mistyped_verb_is_answered_with_the_nearest():
    run = twinprobe("catalg")
    assert run.returncode == 2
    assert "catalog" in run.stderr


def test_catalog_lists_every_row_for_machines():
    known = json.loads(twinprobe("catalog", "--json").stdout)
    rows = known["checkpoints"]
    assert len(known["families"]) >= 25
    assert all(family["checked"] for family in known["families"])
    assert {"bert", "diffusion_gemma"} <= set(known["refused"])
    dream = next(row for row in rows if row["name"] == "Dream-org/Dream-v0-Base-7B")
    assert (dream["ar"], dream["mask_id"], dream["shift"]) == ("Qwen/Qwen2.5-7B", 151666, True)


def test_task_marks_what_is_masked_asked_and_changed():
    run = twinprobe("task", "ioi", "--show", "2")
    assert run.returncode == 0
    assert run.stdout.count("[?") >= 4  # the asked token, in clean and in corrupt, and the legend
    assert "{" in run.stdout
    assert "distractor" in run.stdout


def test_task_prints_the_same_examples_for_the_same_seed():
    one, same, other = (twinprobe("task", "paths", "--json", "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert one == same != other


def test_a_task_is_written_for_the_tokenizer_of_a_model_or_folder():
    own, shipped = (twinprobe("task", "ioi", "--json", *how).stdout for how in (("--tokenizer", "zoo:ar"), ()))
    assert own == shipped
    run = twinprobe("task", "ioi", "--tokenizer", str(Path(probe.__file__).parent / "tasks"))
    assert run.returncode == 2
    assert "tokenizer.json" in run.stderr


def test_a_task_can_be_a_file_of_ones_own(tmp_path):
    line = {"clean": "The museum", "corrupt": "The palace", "target": " to", "distractor": " from"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(line) + "\n")
    run = twinprobe("task", str(tmp_path / "mine.jsonl"), "--show", "1", "--split", "any")
    assert run.returncode == 2  # there is no split of that name
    shown = [
        twinprobe("task", str(tmp_path / "mine.jsonl"), "--show", "1", "--split", s)
        for s in ("train", "test", "calibration")
    ]
    assert sorted(run.returncode for run in shown) == [0, 2, 2]  # one example is in one split
    assert any("museum" in run.stdout for run in shown)


@pytest.mark.parametrize("model", ["ar", "masked", "block", "fluid"])
def test_decode_writes_and_counts_its_passes(model):
    prompt = "When Luke and Keith went to the museum, Keith gave a flower to"
    told = json.loads(twinprobe("decode", f"zoo:{model}", prompt, "--length", "1", "--json").stdout)
    assert told["text"].strip() == "Luke"
    assert told["forward_passes"] in (1, 2)  # a FLUID stride is verified by a second pass


def test_decode_fills_blanks_and_leaves_the_rest():
    text = "When ___ and Keith went to the ___, Keith gave a flower to"
    told = json.loads(twinprobe("decode", "zoo:masked", text, "--fill", "--json").stdout)
    before, between, behind = text.split("___")
    assert told["text"].startswith("[BOS] " + before.strip())
    assert between.strip() in told["text"]
    assert told["text"].endswith(behind)
    assert [step >= 0 for step in told["committed_at"]].count(True) == 2
    assert told["revised"] == 0


def test_decode_refuses_text_that_holds_the_mask():
    run = twinprobe("decode", "zoo:masked", "The [MASK] is")
    assert run.returncode == 2
    assert "mask token" in run.stderr


def test_markup_in_a_prompt_is_shown_as_it_is():
    run = twinprobe("decode", "zoo:masked", "[bold red]When[/]", "--length", "1")
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr


def test_help_has_an_example_for_every_verb():
    for verb in ("check", "catalog", "task", "decode", "adapt", "demo"):
        assert "Example: twinprobe" in twinprobe(verb, "--help").stdout


def test_control_characters_of_a_file_are_not_printed(tmp_path):
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m"
    unit = {"id": hostile, "status": "failed", "measure": hostile, "error": {"kind": hostile, "message": hostile}}
    for name, units in (("one", [unit]), ("two", [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps({"name": name + hostile, "units": units}))
    run = twinprobe("compare", str(tmp_path / "one"), str(tmp_path / "two"))
    assert run.returncode == 0, run.stderr
    refused = twinprobe("compare", str(tmp_path / f"no{hostile}"), str(tmp_path / "two"))
    assert refused.returncode == 2
    for text in (run.stdout, run.stderr, refused.stdout, refused.stderr):
        assert not set(text) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.parametrize("path", ["a" * 300, "a" * 300 + ".yaml"])
@pytest.mark.parametrize("verb", ["run", "verify", "report", "adapt"])
def test_a_path_that_is_too_long_is_told(tmp_path, verb, path):
    run = twinprobe(verb, path, *(["--out", "x"] if verb == "adapt" else []), cwd=tmp_path)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
