"""Teachers from files and run folders."""

import json

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError, CheckpointError, RunError
from splitnet_tf.stages.teachers import load_teacher
from splitnet_tf.storage.models import load_model
from tests.stages.conftest import SECTIONS, make_network


def accuracy(network, data):
    images, labels = data
    return np.mean(network.predict(images, verbose=0).argmax(axis=1) == labels)


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory):
    """A grouping whose network was best in the middle: it learns, then is torn by gamma1."""
    folder = tmp_path_factory.mktemp("run") / "group"
    grouped = sn.group_model(make_network(), SECTIONS, gamma1=300.0, seed=2)
    recipe = sn.GroupingRecipe(epochs=6, warmup_epochs=3, rate=0.1, converged_hold=10**6)
    sn.learn_groups(grouped, *arrays[:2], recipe, run=folder)
    return folder, grouped


def test_the_teacher_before_is_the_best_of_its_run(run, arrays):
    folder, grouped = run
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validated = [line["valid/accuracy"] for line in lines if "valid/accuracy" in line]
    assert max(validated) > validated[-1]
    teacher = load_teacher("before", grouped, folder)
    assert accuracy(teacher, arrays[1]) == pytest.approx(max(validated), abs=1e-6)
    loaded = load_model(folder / "grouped.keras")
    again = load_teacher("before", loaded, folder)
    for one, other in zip(teacher.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_teacher_from_a_run_folder_or_a_file(run, arrays, tmp_path):
    folder, grouped = run
    network = make_network()
    file = tmp_path / "whole.keras"
    keras.Model(network.inputs, keras.layers.Softmax()(network.outputs[0])).save(file)
    x = arrays[1][0][:5]
    np.testing.assert_allclose(
        load_teacher(file).predict(x, verbose=0), network.predict(x, verbose=0), atol=1e-5
    )
    found = load_teacher(folder).predict(x, verbose=0)
    np.testing.assert_allclose(found, grouped.predict(x, verbose=0), atol=1e-5)


def test_teachers_that_are_not_there(run, tmp_path):
    folder, grouped = run
    with pytest.raises(ArgumentError, match="`teacher=before` needs the run folder of a grouping"):
        load_teacher("before", grouped, folder / "grouped.keras")
    with pytest.raises(RunError, match="holds no best checkpoint for `teacher=before`"):
        load_teacher("before", grouped, tmp_path)
    with pytest.raises(RunError, match="`teacher=.*nothing` does not exist"):
        load_teacher(tmp_path / "nothing")
    other = sn.group_model(make_network(), SECTIONS[-1:])
    with pytest.raises(RunError, match="is of another model than"):
        load_teacher("before", other, folder)
    (best,) = (folder / "checkpoints").glob("best-*")
    best.write_bytes(best.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_teacher("before", grouped, folder)
