"""The examples in docstrings: each does what it shows."""

import doctest
import importlib

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from tests.conftest import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "splitnet_tf").glob("**/*.py"))
    if ">>> " in path.read_text()
]
# Public functions of the packages that build and cut models.
SHOWN = (
    *("cost", "export_tree", "group_model", "logits_model", "plain_copy", "plan_of"),
    *("off_block_energy", "read_grouping", "register_activation", "register_rule", "split_losses"),
    *("split_model", "start_from_clusters", "SplitTree"),
    *("compare", "compare_groupings", "describe_groups", "evaluate_model", "suggest_cuts"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    names = {"sn": sn, "keras": keras, "np": np}
    result = doctest.testmod(importlib.import_module(name), extraglobs=names)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", SHOWN)
def test_public_functions_show_an_example(name):
    assert ">>> " in getattr(sn, name).__doc__


def test_public_classes_show_an_example():
    for method in (sn.SplitPlan.from_sections, sn.Grouping.even):
        assert ">>> " in method.__doc__
