"""setup.py declares every package that the code imports."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest

from splitnet_tf.splitting.export import FORMATS
from tests.conftest import ROOT

INSTALLED = packages_distributions()
OWN = {"splitnet_tf", "experiments"}
# Imported, and declared nowhere, with the reason.
CODE = {
    "splitnet_tf": sorted(ROOT.glob("splitnet_tf/**/*.py")),
    "experiments": sorted(ROOT.glob("experiments/**/*.py")),
    "download_cifar100.py": [ROOT / "download_cifar100.py"],
}


def plain(requirement):
    """The name of a distribution as package indices compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@pytest.fixture(scope="module")
def declared():
    """Names of distributions by extra; of ``install_requires`` under ''."""
    (call,) = (
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    given = {word.arg: word.value for word in call.keywords}
    extras = ast.literal_eval(given["extras_require"])
    extras[""] = ast.literal_eval(given["install_requires"])
    return {extra: {plain(r) for r in requirements} for extra, requirements in extras.items()}


def imports(path):
    """(distribution, whether it is imported as soon as the file is) of what is not our own."""
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
    later = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        else:
            continue
        for module in modules:
            top = module.split(".")[0]
            if top not in OWN and top not in sys.stdlib_module_names:
                # What is not installed here is taken to be called like its module.
                yield {plain(name) for name in INSTALLED.get(top, [top])}, id(node) not in later


@pytest.mark.parametrize("part", CODE)
def test_every_import_is_declared(declared, part):
    """What loads with a file is always installed; what a function asks for may be an extra.

    The package and the download ask for nothing that only tests install.
    """
    asked = set(declared) - (set() if part == "experiments" else {"test"})
    extras = set().union(*(declared[extra] for extra in asked))
    count = 0
    for path in CODE[part]:
        for names, at_once in imports(path):
            count += 1
            enough = declared[""] if at_once else extras
            assert names & enough, f"{path.relative_to(ROOT)} imports {', '.join(names)}"
    assert count >= 2  # numpy and absl at the least


def test_packages_that_an_export_needs_are_an_extra(declared):
    needed = {plain(package) for _, _, packages in FORMATS.values() for package in packages}
    assert needed and needed <= declared["export"] | declared[""]
