"""Imports point one way, and the method knows no backend."""

import ast
import re

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "splitnet_tf"
METHODS = {"grouping", "splitting", "sparsity"}
# What each package may import besides errors and itself; design: data flows one way.
MAY_IMPORT = {
    "models": set(),
    "storage": set(),
    "graph": {"storage"},
    "recipe": {"graph", "storage"},
    "data": {"graph", "recipe", "storage"},
    "runs": {"graph", "storage"},
    "grouping": {"graph", "recipe", "storage"},
    "splitting": {"graph", "grouping", "storage"},
    "sparsity": {"graph", "recipe", "storage"},
    "training": {"graph", "recipe", "data", "runs", "storage"},
    # The fused batch norms of the loop serve fit on TensorFlow too.
    "fitting": {"graph", "recipe", "data", "runs", "storage", "training"},
    "analysis": {"graph", "storage", *METHODS},
    "parallel": {"graph", "splitting", "analysis", "training", "recipe"},
    # The superclasses of a data set by name are in data; models' names are in models.
    "report": {"runs", "analysis", "graph", "storage", "data", "models", *METHODS},
}
MAY_IMPORT["stages"] = set(MAY_IMPORT)
MAY_IMPORT["benchmarks"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)
KERAS_ONLY = (
    *("models", "graph", "recipe", "grouping", "splitting", "sparsity", "analysis", "runs"),
    *("report", "storage"),
)
LOOSE = {
    "__init__": set(MAY_IMPORT) - {"cli", "benchmarks"} | {"quiet"},
    "errors": set(),
    "quiet": set(),
    "saving": {"storage"},  # the former place of storage.models
}
FILES = sorted(PACKAGE.glob("**/*.py"))


def room(path):
    """The package of a file, or the name of a loose one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "splitnet_tf":
                yield from (f"splitnet_tf.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = room(path)
    allowed = (MAY_IMPORT | LOOSE)[own] | {own, "errors"}
    for module in imported(path):
        parts = module.split(".")
        if parts[0] == "splitnet_tf" and len(parts) > 1:
            assert parts[1] in allowed, (path, module)
        if own in KERAS_ONLY:
            assert parts[0] != "tensorflow", (path, module)


def test_the_table_has_every_package_and_no_more():
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)
    assert {p.stem for p in PACKAGE.glob("*.py")} == set(LOOSE)


def test_flags_live_in_cli_alone():
    for path in FILES:
        if path.parent.name != "cli":
            assert "absl.flags" not in set(imported(path)) and "from absl import flags" not in (
                path.read_text()
            ), path


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda p: p.stem)
def test_programs_are_made_of_short_functions(path):
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 40] == []


def test_only_one_file_touches_keras_internals():
    for path in FILES:
        if path.name != "keras_reader.py":
            text = path.read_text()
            assert "keras.src" not in text and "_nodes_by_depth" not in text, path
            assert "_flatten_layers" not in text and "_inbound_nodes" not in text, path


# A command of a program, with its flags.
COMMAND = re.compile(r"\w+\.(py|sh|cli\.\w+)( --\S+)+")
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def strings(path):
    """(line, text) of every string of a file; ``{}`` stands for a value in an f-string."""
    tree, parts = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(v) for v in node.values}
            yield node.lineno, "".join(getattr(v, "value", "{}") for v in node.values if is_text(v))
    for node in ast.walk(tree):
        if is_text(node) and id(node) not in parts:
            yield node.lineno, node.value


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_no_sentence_outside_cli_names_a_flag():
    """Sentences name arguments, which a program turns into its flags."""
    for path in FILES:
        for line, text in strings(path) if path.parent.name != "cli" else ():
            # A string that is nothing but a flag is an argument of another process.
            assert text.startswith("--") or not FLAG.search(COMMAND.sub("", text)), (path, line)


# A free-standing word where the thing itself should be named.
HEADLESS = re.compile(r"\s*(Of|What|Where|How|Whether|Likewise|Those|Such)\b")


@pytest.mark.parametrize("folder", ["splitnet_tf", "experiments"])
def test_docstrings_begin_with_a_noun_or_a_verb(folder):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    count = 0
    for path in sorted((ROOT / folder).glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.get_docstring(node) if isinstance(node, kinds) else None
            count += text is not None
            assert not HEADLESS.match(text or ""), (path, text)
    assert count > 50
