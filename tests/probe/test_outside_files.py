"""The one reader of outside files: what it hands back is plain, and whatever else it meets is a sentence, at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import probe
from probe.errors import CheckpointError, ProbeError
from probe.jobs.own_folder import claim
from probe.jobs.run_folder import open_run
from probe.jobs.spec.file import SpecError, parse_spec, read_spec
from probe.models.source import resolve
from probe.outside_files import FileKind, is_file, is_folder
from probe.training.text import _source as text_source
from tests.probe.jobs.asked import text_of

KIND = FileKind("thing", CheckpointError, "Mend it.", largest=1 << 20, most_keys=1000)


def refused(read, *said: str) -> ProbeError:
    before = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        read()
    assert time.process_time() - before < 2
    error = caught.value
    assert error.thing.startswith("thing")
    assert all((error.expected, error.found, error.remedy))
    assert len(str(error).encode()) < 1000  # encode: what cannot be written helps nobody
    assert all(words in str(error) for words in said), str(error)
    return error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "in one another"),
        ('{"a":' * 5_000, "in one another"),
        ("[" * 61 + "]" * 61, "in one another"),
        ("9" * 5_000, "5,000"),
        ("-" + "9" * 41, "digits"),
        ("1e999", "1e999"),
        ("NaN", "NaN"),
        ("[1, -Infinity]", "-Infinity"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ('{"b": [{"a": 1, "a": 1}]}', "'a' twice"),
        ('"\\ud800"', "half a sign"),
        ('{"\\udc00": 1}', "half a sign"),
        ("", "JSON"),
        ('{"a": 1,\n}', "line 2"),
        ("{" + ",".join(f'"{n}":1' for n in range(1001)) + "}", "1,000 keys"),
        (" " * (2 << 20), "bytes"),
    ],
    ids=range(16),
)
def test_json_of_any_form_is_answered(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    refused(lambda: KIND.json(tmp_path / "a.json"), said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "in one another"),
        ("- " * 300_000, "in one another"),
        ("a: [1, 2", "line 1"),
        ("a: 1\nb: 2020-01-01", "line 2"),
        ("a: 2020-13-45", "a date"),
        ("a: !!set {b}", "a set"),
        ("a: !!python/object/apply:os.system [ls]", "plain values"),
        ("a: 0x" + "f" * 60, "digits"),
        ("a: " + "9" * 5_000, "digits"),
        ("a: .nan", ".nan"),
        ("a: 1.0e+999", "1.0e+999"),
        ("a: 1\nb: 2\na: 3", "line 3"),
        ("c: {a: 1, a: 2}", "'a'"),
        ("? [a, b]\n: c", "keys that are words"),
        ("a: &x [*x]", "alias"),
        ("n0: &n0 [b]\n" + "".join(f"n{n}: &n{n} [{', '.join([f'*n{n - 1}'] * 9)}]\n" for n in range(1, 9)), "alias"),
        ('a: "\\ud800"', "half a sign"),
        ("a: !!bool perhaps", "plain values"),
        ("a: !!int twelve", "plain values"),
        ("a: \0", "YAML"),
        ("a:\r" * 20_000, "lines and commas"),
        ("".join(f"k{n}: 1\n" for n in range(30_000)), "lines and commas"),
    ],
    ids=range(22),
)  # fmt: skip
def test_yaml_of_any_form_is_answered(tmp_path, text, said):
    (tmp_path / "a.yaml").write_text(text)
    refused(lambda: KIND.yaml(tmp_path / "a.yaml"), said)


@pytest.mark.parametrize(
    ("text", "said"), [("a,a\n1,2\n", "one name twice"), ("a,b\n1\n", "2 columns"), ("a,b\n1,2,3\n", "line 2")]
)
def test_csv_with_columns_that_do_not_fit_is_answered(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    refused(lambda: KIND.csv(tmp_path / "a.csv"), said)


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path):
    (tmp_path / "a").write_bytes(b"one\ntwo \xff\n")
    for read in (KIND.text, KIND.json, KIND.yaml, KIND.csv, lambda path: list(KIND.json_lines(path))):
        refused(lambda read=read: read(tmp_path / "a"), "line 2", "0xff")


def test_paths_that_are_none_pipes_folders_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it to read waits for a writer, which never comes
    for path in ("a" * 300, "a/" * 3_000, "a\0b", "\ud800", tmp_path, tmp_path / "pipe", "/dev/zero", "none"):
        refused(lambda path=path: KIND.text(path), "expected a file")
        assert not is_file(path)
    assert not any(map(is_folder, ("a" * 300, "a\0b", "\ud800", tmp_path / "pipe")))
    assert is_folder(tmp_path)


def test_what_is_plain_comes_back_as_it_is(tmp_path):
    deep = "[" * 58 + "]" * 58
    assert KIND.json_of(f'{{"a": [1, -2.5, true, null, "\\ud83d\\ude00 é", {10**39}, {deep}]}}', "")["a"][:6] == [
        *(1, -2.5, True, None, "😀 é", 10**39)
    ]
    assert FileKind("", finite=False).json_of("[NaN, Infinity]", "")[1] == float("inf")
    assert KIND.yaml_of("base: &b {x: 1}\nboth: {<<: *b, y: [yes, ~, 1.5, '2020-01-01']}", "") == {
        "base": {"x": 1},
        "both": {"x": 1, "y": [True, None, 1.5, "2020-01-01"]},
    }
    (tmp_path / "a.csv").write_bytes("\ufeffa,b\r\n1,\r\n".encode())
    assert KIND.csv(tmp_path / "a.csv") == [{"a": "1", "b": ""}]
    (tmp_path / "a.jsonl").write_text('{"a": "\u2028"}\n\n[2]\n')
    assert list(KIND.json_lines(tmp_path / "a.jsonl")) == [(1, {"a": "\u2028"}), (3, [2])]


PLACES = ("a" * 300, "a/" * 3_000 + "b", "x\0y", "\ud800", "." * 400, "zoo:" + "a" * 300, "zoo:masked@" + "9" * 300)


@pytest.mark.parametrize("place", [*PLACES, "cache:" + "b" * 400], ids=range(8))
def test_a_place_of_any_form_is_answered(place):
    """As it was found: a name of 300 letters was an OSError of pathlib's."""
    for ask in (resolve, open_run, text_source, claim, read_spec, probe.load, probe.load_pair, probe.open_trace):
        with pytest.raises(ProbeError):
            ask(Path(place) if ask is claim else place)


@pytest.mark.parametrize("name", ["examples", "resamples", "workers", "threads", "batch", "minutes"])
def test_counts_of_a_spec_have_ceilings(tmp_path, name):
    with pytest.raises(SpecError, match=name):
        parse_spec(text_of(tmp_path, budget={name: 10**12}))
