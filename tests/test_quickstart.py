"""The notebook runs, finds what was planted, and shows what it holds."""

import json

import pytest

from tests.conftest import ROOT
from tests.notebook import code_cells, run_cells

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def kinds(outputs):
    """What the outputs of a cell are: text, or a picture."""
    return [sorted(found.get("data", "text")) for found in outputs]


@pytest.mark.slow
def test_the_notebook_runs():
    cells = code_cells(NOTEBOOK)
    names, outputs = run_cells(cells)
    groups = names["grouping"].class_groups()
    assert [len({name.partition("-")[0] for name in group}) for group in groups] == [1, 1]
    assert list(names["accuracy"]) == ["plain", "grouped", "cut", "finetuned"]
    assert min(names["accuracy"].values()) > 0.9
    assert [kinds(shown) for shown in outputs] == [kinds(cell["outputs"]) for cell in cells]
    assert sum(["image/png"] in kinds(shown) for shown in outputs) == 4


def test_the_notebook_is_small_and_for_any_kernel():
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert NOTEBOOK.stat().st_size < 200_000
    assert document["nbformat"] == 4 and document["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell["execution_count"] is None for cell in code_cells(NOTEBOOK))
