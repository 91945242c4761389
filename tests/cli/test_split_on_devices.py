"""Finetuning with every branch on a device of its own."""

import keras

from splitnet_tf.graph.keras_graph import all_layers
from splitnet_tf.json_files import read_json
from splitnet_tf.saving import load_model
from tests.cli.small_programs import COMMON, GROUP, SPLIT, run, small_model


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
    assert found["test_accuracy"]["finetuned"] > found["test_accuracy"]["cut"] - 0.01
    assert found["steps"] == 40
    assert results[0] == results[1]
    for name, expected in (("cut", {0.0}), ("tree", {0.0})):
        layers = all_layers(load_model(split / f"{name}.keras"))
        assert {x.rate for x in layers if isinstance(x, keras.layers.Dropout)} == expected
