"""Rows of structured sparsity on small data: what they say is what their models do."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.l1 import L1Step
from experiments.ssl_rows import BY_NAME, Phases
from experiments.ssl_run import ShiftedFeed, minutes_of, run_row, settings
from experiments.ssl_selection import at_most
from experiments.ssl_tables import (
    COLLECTED,
    collect_ssl,
    is_of_today,
    read_ssl,
    speed_section,
    ssl_section,
)
from splitnet_tf import models
from splitnet_tf.data import Dataset, Split, load_digits
from splitnet_tf.recipe import Phase
from splitnet_tf.sparsity import random_selection, read_selection
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model
from tests.conftest import to_numpy
from tests.sparsity.zeros import settle

SHORT = Phases(Phase(2, 0.05, l2=0.0), Phase(2, 0.05, l2=0.0), Phase(1, 0.02, l2=0.0))


@pytest.fixture(scope="module")
def data():
    """Digits of 8x8 pixels, each three times as large, with a margin as MNIST has."""
    found = load_digits()

    def large(split, count):
        images = np.kron(split.images[:count, ..., 0], np.ones((1, 3, 3), np.uint8))
        return Split(np.pad(images, [(0, 0), (2, 2), (2, 2)])[..., None], split.labels[:count])

    splits = (large(s, n) for s, n in ((found.train, 640), (found.valid, 64), (found.test, 128)))
    return Dataset("large digits", *splits, found.class_names)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def short(name, **changes):
    return dataclasses.replace(BY_NAME[name], phases=SHORT, **changes)


@pytest.fixture(scope="module")
def whole(data, runs):
    return run_row(short("lenet-whole", most={"conv1": 4, "conv2": 9}), 0, data, runs)


def error_of(path, data):
    images = data.test.images.astype("float32") / 255
    logits = to_numpy(load_model(path)(images, training=False))
    return 100 * np.mean(logits.argmax(axis=1) != data.test.labels)


def test_a_row_is_made_sparse_shrunk_and_finetuned(whole, data, runs):
    (folder,) = runs.glob("lenet-whole-seed0-*")
    assert whole["error"] == pytest.approx(error_of(folder / "small" / "small.keras", data))
    assert whole["error_sparse"] == pytest.approx(error_of(folder / "sparse/sparse.keras", data))
    model = load_model(folder / "small" / "small.keras")
    for layer, (inputs, outputs) in whole["units"].items():
        kernel = to_numpy(model.get_layer(layer).kernel)
        assert (int(np.prod(kernel.shape[:-1])), kernel.shape[-1]) == (inputs, outputs)
    assert whole["units"]["conv1"][1] <= 4 and whole["units"]["conv2"][1] <= 9
    adds = {"conv1": 576, "conv2": 64, "fc1": 1, "logits": 1}
    counted = sum(n * np.prod(whole["units"][layer]) for layer, n in adds.items())
    assert whole["whole"] == pytest.approx(100 * counted / 2_293_000)


def test_minutes_are_summed_over_the_logs(tmp_path):
    for name, lines in {"a": [(100, 640.0), (150, 320.0)], "b": [(30, 64.0)]}.items():
        (tmp_path / name).mkdir()
        entries = ({"step": step, "images_per_second": speed} for step, speed in lines)
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        (tmp_path / name / "timing.jsonl").write_text(text)
    # Batches of 64: 10, then 10, then 30 seconds.
    assert minutes_of([tmp_path / "a", tmp_path / "b"]) == 0.8


def test_controls_have_the_same_size(whole, data, runs):
    (folder,) = runs.glob("lenet-whole-seed0-*")
    small = load_model(folder / "small" / "small.keras")
    for control, file in (("random", "small.keras"), ("narrow", "model.keras")):
        model = load_model(folder / control / file)
        assert [w.shape for w in model.weights] == [w.shape for w in small.weights]
        found = error_of(folder / control / file, data)
        assert whole[f"error_{control}"] == pytest.approx(found)


@pytest.mark.slow
def test_columns_are_gathered(data, runs):
    row = short("lenet-5", strengths={"shapes": {"conv2": 0.8}}, most={})
    still = Phase(2, 0.05, l2=0.0, momentum=0.0, nesterov=False)  # momentum revives groups
    row = dataclasses.replace(row, phases=dataclasses.replace(SHORT, sparse=still))
    found = run_row(row, 0, data, runs)
    (folder,) = runs.glob("lenet-5-seed0-*")
    columns = found["units"]["conv2"][0]
    assert 0 < columns < 500 and found["layers"]["conv2"] == pytest.approx(columns / 5)
    assert found["error"] == pytest.approx(error_of(folder / "small" / "small.keras", data))
    assert "error_random" not in found
    narrow = load_model(folder / "narrow" / "model.keras")
    assert to_numpy(narrow.get_layer("conv2").kernel).shape == (1, 1, columns, 50)
    assert found["error_narrow"] == pytest.approx(error_of(folder / "narrow/model.keras", data))


def test_single_weights_become_zero(data, runs):
    found = run_row(short("lenet-l1", strengths={"weights": {"all": 0.05}}), 0, data, runs)
    (folder,) = runs.glob("lenet-l1-seed0-*")
    kernel = to_numpy(load_model(folder / "l1.keras").get_layer("fc1").kernel)
    left = found["weights_left"]["fc1"]
    assert 0 < left < 90 and left == pytest.approx(100 * np.mean(kernel != 0))
    assert found["error"] == pytest.approx(error_of(folder / "l1.keras", data))


def test_a_row_is_not_trained_again_and_is_written_down(whole, data, runs, tmp_path):
    row = short("lenet-whole", most={"conv1": 4, "conv2": 9})
    assert run_row(row, 0, data, runs) == whole
    assert not is_of_today(whole)  # of other phases than today's
    today = {**whole, **settings(BY_NAME["lenet-whole"], 0, whole["data_digest"])}
    assert is_of_today(today)
    write_json(tmp_path / "runs" / "a" / "row.json", today)
    (written,) = collect_ssl(tmp_path / "runs", tmp_path / "rows")
    assert read_json(written) == read_json(tmp_path / "runs" / "a" / "row.json")
    assert collect_ssl(tmp_path / "runs", tmp_path / "rows") == []
    text = "\n\n".join(ssl_section(read_ssl(tmp_path / "rows")))
    assert f"| lenet-whole | 1 | {whole['error']:.2f} |" in text and "--rows=lenet-whole" in text
    assert whole["error"] > 0.9 and f"`lenet-whole` ({whole['error']:.2f} against 0.9)" in text


def test_images_are_shifted_by_whole_pixels():
    rng = np.random.default_rng(0)
    images = np.zeros((8, 6, 6, 1), "float32")
    images[:, 1:5, 1:5] = rng.normal(size=(8, 4, 4, 1))
    feed = ShiftedFeed((images, np.arange(8)), 8, 3, most=1)
    moved = set()
    for found, labels in feed.training(0).take(4):
        for x, label in zip(found.numpy(), labels.numpy(), strict=True):
            places = [
                (down, right)
                for down in (-1, 0, 1)
                for right in (-1, 0, 1)
                if np.array_equal(np.roll(images[label], (down, right), axis=(0, 1)), x)
            ]
            assert len(places) == 1
            moved.update(places)
    assert len(moved) == 9
    (again, _), (first, _) = next(iter(feed.training(2))), list(feed.training(0).take(3))[2]
    np.testing.assert_array_equal(again, first)


def test_the_largest_channels_are_kept():
    model = settle(models.mlp((8, 6), 4, (4,)), 1)
    selection = random_selection(model, keep=1.0)
    assert at_most(model, selection, {"fc1": 8}) == selection
    kept = at_most(model, selection, {"fc1": 3}).space("fc1").indices
    weights = [to_numpy(w) for w in model.get_layer("fc1").weights]
    reads = to_numpy(model.get_layer("fc2").kernel)
    norms = sum((w**2).sum(axis=0) if w.ndim > 1 else w**2 for w in weights)
    norms = norms + (reads**2).sum(axis=1)
    assert list(kept) == sorted(np.argsort(-norms)[:3])
    (columns,) = at_most(model, read_selection(model), {"fc1": 3, "fc1:columns": 2}).columns
    inputs = np.linalg.norm(weights[0][:, list(kept)], axis=1)
    assert list(columns.indices) == sorted(np.argsort(-inputs)[:2])


def test_weights_move_to_zero():
    model = settle(models.mlp((8,), 4, (4,)), 1)
    kernel, bias = model.get_layer("fc1").kernel, model.get_layer("fc1").bias
    before, was = to_numpy(kernel).copy(), to_numpy(bias).copy()
    L1Step(2.0)(model.trainable_variables, 0.1)
    expected = np.sign(before) * np.maximum(np.abs(before) - 0.2, 0)
    np.testing.assert_allclose(to_numpy(kernel), expected, atol=1e-7)
    np.testing.assert_array_equal(to_numpy(bias), was)


def test_times_become_a_table():
    times = {"whole": 4e-3, "shrunk": 1e-3, "l1": 8e-3}
    layer = {"layer": "conv2", "batch": 64, "before": [50, 500, 4096], "after": [9, 100, 4096]}
    layer |= {"share": 0.036, "left": 0.05, "seconds": times, "speed": {"shrunk": 4.0, "l1": 0.5}}
    machine = {"threads": 1, "processor": "some processor", "tensorflow": "2.21"}
    found = {"repeats": 3, "machine": machine, "layers": [layer]}
    text = "\n".join(speed_section(found))
    row = "| 64 | conv2 | 50x500x4096 | 9x100x4096 | 3.6 | 4.000 | 1.000 | 4.00 | 5.0 | 0.50 |"
    assert row in text and "some processor" in text and speed_section(None) == []


def test_rows_in_the_repository_are_of_todays_settings():
    for path in COLLECTED.glob("*-seed*.json"):
        assert is_of_today(read_json(path)), path.name
