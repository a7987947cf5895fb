"""`import twinprobe`: both packages under the name that they are installed by."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import analyses
import probe
import twinprobe

ROOT = Path(__file__).parent.parent


def test_it_is_both_packages():
    assert twinprobe.analyses is analyses
    for name in probe.__all__:
        assert getattr(twinprobe, name) is getattr(probe, name)
    assert {"analyses", "load_pair"} <= set(dir(twinprobe))
    with pytest.raises(AttributeError, match="twinprobe"):
        twinprobe.nothing_of_the_kind  # noqa: B018  (reading it raises)


def test_it_imports_nothing_heavy():
    found = "import sys, twinprobe; print({'torch', 'pandas', 'plotly'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True, cwd=ROOT)
    assert printed.stdout.strip() == "set()"


def test_it_is_in_the_wheel():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert setup["setuptools"]["py-modules"] == ["twinprobe"]
    assert "twinprobe.py" in setup["pyright"]["include"]
