"""What rows do around their training, which is left out here: an engine notes what it is given."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import recipe as recipes
from experiments.row import Row, folder_of, settings
from experiments.run import run_row
from experiments.work import Work
from splitnet_tf.data import planted_groups
from splitnet_tf.errors import RunError
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.grouping import split_losses
from splitnet_tf.recipe import Phase
from splitnet_tf.storage.models import load_model
from tests.preprocessed import whitened

RECIPE = dataclasses.replace(recipes.SCALES["smoke"], width=0.25, recalibrate=0)


@pytest.fixture(scope="module")
def data():
    made = planted_groups((2,), num_train=128, num_valid=32, num_test=32)
    return dataclasses.replace(made, superclasses=None)  # comparing groups with them takes time


class Engine:
    """Notes the phases of models that it leaves as they are, and calls all errors a half.

    Args:
      at: functions that change a model in a phase of their name.
      stop: a phase that is interrupted when it begins for the first time.

    Attributes:
      phases: (name, begun before, seed, rates of dropout) in order.
    """

    def __init__(self, stop=None, **at):
        self.stop, self.at, self.phases = stop, at, []

    def fit_phase(self, model, phase, train, valid, folder, seed, **more):
        begun = (folder / "begun").exists()
        folder.mkdir(exist_ok=True)
        (folder / "begun").touch()
        rates = {x.rate for x in all_layers(model) if isinstance(x, keras.layers.Dropout)}
        self.phases.append((folder.name, begun, seed, rates))
        if self.stop == folder.name and not begun:
            raise KeyboardInterrupt
        self.at.get(folder.name, lambda model: None)(model)

    def Accuracy(self, model, preprocessing):
        return lambda split: 0.5

    @property
    def names(self):
        return [name for name, *_ in self.phases]


def test_a_row_goes_on_where_it_stopped(data, tmp_path):
    engine = Engine()
    for engine.stop in ("plain", "group", "finetune"):
        with pytest.raises(KeyboardInterrupt):
            run_row(Row("smoke", "deep"), RECIPE, data, tmp_path, engine)
    run_row(Row("smoke", "deep"), RECIPE, data, tmp_path, engine)
    expected = [("plain", False), ("plain", True), ("group", False), ("group", True)]
    expected += [("finetune", False), ("finetune", True)]
    assert [p[:2] for p in engine.phases] == expected


def test_rows_of_other_settings_leave_each_other_alone(data, tmp_path):
    def trained(recipe=RECIPE, data=data):
        engine = Engine()
        run_row(Row("smoke", "fc"), recipe, data, tmp_path, engine)
        return engine.names

    assert trained() == ["plain", "group", "finetune"]
    other = recipes.with_value(RECIPE, "pace", 3.0)
    assert trained(other) == ["group", "finetune"]
    images = data.train.images.copy()
    images[0, 0, 0, 0] ^= 1
    changed = dataclasses.replace(data, train=dataclasses.replace(data.train, images=images))
    assert trained(data=changed) == ["plain", "group", "finetune"]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert trained() == ["plain", "group", "finetune"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(list(tmp_path.glob("smoke/fc-learned-seed0-*/row.json"))) == 4
    # The same data by another name are the same row.
    assert trained(data=dataclasses.replace(data, name="of-a-file")) == []
    assert trained() == [] and trained(other) == []


def test_phases_have_seeds_of_their_own_and_rows_have_them_alike(data, tmp_path):
    engine = Engine()
    for split, seed in (("deep", 0), ("fc", 0), ("baseline", 0), ("fc", 1)):
        run_row(Row("smoke", split, seed=seed), RECIPE, data, tmp_path, engine)
    seeds = {}
    for name, _, seed, _ in engine.phases:
        seeds.setdefault(name, []).append(seed)
    assert [len(s) for s in seeds.values()] == [2, 3, 3, 1]  # plain, group, finetune, baseline
    for name in ("group", "finetune"):
        deep, fc, other = seeds[name]
        assert deep == fc != other
    assert len({s for found in seeds.values() for s in found}) == 7
    assert all(0 <= s < 2**31 for found in seeds.values() for s in found)


def test_a_slim_network_is_whole_and_has_the_parameters_of_the_deep_tree(data, tmp_path):
    recipe, engine = dataclasses.replace(RECIPE, width=1), Engine()
    slim = run_row(Row("smoke", "slim"), recipe, data, tmp_path, engine)
    assert engine.names == ["plain", "baseline"]
    (path,) = tmp_path.glob("smoke/slim-seed0-*/model.keras")
    model = load_model(path)
    assert [model.get_layer(f"unit_{s}_0_conv_1").filters for s in (1, 2, 3)] == [12, 24, 48]

    def by_hand(c):  # WRN-10 with c, 2c and 4c channels: 3x3 twice a unit, 1x1 beside; 8 classes
        units = ((16, c), (c, 2 * c), (2 * c, 4 * c))
        return 27 * 16 + sum(9 * i * o + 9 * o * o + i * o for i, o in units) + 4 * c * 8 + 8

    even = 41_144  # of the deep tree whose groups all have the same size
    assert min(range(1, 16), key=lambda c: abs(by_hand(c) - even)) == 12
    assert slim["params"] == by_hand(12) and slim["width"] == 12 / 16
    assert slim["recipe"] == recipes.recipe_document(recipe)
    run_row(Row("smoke", "fc"), recipe, data, tmp_path, engine)
    assert engine.names[2] == "plain"  # the wide network's own


@pytest.mark.parametrize(("split", "grouping"), [("deep", {0.5}), ("fc", set())])
def test_dropout_is_in_split_units_while_grouping(data, tmp_path, split, grouping):
    engine = Engine()
    run_row(Row("smoke", split), dataclasses.replace(RECIPE, dropout=0.5), data, tmp_path, engine)
    rates = {name: found for name, *_, found in engine.phases}
    assert rates["plain"] == set()
    assert rates["group"] == grouping
    assert rates["finetune"] == ({0.0} if grouping else set())


def to_one_group(model):
    for assignment in split_losses(model).assignments():
        assignment.assign(np.zeros(assignment.size, int), 0.9)


def test_an_empty_group_is_told_and_does_not_stop_a_table(data, tmp_path):
    engine = Engine(group=to_one_group)
    found = run_row(Row("smoke", "deep"), RECIPE, data, tmp_path, engine)
    assert "error" not in found and "is empty (sizes 4/0)" in found["collapsed"]
    assert run_row(Row("smoke", "deep"), RECIPE, data, tmp_path, engine) == found


@pytest.mark.parametrize("when", ["plain", "group", "finetune"])
def test_weights_that_are_not_finite_are_told(data, tmp_path, when):
    def spoil(model):
        model.weights[-1].assign(np.full(model.weights[-1].shape, np.nan))

    found = run_row(Row("smoke", "fc"), RECIPE, data, tmp_path, Engine(**{when: spoil}))
    assert "error" not in found and f"after the phase '{when}'" in found["diverged"]
    assert not list(tmp_path.glob("smoke/fc-*/tree.keras"))


@pytest.mark.parametrize("origin", ["cut", "scratch"])
def test_a_tree_is_finetuned_from_the_cut_or_from_scratch(data, tmp_path, origin):
    def kernels(model):
        return [w for w in model.trainable_weights if w.name == "kernel"]

    def level(model):
        for kernel in kernels(model):
            kernel.assign(np.full(kernel.shape, 0.5))

    starts = []

    def note(model):
        starts.extend(keras.ops.convert_to_numpy(w).ravel() for w in kernels(model))

    recipe = dataclasses.replace(RECIPE, finetune_from=origin)
    run_row(Row("smoke", "deep"), recipe, data, tmp_path, Engine(group=level, finetune=note))
    values = np.concatenate(starts)
    assert (values == 0.5).all() if origin == "cut" else not (values == 0.5).any()


def test_averaged_weights_get_statistics_of_their_own(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, baseline=Phase(1, 0.1, ema=0.9))
    run_row(Row("smoke", "baseline"), recipe, data, tmp_path)
    (path,) = tmp_path.glob("smoke/baseline-*/model.keras")
    model = load_model(path)
    first = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    seen = keras.Model(model.inputs, first.input)(whitened(data.train.images))
    found = keras.ops.convert_to_numpy(first.moving_mean)
    wanted = keras.ops.convert_to_numpy(seen).mean((0, 1, 2))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_folder_has_one_process(data, tmp_path):
    row = Row("smoke", "deep")
    wanted = settings(row, RECIPE, data)
    work = Work(row, RECIPE, data, wanted, folder_of(row.name, wanted, tmp_path / "smoke"))
    with work.own(), pytest.raises(RunError, match="deep-learned-seed0-.{8} is in use by another"):
        run_row(row, RECIPE, data, tmp_path)
