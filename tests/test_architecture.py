"""Imports point one way, and the method knows no backend."""

import ast

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "splitnet_tf"
MAY_IMPORT = {
    "models": set(),
    "graph": set(),
    "grouping": {"graph"},
    "splitting": {"graph", "grouping"},
    "analysis": {"graph", "grouping", "splitting"},
    "data": set(),
    "training": {"graph", "grouping", "splitting", "data"},
    "parallel": {"graph", "grouping", "splitting", "analysis", "training"},
    "report": {
        *("models", "graph", "grouping", "splitting", "analysis", "data", "training", "parallel")
    },
    "cli": set(),
}
KERAS_ONLY = ("models", "graph", "grouping", "splitting", "analysis")
BASE = {"digests", "errors", "files", "json_files", "saving"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("folder", [f for f in MAY_IMPORT if f != "cli"])
def test_imports_point_one_way(folder):
    files = sorted((PACKAGE / folder).glob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            parts = module.split(".")
            if parts[0] == "splitnet_tf" and len(parts) > 1:
                assert parts[1] in MAY_IMPORT[folder] | {folder} | BASE, (path, module)
            if folder in KERAS_ONLY:
                assert parts[0] != "tensorflow", (path, module)


def test_every_folder_is_covered():
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)


def test_flags_live_in_cli_alone():
    for path in PACKAGE.glob("**/*.py"):
        if path.parent.name != "cli":
            assert "absl.flags" not in set(imported(path)) and "from absl import flags" not in (
                path.read_text()
            ), path


def test_only_one_file_touches_keras_internals():
    for path in PACKAGE.glob("**/*.py"):
        if path.name != "keras_graph.py":
            text = path.read_text()
            assert "keras.src" not in text and "_nodes_by_depth" not in text, path
            assert "_flatten_layers" not in text, path
