"""Watching a run: strides are shown as they are accepted, in a terminal and in a pipe."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

import probe
from probe.cli.watching import Watch
from probe.decoding import PassOptions, Strides
from tests.command import twinprobe

PROMPT = "When Luke and Keith"


@pytest.fixture(scope="module")
def model():
    return probe.load("zoo:fluid", selftest="off")


@pytest.mark.parametrize("terminal", [True, False])
def test_every_stride_is_a_line_that_says_what_was_kept(model, terminal):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
    with Watch(console, model, strides=True) as watch:
        passes = PassOptions(on_step=watch.on_step, on_stride=watch.on_stride)
        run = probe.decode(model, model.encode(PROMPT)[0], 12, sampler=Strides(6, 0.0), passes=passes)
    lines = [line for line in screen.getvalue().splitlines() if "stride" in line]
    taken = run.strides
    assert len(lines) == len(taken) > 2
    assert taken.rejected.sum() > 0  # so that a correction is shown, too
    words = [model.tokenizer.decode([token]).strip() for token in run.tokens.tolist()]
    for i, line in enumerate(lines):
        start, kept, proposed = int(taken.start[i]), int(taken.accepted[i]), int(taken.proposed[i])
        passes = int(taken.passes[i])
        assert f"{kept} of {proposed} drafts kept, {passes} {'passes' if passes > 1 else 'pass'}" in line
        assert " ".join(words[start : start + min(kept + 1, proposed)]) in line
    passes = sum(line.split()[:1] == [str(i)] for i, line in enumerate(_without(lines, screen)))
    assert passes == (0 if terminal else run.forward_passes)


def _without(lines, screen):
    return [line for line in screen.getvalue().splitlines() if line not in lines]


def test_strides_as_json(model):
    told = json.loads(twinprobe("decode", "zoo:fluid", PROMPT, "--length", "6", "--stride", "3", "--json").stdout)
    run = probe.decode(model, model.encode(PROMPT)[0], 6, sampler=Strides(3))
    assert [stride["accepted"] for stride in told["strides"]] == run.strides.accepted.tolist()
    assert told["slots"] == run.slots


def test_an_option_of_another_way_of_writing_is_refused():
    run = twinprobe("decode", "zoo:masked", "When", "--stride", "3")
    assert run.returncode == 2
    assert "--sampler" in run.stderr
    assert "Traceback" not in run.stderr
