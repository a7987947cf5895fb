"""The notebooks run from top to bottom and show what they are kept with; their exercises can be solved; none is a mess.

An exercise is a code cell tagged `exercise`, which defines a check and says that nothing was answered yet. Its solution
stands folded in the cell behind it, and must be found right by that check.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
PLOTLY = "application/vnd.plotly.v1+json"
STILL = {"image/svg+xml", "image/png"}
MIME = {PLOTLY, "text/plain", "text/html", *STILL}
CELLS, WORDS = range(25, 61), range(1000, 3001)
LARGEST = 1_000_000  # bytes of a notebook
RIGHT = "Right"  # how a check begins when it is content
_SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[KernelManager]:
    """One kernel for all notebooks: to import torch in each takes longer than most of them."""
    kernel = KernelManager(kernel_name="python3")
    quiet = {"PLOTLY_RENDERER": "plotly_mimetype", "TWINPROBE_PROGRESS": "off"}
    kernel.start_kernel(cwd=str(tmp_path_factory.mktemp("notebooks")), env={**os.environ, **quiet})
    yield kernel
    kernel.shutdown_kernel(now=True)


def read(notebook: Path) -> Any:
    return nbformat.read(notebook, as_version=4)


def code_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def exercises_of(notebook: NotebookNode) -> list[tuple[NotebookNode, str]]:
    """Each exercise's cell, and its solution."""
    found = []
    for cell, behind in zip(notebook.cells, notebook.cells[1:], strict=False):
        if "exercise" in cell.metadata.get("tags", []):
            (solution,) = _SOLUTION.findall(behind.source)
            found.append((cell, solution))
    return found


def shown(cell: NotebookNode) -> list[str]:
    """What a cell shows, without what differs from machine to machine: the kinds of outputs, titles of figures."""
    return [_kind(output) for output in cell.outputs]


def _kind(output: NotebookNode) -> str:
    if output.output_type == "stream":
        return f"{output.name}: {_worded(output.text)}"
    if PLOTLY in output.data:
        return "figure: " + output.data[PLOTLY]["layout"]["title"]["text"]
    return _worded(output.data["text/plain"])


def _worded(text: str) -> str:
    """Numbers differ in their last digits, and a table's columns in their widths."""
    return " ".join(re.sub(r"[-+−]?\d[\d,.]*(e[-+]?\d+)?", "#", text).split())


@pytest.mark.slow
@EACH
def test_it_runs_and_shows_what_it_is_kept_with(notebook, kernel):
    """From an empty namespace, so that it needs no other notebook; then the solutions, by their own checks."""
    kept, run = read(notebook), read(notebook)
    solutions = [nbformat.v4.new_code_cell(solution) for _, solution in exercises_of(run)]
    run.cells = [nbformat.v4.new_code_cell("%reset -f"), *run.cells, *solutions]
    NotebookClient(run, km=kernel, timeout=600, coalesce_streams=True).execute()
    _, *cells = code_of(run)
    for before, after in zip(code_of(kept), cells, strict=False):
        assert shown(after) == shown(before), before.source
    assert ["".join(shown(cell)).strip("'\"")[: len(RIGHT)] for cell in cells[-len(solutions) :]] == [RIGHT] * len(
        solutions
    )


@EACH
def test_it_is_kept_with_what_it_shows(notebook):
    """Every figure has a still picture too; nothing on stderr, no widget, no error."""
    cells = code_of(read(notebook))
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {output.output_type for output in outputs} <= {"execute_result", "display_data", "stream"}
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    shows = [output.data for output in outputs if "data" in output]
    assert {kind for data in shows for kind in data} <= MIME
    assert all(data.keys() & STILL for data in shows if PLOTLY in data)
    assert [data for data in shows if PLOTLY in data or "<iframe" in data.get("text/html", "")]  # something is drawn


@EACH
def test_it_is_of_a_size_that_is_read_in_one_sitting(notebook):
    found = read(notebook)
    words = sum(len(cell.source.split()) for cell in found.cells if cell.cell_type == "markdown")
    assert len(found.cells) in CELLS
    assert words in WORDS
    assert notebook.stat().st_size < LARGEST


@EACH
def test_it_begins_with_what_it_needs_and_has_exercises(notebook):
    found = read(notebook)
    first = found.cells[0].source
    assert "*Needs:" in first
    assert re.search(r"\d+ s(econds)? of one CPU core", first)
    assert f"notebooks/{notebook.name}" in first  # how to run it
    assert len(exercises_of(found)) >= 2
    assert all("Not answered yet" in "".join(shown(cell)) for cell, _ in exercises_of(found))


@EACH
def test_its_links_lead_somewhere(notebook):
    text = "\n".join(cell.source for cell in read(notebook).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [link for link in links if not (notebook.parent / link).exists()] == []


@EACH
def test_it_draws_nothing_itself(notebook):
    """Figures are the project's results and views; a wall of numbers is nobody's first look."""
    for cell in code_of(read(notebook)):
        assert not re.search(r"\b(plotly|matplotlib|update_layout|add_trace)\b", cell.source)
        for output in cell.outputs:
            assert len(output.get("text", "").splitlines()) <= 30
            assert len(output.get("data", {}).get("text/plain", "").splitlines()) <= 40


def test_a_solution_that_its_check_refuses_would_be_noticed(kernel):
    """The whole test rests on reading what a check says."""
    wrong, right = (nbformat.v4.new_code_cell(f"'{said}'") for said in ("Not this one.", "Right."))
    notebook = nbformat.v4.new_notebook(cells=[wrong, right])
    NotebookClient(notebook, km=kernel, timeout=60).execute()
    assert ["".join(shown(cell)).strip("'")[: len(RIGHT)] for cell in notebook.cells] == ["Not t", RIGHT]
