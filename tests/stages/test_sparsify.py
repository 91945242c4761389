"""Sparse training and the shrink from Python, on digits."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.data import load_digits
from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.runs import ShrinkResult, SparseResult
from splitnet_tf.runs.names import CHANGES, SELECTION, SHRUNK, SMALL, SPARSE
from splitnet_tf.sparsity import random_like
from splitnet_tf.stages.selections import choose_selection
from splitnet_tf.stages.sparsity_pictures import filters_picture
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model
from tests.conftest import to_numpy
from tests.training.test_pictures import read

RECIPE = sn.SparsityRecipe(spaces=0.25, epochs=9, warmup_epochs=2, ramp_epochs=1, rate=0.1, l2=0.0)
PHASE = sn.Phase(epochs=2, rate=0.05, l2=0.0)
QUICK = sn.SparsityRecipe(spaces=0.2, epochs=1, rate=0.1, l2=0.0)


@pytest.fixture(scope="session")
def digits():
    data = load_digits()
    return [(s.images / 64.0, s.labels) for s in (data.train, data.valid, data.test)]


def network(seed=0):
    keras.utils.set_random_seed(seed)
    return sn.models.build("mlp-64-24-16-10", input_shape=(8, 8, 1))


def convolutions():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 5, name="conv1")(inputs)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))


def accuracy(model, split):
    images, labels = split
    return float(np.mean(to_numpy(model(images)).argmax(axis=1) == labels))


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A network made sparse, and its shrunk form, each in a run folder."""
    train, valid, test = digits
    folder = tmp_path_factory.mktemp("runs")
    model = network()
    sparse = sn.sparsify(
        model, train, valid, RECIPE, run=folder / "sparse", test=test, batch_size=64
    )
    small = sn.shrink(model, train, valid, test, PHASE, run=folder / "small", batch_size=64)
    return model, sparse, small, folder


def test_the_script_of_the_readme(trained, digits):
    """Zeros are in the model that was given; the shrunk model computes what it does."""
    model, found, _, _ = trained
    small = sn.shrink_model(model, sn.read_selection(model))
    images = digits[2][0]
    np.testing.assert_allclose(to_numpy(small.model(images)), to_numpy(model(images)), atol=1e-5)
    zero = sum(found.result.zero_groups.values())
    assert 5 <= zero < sum(found.result.groups.values()) == 40
    kernel = to_numpy(model.get_layer("fc1").kernel)
    assert (kernel == 0).all(axis=0).sum() == found.result.zero_groups["spaces/fc1"]
    assert small.model.count_params() < model.count_params()


def test_what_was_found_is_in_the_folders_and_prints(trained, digits):
    model, sparse, small, folder = trained
    test = digits[2]
    assert SparseResult.read(folder / "sparse") == sparse.result
    assert ShrinkResult.read(folder / "small") == small.result
    assert sn.Selection.load(folder / "sparse" / SELECTION) == sparse.selection
    kept = load_model(folder / "sparse" / SPARSE)
    for one, other in zip(kept.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    changes = read_json(folder / "small" / CHANGES)
    for when in ("before", "after"):
        assert sparse.result.weights[when] == changes[f"weights_{when}"]
        assert sparse.result.multiply_adds[when] == changes[f"multiply_adds_{when}"]
    stages = small.result.test_accuracy
    assert sparse.result.test_accuracy == stages["before"] == stages["shrunk"]
    assert stages["before"] == pytest.approx(accuracy(model, test), abs=1e-6)
    assert stages["finetuned"] == pytest.approx(accuracy(small.model, test), abs=1e-6)
    assert stages["finetuned"] > 0.85
    assert accuracy(load_model(folder / "small" / SHRUNK), test) == accuracy(model, test)
    assert accuracy(load_model(folder / "small" / SMALL), test) == accuracy(small.model, test)
    assert small.result.params["after"] == sn.cost(small.model).params
    zero = sum(sparse.result.zero_groups.values())
    assert f"Groups at zero: {zero} of 40 spaces." in str(sparse)
    assert "right after the shrink" in str(small) and "64x24" in str(small)


def test_tensorboard_shows_zeros_norms_and_the_first_layer(trained):
    values, _ = read(trained[3] / "sparse" / "tensorboard")
    names = {"zero_groups/spaces/fc1", "zero_share/spaces/fc2", "sparsity/strength"}
    names |= {"sparsity/multiply_adds", "norms/spaces/fc1", "first_layer/fc1", "train/penalty"}
    assert names <= set(values)


def test_filters_are_grey_where_they_are_zero():
    kernel = np.zeros((3, 3, 1, 5))
    kernel[..., 0], kernel[..., 4] = 1.0, -1.0
    image = filters_picture(kernel)[0]
    scale = 256 // 7
    tiles = image[::scale, ::scale]  # two rows of three, lines between
    assert image.shape[2] == 3 and tiles.shape[:2] == (7, 11)
    assert (tiles[:3, :3] == 255).all() and (tiles[:3, 4:7] == 128).all()
    assert (tiles[4:, 4:7] == 0).all() and (tiles[3] == 255).all()


def test_the_strength_is_that_of_the_ramp(trained):
    log = (trained[3] / "sparse" / "metrics.jsonl").read_text().splitlines()
    found = [e for e in map(json.loads, log) if "sparsity/strength" in e]
    assert [e["step"] for e in found] == [100, 171] and found[-1]["sparsity/strength"] == 1.0


def test_a_run_goes_on_where_it_stopped(digits, tmp_path):
    train, valid, _ = digits
    recipe = dataclasses.replace(QUICK, target_flops=0.5, growth=2.0)
    whole = network()
    loop = sn.Loop(max_steps=8, val_interval=2, checkpoint_interval=2)
    first = sn.sparsify(whole, train, valid, recipe, loop=loop, run=tmp_path / "a")
    (last,) = (tmp_path / "a" / "checkpoints").glob("step-00000008-*")
    last.unlink()  # as if it had been killed before
    again = network()
    found = sn.sparsify(again, train, valid, recipe, loop=loop, run=tmp_path / "a")
    assert found.result == first.result and found.result.strength > 1
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_target_is_met_and_then_held(digits):
    train, valid, _ = digits
    recipe = dataclasses.replace(QUICK, spaces=0.05, epochs=12, target_flops=0.6, growth=1.6)
    found = sn.sparsify(network(), train, valid, recipe, batch_size=64)
    left = found.result.multiply_adds["after"] / found.result.multiply_adds["before"]
    assert 0.2 < left <= 0.6 and found.result.strength > 1 and not found.notes


def test_a_run_that_went_far_below_its_target_says_so(digits):
    train, valid, _ = digits
    recipe = dataclasses.replace(QUICK, spaces=1.0, epochs=4, target_flops=0.9)
    found = sn.sparsify(network(), train, valid, recipe, batch_size=64)
    left = found.result.multiply_adds["after"] / found.result.multiply_adds["before"]
    assert left < 0.45
    assert [n for n in found.notes if n.startswith(f"Target passed: {100 * left:.1f}% of the mult")]


def test_zeros_of_every_kind_stay_while_the_shrunk_model_is_finetuned(digits):
    """Also those that are of no group that a shrink knows: blocks, and single weights."""
    train, valid, test = digits
    model = network()
    kernel = model.get_layer("fc1").kernel
    dead = np.random.default_rng(0).random(kernel.shape) < 0.4
    kernel.assign(np.where(dead, 0, kernel))
    done = sn.shrink(model, train, valid, test, PHASE, batch_size=64)
    found = done.model.get_layer("fc1").kernel
    assert found.shape == kernel.shape
    np.testing.assert_array_equal(np.asarray(found) == 0, dead)


def test_a_target_of_bytes_between_devices_is_met(digits):
    """By blocks of a placement of one's own: every other channel on the second device."""
    train, valid, _ = digits
    placement = {"fc1": [range(0, 24, 2), range(1, 24, 2)]}
    plan = {"num_devices": 2, "placement": placement, "momentum": 0.0, "nesterov": False}
    recipe = sn.SparsityRecipe(
        blocks=0.02, epochs=10, rate=0.5, l2=0.0, target_bytes=0.7, growth=3.0, **plan
    )
    model = network()
    found = sn.sparsify(model, train, valid, recipe, batch_size=64)
    crossing = found.result.bytes_crossing
    divided = sn.divide_model(model, 2, placement)
    assert crossing["after"] == divided.bytes_crossing <= 0.7 * crossing["before"]
    assert found.result.strength > 1
    assert all(note.startswith("Target passed") for note in found.notes)
    assert f"example: {crossing['before']:,}, {crossing['after']:,} left" in str(found)


def test_a_run_without_zeros_says_which_strength_would_make_some(digits):
    train, valid, _ = digits
    recipe = dataclasses.replace(QUICK, spaces=0.001, target_params=0.5)
    found = sn.sparsify(network(), train, valid, recipe, batch_size=64)
    none, missed = found.notes
    assert not any(found.result.zero_groups.values())
    wanted = 0.001 * found.result.needed_factor
    assert none.startswith("No group became zero") and f"`spaces={wanted:.2g}`" in none
    assert "100.0% of the weights of kernels left (`target_params=0.5`)" in missed
    # That strength does make zeros, unless the loss pushes back; ten times as much surely.
    enough = dataclasses.replace(QUICK, spaces=10 * wanted)
    assert any(
        sn.sparsify(network(), train, valid, enough, batch_size=64).result.zero_groups.values()
    )


def test_a_run_without_a_dead_kernel_names_the_structure_for_networks_with_norms(digits):
    train, valid, _ = digits
    recipe = sn.SparsityRecipe(depth={"fc1": 1e-6}, epochs=1, rate=0.1, l2=0.0)
    (note,) = sn.sparsify(network(), train, valid, recipe, batch_size=64).notes
    assert note.startswith("No group") and "take `layers` in place of `depth`" in note


def test_a_run_that_took_all_away_says_so(digits):
    train, valid, _ = digits
    recipe = dataclasses.replace(QUICK, spaces=50.0)
    found = sn.sparsify(network(), train, valid, recipe, batch_size=64)
    assert found.result.valid_accuracy < 0.15  # ten classes
    (note,) = found.notes
    assert "is little more than chance: too much was taken away; lower `spaces`." in note


def test_strengths_by_layer_and_the_authors_update(digits, tmp_path):
    train, valid, _ = digits
    recipe = sn.SparsityRecipe(
        shapes={"conv1": 0.5}, epochs=2, rate=0.05, update="subgradient", threshold=0.01
    )
    model = convolutions()
    found = sn.sparsify(model, train, valid, recipe, batch_size=64, run=tmp_path / "a")
    assert (
        list(found.result.groups) == ["shapes/conv1"] and found.result.groups["shapes/conv1"] == 25
    )
    kernel = to_numpy(model.get_layer("conv1").kernel)
    assert found.result.zero_groups["shapes/conv1"] == (kernel == 0).all(axis=(2, 3)).sum() > 0
    assert read_json(tmp_path / "a" / "config.json")["shapes"] == ["conv1: 0.5"]


def test_a_chosen_selection_is_applied_first(trained, digits):
    _, sparse, _, _ = trained
    train, valid, test = digits
    model = network()
    chosen = random_like(model, sparse.selection, seed=1)
    done = sn.shrink(model, train, valid, test, PHASE, selection=chosen, batch_size=64)
    kept = [len(s.indices) for s in sparse.selection.spaces]
    assert [len(s.indices) for s in done.selection.spaces] == kept
    assert done.model.get_layer("fc1").units == kept[0]


def test_selections_by_name(trained, tmp_path):
    model, sparse, _, folder = trained
    file = folder / "sparse" / SELECTION
    assert choose_selection(model) == choose_selection(model, selection=file)
    norms = choose_selection(model, "norms", keep=0.5)
    assert [len(s.indices) for s in norms.spaces] == [12, 8]
    for how in ({"keep": 0.25}, {"selection": file}):
        assert choose_selection(model, "random", **how).method == "random"
    for how, sentence in (
        ({"keep": 0.5}, "`keep` has no effect with `method=zeros`"),
        ({"structure": "depth"}, "`structure` has no effect with `method=zeros`"),
        ({"method": "norms"}, "`method=norms` needs `keep` or `threshold`, one of them"),
        ({"method": "best"}, "`method` must be one of zeros, norms, random"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            choose_selection(model, **how)


def test_what_cannot_be_is_refused_before_training(digits, tmp_path):
    train, valid, _ = digits
    for recipe, sentence in (
        (dataclasses.replace(QUICK, warmup_epochs=1), "leave no step of 39 with the whole penalty"),
        (dataclasses.replace(QUICK, spaces={"fc9": 1.0}), "'fc9' is no channel space"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            sn.sparsify(network(), train, valid, recipe, run=tmp_path / "no")
    open_size = sn.models.resnet_cifar(8, 0.25, 10, (None, None, 1))
    with pytest.raises(ArgumentError, match="`target_flops` cannot be counted"):
        sn.sparsify(open_size, train, valid, dataclasses.replace(QUICK, target_flops=0.5))
    with pytest.raises(ArgumentError, match="`ema` must be 0"):
        dataclasses.replace(QUICK, ema=0.9)
    assert not (tmp_path / "no").exists()
    sn.sparsify(network(), train, valid, QUICK, run=tmp_path / "a", loop=sn.Loop(max_steps=1))
    with pytest.raises(RunError, match="spaces 0.2 -> 0.3"):
        other = dataclasses.replace(QUICK, spaces=0.3)
        sn.sparsify(network(), train, valid, other, run=tmp_path / "a", loop=sn.Loop(max_steps=1))


def test_evaluations_beside_the_whole_model(trained, digits):
    model, _, small, _ = trained
    found = sn.compare(model, small.model, digits[2])
    assert list(found.models) == ["whole", "shrunk"]
    assert "fewer parameters" in str(found)
