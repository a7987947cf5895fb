"""What a person reads: the marks, one sentence a task, and the command line."""

from __future__ import annotations

import pytest

from probe import cli
from probe.tasks import TASKS, task
from tests.probe.tasks.vocabularies import ASKED, batch, tokenizer


@pytest.mark.parametrize("asked", ASKED)
def test_marks_stand_where_the_positions_say(asked):
    which, knobs = ASKED[asked]
    made = batch(asked)
    shown = task(which, **knobs).show(made, tokenizer("words"), 3)
    assert len(shown) == 3
    for row, example in enumerate(shown):
        for name, tokens in (("clean", example.clean), ("corrupt", example.corrupt)):
            words = tokenizer("words").convert_ids_to_tokens(getattr(made, name)[row].tolist())
            assert [token.text for token in tokens] == words
            marked = {
                "completion": [i for i, token in enumerate(tokens) if token.masked],
                "corrupted": [i for i, token in enumerate(tokens) if token.changed],
                "answer": [i for i, token in enumerate(tokens) if token.asked],
            }
            assert all(at == sorted(set(made.positions[place][row].tolist())) for place, at in marked.items())
        assert example.clean[made.positions["answer"][row, 0]].text == example.target
        assert example.distractor == tokenizer("words").decode(made.distractor[row : row + 1])


def test_an_example_printed():
    [example] = task("ioi").show(batch("ioi"), tokenizer("words"), 1)
    assert str(example) == (
        "clean      [BOS] When Luke and Keith went to the museum , {Keith} gave a flower to [?Luke]\n"
        "corrupt    [BOS] When Luke and Keith went to the museum , {Matthew} gave a flower to [?Luke]\n"
        "target     Luke\n"
        "distractor Keith"
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_in_a_sentence_what_it_asks_and_why_that_is_local_or_global(name):
    said = task(name).describe()
    assert said[0].isupper()
    assert said.endswith(".")
    assert said.count(f"; it is {task(name).scope}, because ") == 1
    assert len(said) < 200


def test_which_are_local_and_which_global():
    scopes = {name: task(name).scope for name in TASKS}
    assert [name for name, scope in scopes.items() if scope == "local"] == ["ioi", "greater_than", "induction"]
    assert [name for name, scope in scopes.items() if scope == "global"] == [
        "countdown",
        "sudoku",
        "paths",
        "infilling",
    ]


def twinprobe(*words: str, monkeypatch) -> int:
    monkeypatch.setattr("sys.argv", ["twinprobe", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", TASKS)
def test_the_command_prints_five_examples_with_everything_marked(name, monkeypatch, capsys):
    assert twinprobe("task", name, "--show", "5", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    lines = [line.strip() for line in told.splitlines()]
    assert task(name).describe() in " ".join(lines)
    for start in ("clean", "corrupt", "target", "distractor"):
        assert len([line for line in lines if line.startswith(start + " ")]) == 5
    made = task(name).examples(tokenizer("words"), 5)
    for example in task(name).show(made, tokenizer("words"), 5):
        for tokens in (example.clean, example.corrupt):
            assert " ".join(map(str, tokens)) in " ".join(" ".join(lines).split())
    assert told.count("[?") == 11  # in clean and corrupt of each, and in the legend


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("task", "soduku"), "sudoku"),
        (("task", "paths", "--knob", "distance=9"), "from 2 to 6"),
        (("task", "ioi", "--split", "tests"), "'test'"),
        (("task", "ioi", "--seed", "-1"), "from 0 on"),
        (("task", "nothing.jsonl"), "no such file"),
    ],
)
def test_a_mistake_ends_with_2_and_no_traceback(words, told, monkeypatch, capsys):
    assert twinprobe(*words, monkeypatch=monkeypatch) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert "Traceback" not in printed.err + printed.out
