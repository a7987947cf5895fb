"""The notebooks run from top to bottom, and their figures show something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[KernelManager]:
    """One kernel for all notebooks: to import torch in each takes longer than most of them."""
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(tmp_path_factory.mktemp("notebooks")))
    yield kernel
    kernel.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.xdist_group("notebooks")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_draws(notebook, kernel):
    """From an empty namespace, so that it needs no other notebook."""
    read = nbformat.read(notebook, as_version=4)
    read.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    NotebookClient(read, km=kernel, timeout=600).execute()
    outputs = [output for cell in read.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]
    assert figures
    assert all(figure["data"] and figure["layout"]["title"]["text"] for figure in figures)
    complaints = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert not [text for text in complaints if "tqdm" not in text]  # it would like widgets for its progress bars


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_its_outputs(notebook):
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_the_first_look_takes_ten_lines():
    (first,) = [path for path in NOTEBOOKS if path.stem == "01_first_look"]
    cell = next(cell for cell in nbformat.read(first, as_version=4).cells if cell.cell_type == "code")
    assert len([line for line in cell.source.splitlines() if line.strip()]) <= 10
    assert "load_pair" in cell.source
    assert "record" in cell.source
    assert "figure()" in cell.source
