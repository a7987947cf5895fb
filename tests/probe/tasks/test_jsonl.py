"""A task from a file: a good one works like any other, and a bad line is named with what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probe.errors import TaskError
from probe.tasks import SHARES, from_jsonl
from tests.probe.tasks.vocabularies import tokenizer

COUNTRIES = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin", "Japan": "Tokyo"}
GOOD = [
    {
        "clean": f"{here}'s capital is",
        "corrupt": f"{there}'s capital is",
        "target": f" {COUNTRIES[here]}",
        "distractor": f" {COUNTRIES[there]}",
    }
    for here in COUNTRIES
    for there in COUNTRIES
    if here != there
]


def write(folder: Path, *lines: object) -> Path:
    path = folder / "capitals.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def every_split(mine):
    found = {}
    for split in SHARES:
        try:
            found[split] = mine.examples(tokenizer("gpt2"), 100, split=split, fewer=True)
        except TaskError:  # so few lines may leave a split empty
            continue
    return found


def test_a_good_file_is_a_task_like_any_other(tmp_path):
    mine = from_jsonl(write(tmp_path, *GOOD, "", "  "))
    assert (mine.name, mine.scope) == ("capitals", "local")
    assert (
        mine.describe()
        == "What follows each prompt of capitals.jsonl is asked; it is local, because its author says so."
    )
    found = every_split(mine)
    # One corrupt prompt a question: what only differs by its distractor is the same clean text.
    assert sum(map(len, found.values())) >= len(COUNTRIES)
    for made in found.values():
        for row, text in enumerate(made.texts(tokenizer("gpt2"))):
            country, capital = text.split("'s capital is ")
            assert COUNTRIES[country] == capital
            assert tokenizer("gpt2").decode(made.target[row : row + 1]) == f" {capital}"
        assert mine.check(made, made.written()).all()
        assert made.positions["prompt"].shape[1] == made.clean.shape[1] - 1


def test_a_pair_of_prompts_is_in_one_split_whichever_is_the_clean_one(tmp_path):
    mine = from_jsonl(write(tmp_path, *GOOD))
    seen = {
        split: {frozenset((clean, corrupt)) for clean, corrupt in zip(*(
            [text.split("'")[0] for text in made.texts(tokenizer("gpt2"), which)] for which in ("clean", "corrupt")
        ), strict=True)}
        for split, made in every_split(mine).items()
    }  # fmt: skip
    for split, pairs in seen.items():
        assert all(not pairs & others for other, others in seen.items() if other != split)


def test_a_target_of_several_tokens_is_asked_where_it_first_differs(tmp_path):
    line = {"clean": "A B C", "corrupt": "A B D", "target": " 12 34", "distractor": " 12 56"}
    [made] = every_split(from_jsonl(write(tmp_path, line), scope="global")).values()
    assert made.scope == "global"
    assert tokenizer("gpt2").decode(made.target) == " 34"
    assert tokenizer("gpt2").decode(made.distractor) == " 56"
    assert made.positions["answer"].tolist() == [[made.clean.shape[1] - 1]]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("{not json", "line 2: expected JSON; found Expecting property name"),
        ("[1, 2]", "line 2 of .*: expected a JSON object; found a list"),
        ({**GOOD[0], "target": None}, "line 2 of .*, key 'target': expected some text; found NoneType None"),
        ({**GOOD[0], "distractor": 3}, "line 2 of .*, key 'distractor': expected some text; found int 3"),
        ({**GOOD[0], "clean": ""}, "line 2 of .*, key 'clean': expected some text; found str ''"),
        ({k: v for k, v in GOOD[0].items() if k != "corrupt"}, "line 2 of .*, key 'corrupt': .*; found none"),
        ({**GOOD[0], "distractor": " Paris"}, "line 2 of .*, key 'distractor': expected another text than 'target'"),
        ({**GOOD[0], "corrupt": GOOD[0]["clean"]}, "line 2 of .*, key 'corrupt': expected another text than 'clean'"),
    ],
)
def test_a_bad_line_is_named_when_the_file_is_read(bad, told, tmp_path):
    with pytest.raises(TaskError, match=told):
        from_jsonl(write(tmp_path, GOOD[0], bad, GOOD[1]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("clean", "The great France's capital is", "expected 4 tokens, as the clean of the first line; found 6"),
        ("corrupt", "Spain's", 'expected 4 tokens, as the clean of the first line; found 2: "Spain\'s"'),
        ("target", " Paris again", "expected 1 tokens, as the target of the first line; found 2: ' Paris again'"),
        ("distractor", " Ouagadougou", "expected 1 tokens, as the target of the first line; found"),
    ],
)
def test_a_line_that_does_not_line_up_is_named_whatever_the_seed(key, text, told, seed, tmp_path):
    mine = from_jsonl(write(tmp_path, *GOOD[:4], {**GOOD[5], key: text}))
    with pytest.raises(TaskError, match=rf"line 5 of .*, key '{key}': {told}"):
        mine.examples(tokenizer("gpt2"), 1, seed=seed, fewer=True)


def test_a_line_with_unknown_words_is_named(tmp_path):
    line = {"clean": "The Zanzibar", "corrupt": "The palace", "target": " to", "distractor": " from"}
    mine = from_jsonl(write(tmp_path, line))
    with pytest.raises(
        TaskError, match=r"line 1 of .*, key 'clean': expected a vocabulary that can write 'The Zanzibar'"
    ):
        mine.examples(tokenizer("words"), 1)


def test_signs_that_end_a_line_elsewhere_may_stand_in_a_text(tmp_path):
    line = {"clean": "A\u2028B is", "corrupt": "C\u2028D is", "target": " x", "distractor": " y"}
    path = tmp_path / "mine.jsonl"
    path.write_text("\ufeff" + json.dumps(line, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert every_split(from_jsonl(path))


def test_what_is_no_file_of_text_is_told(tmp_path):
    with pytest.raises(TaskError, match="no such file"):
        from_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(TaskError, match="a folder"):
        from_jsonl(tmp_path)
    with pytest.raises(TaskError, match="at least one line"):
        from_jsonl(write(tmp_path, "", " "))
    with pytest.raises(TaskError, match="'lokal'"):
        from_jsonl(write(tmp_path, GOOD[0]), scope="lokal")
    (tmp_path / "latin.jsonl").write_bytes('{"clean": "é"}'.encode("latin-1"))
    with pytest.raises(TaskError, match="UTF-8"):
        from_jsonl(tmp_path / "latin.jsonl")


RICH = {
    "clean": "In France , the capital that France has is",
    "corrupt": "In Spain , the capital that Spain has is",
    "target": " Paris",
    "distractor": " Madrid",
    "right": [" Rome"],
    "after": " of course",
    "positions": {"verb": "has", "second": [29, 35], "comma": ","},
}


@pytest.mark.parametrize("vocabulary", ["gpt2", "qwen3"])
def test_a_line_may_name_places_right_answers_and_what_stands_behind(tmp_path, vocabulary):
    """Places are named by a text that stands there once, or by its characters."""
    words = tokenizer(vocabulary)
    made = from_jsonl(write(tmp_path, RICH)).examples(words, 1, split="all")
    for name, text in (("verb", " has"), ("second", " France"), ("comma", " ,")):
        assert words.decode(made.clean[0, made.positions[name][0]]) == text, name
    assert made.positions["second"].item() > made.positions["comma"].item()
    right = {str(words.decode([token])) for token in made.choices[made.right[0]].tolist()}
    assert right == {" Paris", " Rome"}
    assert words.decode(made.clean[0]).endswith(" Paris of course")
    assert made.positions["completion"].item() == made.positions["answer"].item()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"positions": {"country": "France"}}, r"positions.country.*once.*stands there 2 times"),
        ({"positions": {"country": "Peru"}}, r"positions.country.*stands there 0 times"),
        ({"positions": {"country": [5, 500]}}, r"positions.country.*within the 42 characters"),
        ({"positions": {"answer": "has"}}, "names other than answer"),
        ({"positions": ["has"]}, "a mapping from names to texts"),
        ({"right": " Paris"}, "a list of texts"),
        ({"right": [" Madrid"]}, "answers other than the distractor"),
        ({"after": ""}, "key 'after': expected some text"),
    ],
)
def test_what_a_line_says_beyond_the_four_is_checked(tmp_path, change, told):
    with pytest.raises(TaskError, match=told):
        from_jsonl(write(tmp_path, {**RICH, **change}))


def test_every_line_has_something_behind_the_answer_or_none(tmp_path):
    bare = {key: value for key, value in RICH.items() if key != "after"}
    for lines, told in (
        ((RICH, bare), "some text, as in the first line"),
        ((bare, RICH), "none, as in the first line"),
    ):
        with pytest.raises(TaskError, match=f"line 2 of .*, key 'after': expected {told}"):
            from_jsonl(write(tmp_path, *lines)).examples(tokenizer("gpt2"), 1, split="all")


def test_all_lines_are_asked_for_by_split_or_by_knob(tmp_path):
    path, words = write(tmp_path, *GOOD), tokenizer("gpt2")
    mine, whole = from_jsonl(path), from_jsonl(path, all_lines=True)
    everything = mine.examples(words, 100, split="all", fewer=True)
    assert len(everything) == len(COUNTRIES)  # a clean prompt that stands in several lines is one question
    assert everything.clean.tolist() == whole.examples(words, 100, fewer=True).clean.tolist()


def test_too_few_lines_are_explained(tmp_path):
    with pytest.raises(
        TaskError, match=r"its 20 lines \(5 clean prompts\) have for 'test'.*train 60%, test 25%.*split='all'"
    ):
        from_jsonl(write(tmp_path, *GOOD)).examples(tokenizer("gpt2"), 20)
