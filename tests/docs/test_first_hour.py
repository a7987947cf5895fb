"""The walk of a newcomer with a question: "did previous-token heads become next-token heads, and do heads that name the
answer look at it, to the left or to the right?" It takes the lines below, and this test runs them."""

from __future__ import annotations

import time

import probe
from probe.models import loading
from probe.models.selftests import remembered

QUESTION = """
import analyses, probe

pair = probe.load_pair("zoo:masked", controls=False)
batch = probe.task("ioi").batch(pair, n=32, seed=0)
heads = analyses.attention.heads(pair, batch, reading="prefix")
before = analyses.attention.highest(heads, "previous", role="ar")
same = heads.long.query("layer == @before['layer'] and head == @before['head'] and measure in ['previous', 'next']")
looks = analyses.attention.looks(pair, batch, ["indirect_object", "subject"])
named = looks.table.query("place == 'indirect_object'").sort_values("estimate").groupby("role").tail(1)
blank = probe.task("infilling").batch(pair, n=32, seed=0)
sides = analyses.attention.heads(pair, blank, reading="one_mask").long.query("measure == 'offset'")
figures = [heads.figure(), looks.figure()]
"""
LINES, CPU_SECONDS = 15, 60.0


def test_an_own_question_takes_fifteen_lines_and_less_than_a_minute():
    lines = [line for line in QUESTION.splitlines() if line]
    assert len(lines) <= LINES
    began, found = time.process_time(), {}
    exec(QUESTION, found)
    assert time.process_time() - began < CPU_SECONDS

    same = found["same"].set_index(["role", "measure"])
    assert {"estimate", "low", "high"} <= set(same.columns)
    # The head that looked at the token before shares its attention out: some of it now goes to the token after.
    assert same.loc[("ar", "previous"), "low"] > 0.2
    assert same.loc[("ar", "next"), "estimate"] == 0
    assert same.loc[("diffusion − ar", "previous"), "high"] < 0
    assert same.loc[("diffusion", "next"), "low"] > 0.1

    named = found["named"].set_index("role")
    assert set(named.index) == {"ar", "diffusion"}
    assert (named["low"] > 0.2).all()  # in both, a good part of one head's attention from the answering slot

    sides = found["sides"]
    assert (sides[sides["role"] == "ar"]["estimate"] <= 0).all()  # nothing to the right is in its sight
    assert (sides[sides["role"] == "diffusion"]["low"] > 0).any()
    assert all(figure.data for figure in found["figures"])


def test_the_same_pair_again_is_there_at_once(monkeypatch, tmp_path):
    """Self-tests are remembered, the AR model and the controls are shared."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "remembered", remembered.remembered)
    pair = probe.load_pair("zoo:masked")
    began = time.process_time()
    again = probe.load_pair("zoo:masked")
    assert time.process_time() - began < 0.3
    assert again.controls == pair.controls
    assert again.diffusion.selftests == pair.diffusion.selftests
