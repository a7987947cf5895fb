"""Every `twinprobe …` that README and docs show is called, in a folder that has what they speak of.

What takes minutes, or the network, is called in its shortest form: a job's plan in place of the job; of what has no
short form the help behind its own options, so that an option that was renamed fails here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from probe.models.source import Source
from tests.command import twinprobe
from tests.docs.commands import SHOWN

JOB = """
pairs: [{pair: zoo:masked, controls: false}]
tasks: [ioi]
measures: [answers]
budget: {examples: 8, resamples: 50, workers: 0}
output: runs/my-job
"""
RUNS = ("RUN", "RUN1", "RUN2", "runs/before", "runs/after")
ONLY_PARSED = {"adapt", "card", "claims", "demo", "fetch", "horizon"}  # minutes, or the network
NEEDS_A_FETCHED_BASE = "smollm2"  # a plan reads the weights; that the name is known is a test of specs
REFUSED = {("check", "zoo:masked", "--no-shift"), ("check", "zoo:fluid", "--paradigm", "masked")}  # as the page says


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A spec and some finished runs, under the names that the pages use."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "job.yaml").write_text(JOB)
    entry = Source("zoo:masked").entry
    assert entry is not None
    (folder / "FILE").write_text("\n".join(entry.sample))  # in the language of the FOLDER
    assert twinprobe("run", "job.yaml", cwd=folder).returncode == 0
    for name in RUNS:
        shutil.copytree(folder / "runs" / "my-job", folder / name)
    return folder


def shortest(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command as it is called here."""
    verb, *words = command
    if not words:
        return command if verb in ("--help", "catalog", "specs") else (verb, "--help")
    options_alone = verb == "decode" and words[0].startswith("--")
    if verb in ONLY_PARSED or options_alone or "ray" in words or words[0] == NEEDS_A_FETCHED_BASE:
        return (*command, "--help")
    if verb == "run":
        return (verb, words[0].replace("my-job", "job"), "--dry-run")
    if verb == "check":
        places = {"FOLDER": "zoo:masked", "[WHERE": "zoo:ar", "…]": "zoo:masked"}
        return tuple(places.get(word, word) for word in command)
    return command


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in SHOWN if one != ("--install-completion",)], ids=" ".join)
def test_a_command_that_a_page_shows_can_be_called(command, folder):
    ended = twinprobe(*shortest(command), cwd=folder)
    assert ended.returncode == (1 if command in REFUSED else 0), ended.stderr or ended.stdout
    assert ended.stdout.strip()


def test_commands_are_found_in_blocks_and_in_the_text():
    assert ("run", "verdict") in SHOWN
    assert ("decode", "zoo:fluid", "When Luke and Keith went to the museum, Keith gave a", "--length", "3") in SHOWN


def test_an_option_that_is_gone_is_noticed(tmp_path):
    assert twinprobe("claims", "--no-such-option", "--help", cwd=tmp_path).returncode != 0
