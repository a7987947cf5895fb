"""The examples in docstrings that begin with `>>>` run. What is shown without a prompt is a sketch, and is not run.

An example finds `probe`, `analyses`, a `pair` (`zoo:masked`) and a `batch` of eight IOI prompts already there, beside
what its own module has.
"""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import analyses
import probe
from tests.docs.pages import ROOT

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("probe", "analyses")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>>" in Path(path).read_text("utf-8")
]


@pytest.fixture(scope="module")
def shared() -> dict:
    pair = probe.load_pair("zoo:masked")
    return {"probe": probe, "analyses": analyses, "pair": pair, "batch": probe.task("ioi").batch(pair, n=8, seed=0)}


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, shared):
    found = import_module(module)
    examples = doctest.DocTestFinder(exclude_empty=True).find(found, extraglobs=shared)
    assert any(test.examples for test in examples)
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in examples:
        runner.run(test, out=told.append)
    assert not runner.summarize(verbose=False).failed, "".join(told)
