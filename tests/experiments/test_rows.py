"""What rows do around their training, which is left out here: a stand-in notes what it is given."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import recipe as recipes
from experiments.row import Row
from experiments.run import run_row
from experiments.work import Work, folder_of, settings
from splitnet_tf.data import planted_groups
from splitnet_tf.errors import RunError
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model

RECIPE = dataclasses.replace(recipes.SCALES["smoke"], recalibrate=0)


@pytest.fixture(scope="module")
def data():
    return planted_groups((2,), num_train=128, num_valid=32, num_test=32)


@pytest.fixture
def phases(monkeypatch):
    """Phases in the order of their training: (name, begun before, seed, rates of dropout)."""
    noted = []

    def fit_phase(model, phase, train, valid, folder, seed, **more):
        begun = (folder / "begun").exists()
        folder.mkdir(exist_ok=True)
        (folder / "begun").touch()
        rates = {x.rate for x in all_layers(model) if isinstance(x, keras.layers.Dropout)}
        noted.append((folder.name, begun, seed, rates))
        if noted.stop == folder.name and not begun:
            raise KeyboardInterrupt

    class Noted(list):
        stop = None

    noted = Noted()
    monkeypatch.setattr("experiments.work.fit_phase", fit_phase)
    monkeypatch.setattr("experiments.run.Accuracy", lambda model: lambda split: 0.5)
    return noted


def test_a_row_goes_on_where_it_stopped(data, phases, tmp_path):
    for phases.stop in ("plain", "group", "finetune"):
        with pytest.raises(KeyboardInterrupt):
            run_row(Row("smoke", "deep"), RECIPE, data, tmp_path)
    run_row(Row("smoke", "deep"), RECIPE, data, tmp_path)
    expected = [("plain", False), ("plain", True), ("group", False), ("group", True)]
    expected += [("finetune", False), ("finetune", True)]
    assert [p[:2] for p in phases] == expected


def test_rows_of_other_settings_leave_each_other_alone(data, phases, tmp_path):
    row = Row("smoke", "deep")

    def trained(recipe=RECIPE, data=data):
        phases.clear()
        run_row(row, recipe, data, tmp_path)
        return [p[0] for p in phases]

    assert trained() == ["plain", "group", "finetune"]
    assert trained(dataclasses.replace(RECIPE, pace=3.0)) == ["group", "finetune"]
    images = data.train.images.copy()
    images[0, 0, 0, 0] ^= 1
    other = dataclasses.replace(data, train=dataclasses.replace(data.train, images=images))
    assert trained(data=other) == ["plain", "group", "finetune"]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert trained() == ["plain", "group", "finetune"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(list(tmp_path.glob("smoke/deep-learned-seed0-*/row.json"))) == 4
    # The same data by another name are the same row.
    assert trained(data=dataclasses.replace(data, name="of-a-file")) == []
    assert trained() == [] and trained(dataclasses.replace(RECIPE, pace=3.0)) == []


def test_phases_have_seeds_of_their_own_and_rows_have_them_alike(data, phases, tmp_path):
    for split, seed in (("deep", 0), ("fc", 0), ("baseline", 0), ("deep", 1)):
        run_row(Row("smoke", split, seed=seed), RECIPE, data, tmp_path)
    seeds = {}
    for name, _, seed, _ in phases:
        seeds.setdefault(name, []).append(seed)
    assert [len(s) for s in seeds.values()] == [2, 3, 3, 1]  # plain, group, finetune, baseline
    for name in ("group", "finetune"):
        deep, fc, other = seeds[name]
        assert deep == fc != other
    assert len({s for found in seeds.values() for s in found}) == 7
    assert all(0 <= s < 2**31 for found in seeds.values() for s in found)


def test_a_slim_network_is_whole_and_has_the_parameters_of_the_deep_tree(data, phases, tmp_path):
    deep = run_row(Row("smoke", "deep"), RECIPE, data, tmp_path)
    phases.clear()
    slim = run_row(Row("smoke", "slim"), RECIPE, data, tmp_path)
    assert [p[:2] for p in phases] == [("plain", False), ("baseline", False)]  # not the wide one's
    (path,) = tmp_path.glob("smoke/slim-seed0-*/model.keras")
    model = load_model(path)
    assert [model.get_layer(f"unit_{s}_0_conv_1").filters for s in (1, 2, 3)] == [12, 24, 48]

    def by_hand(c):  # WRN-10 with c, 2c and 4c channels: 3x3 twice a unit, 1x1 beside; 8 classes
        units = ((16, c), (c, 2 * c), (2 * c, 4 * c))
        return 27 * 16 + sum(9 * i * o + 9 * o * o + i * o for i, o in units) + 4 * c * 8 + 8

    even = 41_144  # of the tree, had all groups the same size
    assert min(range(1, 16), key=lambda c: abs(by_hand(c) - even)) == 12
    assert slim["params"] == by_hand(12) and deep["params"] == pytest.approx(even, rel=0.05)
    assert slim["recipe"] == deep["recipe"] and slim["width"] == 12 / 16


@pytest.mark.parametrize(("split", "grouping"), [("deep", {0.5}), ("fc", set())])
def test_dropout_is_in_split_units_while_grouping(data, phases, tmp_path, split, grouping):
    recipe = dataclasses.replace(RECIPE, dropout=0.5)
    run_row(Row("smoke", split), recipe, data, tmp_path)
    rates = {name: found for name, *_, found in phases}
    assert rates["plain"] == set()
    assert rates["group"] == grouping
    assert rates["finetune"] == ({0.0} if grouping else set())


def test_clusters_need_trained_weights(data, phases, tmp_path):
    recipe = dataclasses.replace(
        RECIPE, plain=recipes.Phase(0, 0.1), start="random", weighted=True, nesterov=False
    )
    row = Row("smoke", "deep", "clustering")
    with pytest.raises(RunError, match="run the row baseline of this seed first"):
        run_row(row, recipe, data, tmp_path)
    run_row(Row("smoke", "baseline"), recipe, data, tmp_path)
    (path,) = tmp_path.glob("smoke/baseline-seed0-*/model.keras")
    model = load_model(path)
    kernel = model.get_layer("logits").kernel
    columns = np.random.default_rng(0).normal(size=(2, kernel.shape[0]))
    kernel.assign(np.stack([columns[k % 2] for k in range(8)], axis=1))
    model.save(path)
    found = run_row(row, recipe, data, tmp_path)
    (path,) = tmp_path.glob(f"smoke/{row.name}-*/start.json")
    start = read_json(path)["groups"]
    classes = start["logits"]
    assert classes in ([0, 1] * 4, [1, 0] * 4) and found["sizes"] == [4, 4]
    assert found["moved"] == {"classes": 0.0, "features": 0.0}


def test_an_empty_group_is_told_and_does_not_stop_a_table(data, phases, monkeypatch, tmp_path):
    recipe = dataclasses.replace(RECIPE, start="random")
    grouped = load_grouped_with_an_empty_group
    monkeypatch.setattr("experiments.grouped.split_losses", grouped)
    found = run_row(Row("smoke", "deep"), recipe, data, tmp_path)
    assert "error" not in found and "is empty (sizes 16/0)" in found["collapsed"]
    assert run_row(Row("smoke", "deep"), recipe, data, tmp_path) == found


@pytest.mark.parametrize("when", ["plain", "group", "finetune"])
def test_weights_that_are_not_finite_are_told(data, monkeypatch, tmp_path, when):
    def fit_phase(model, phase, train, valid, folder, seed, **more):
        folder.mkdir(exist_ok=True)
        if folder.name == when:
            model.weights[-1].assign(np.full(model.weights[-1].shape, np.nan))

    monkeypatch.setattr("experiments.work.fit_phase", fit_phase)
    monkeypatch.setattr("experiments.run.Accuracy", lambda model: lambda split: 0.5)
    found = run_row(Row("smoke", "fc"), RECIPE, data, tmp_path)
    assert "error" not in found and f"after the phase '{when}'" in found["diverged"]
    assert not list(tmp_path.glob("smoke/fc-*/tree.keras"))


@pytest.mark.parametrize("origin", ["cut", "scratch"])
def test_a_tree_is_finetuned_from_the_cut_or_from_scratch(data, monkeypatch, tmp_path, origin):
    starts = {}

    def fit_phase(model, phase, train, valid, folder, seed, **more):
        folder.mkdir(exist_ok=True)
        kernels = [w for w in model.trainable_weights if w.name == "kernel"]
        starts[folder.name] = [keras.ops.convert_to_numpy(w) for w in kernels]
        for kernel in kernels:
            kernel.assign(np.full(kernel.shape, 0.5))

    monkeypatch.setattr("experiments.work.fit_phase", fit_phase)
    monkeypatch.setattr("experiments.run.Accuracy", lambda model: lambda split: 0.5)
    run_row(Row("smoke", "deep"), dataclasses.replace(RECIPE, finetune_from=origin), data, tmp_path)
    values = np.concatenate([k.ravel() for k in starts["finetune"]])
    assert (values == 0.5).all() if origin == "cut" else not (values == 0.5).any()


def test_averaged_weights_get_statistics_of_their_own(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, baseline=dataclasses.replace(RECIPE.baseline, ema=0.9))
    run_row(Row("smoke", "baseline"), recipe, data, tmp_path)
    (path,) = tmp_path.glob("smoke/baseline-*/model.keras")
    model = load_model(path)
    first = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    images = data.train.images.astype("float64")
    mean, std = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
    seen = keras.Model(model.inputs, first.input)((images - mean) / std)
    found = keras.ops.convert_to_numpy(first.moving_mean)
    wanted = keras.ops.convert_to_numpy(seen).mean((0, 1, 2))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def load_grouped_with_an_empty_group(model):
    """The split losses of a model, all its features in one group."""
    from splitnet_tf.grouping import split_losses

    losses = split_losses(model)
    for assignment in losses.assignments():
        assignment.assign(np.zeros(assignment.size, int), 0.9)
    return losses


def test_a_folder_has_one_process(data, tmp_path):
    row = Row("smoke", "deep")
    wanted = settings(row, RECIPE, data)
    work = Work(row, RECIPE, data, wanted, folder_of(row.name, wanted, tmp_path / "smoke"))
    with work.own(), pytest.raises(RunError, match="deep-learned-seed0-.{8} is in use by another"):
        run_row(row, RECIPE, data, tmp_path)
