"""Finetuning with every branch on a device of its own."""

import keras
import numpy as np
import pytest

from splitnet_tf.data import planted_groups
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, SPLIT, small_model


@pytest.mark.slow
def test_a_split_is_finetuned_on_devices_and_resumed(tmp_path):
    model, group, split = (tmp_path / n for n in ("small.keras", "group", "split"))
    small_model(model)
    grouping = ("group", [*COMMON, *GROUP, f"--model={model}", f"--train_dir={group}"])
    finetuning = (
        "split",
        [*COMMON, *SPLIT, f"--basemodel={group}", f"--train_dir={split}"]
        + ["--devices=/CPU:0,/CPU:1", "--dropout_keep_prob=1"],
    )
    results = []
    for name, arguments in (grouping, finetuning, finetuning):  # again: nothing left to do
        code, printed = run(name, arguments, tmp_path / "out")
        assert code == 0, printed[-2000:]
        if name == "split":
            results.append((split / "result.json").read_bytes())
            assert "branch_1" in printed and "/CPU:1" in printed
    found = read_json(split / "result.json")
    assert found["steps"] == 40 and results[0] == results[1]
    test = planted_groups((2,)).test
    images = test.images.astype("float64")
    images = (images - images.mean(axis=(1, 2), keepdims=True)) / images.std(
        axis=(1, 2), keepdims=True
    )
    trees = [load_model(split / f"{name}.keras") for name in ("cut", "tree")]
    for tree, stage in zip(trees, ("recalibrated", "finetuned"), strict=True):
        assert {x.rate for x in all_layers(tree) if isinstance(x, keras.layers.Dropout)} == {0.0}
        right = tree.predict(images, verbose=0).argmax(axis=1) == test.labels
        assert found["test_accuracy"][stage] == pytest.approx(right.mean(), abs=0.004)
    kernels = [[v for v in tree.variables if v.name == "kernel"] for tree in trees]
    for before, after in zip(*kernels, strict=True):
        assert np.abs(np.asarray(before) - np.asarray(after)).max() > 1e-4, before.path
