"""The method from Python, on a model and data of one's own."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import splitnet_tf as sn
from splitnet_tf.runs.names import GROUPED, GROUPING, RESULT, TREE
from splitnet_tf.runs.results import GroupResult
from splitnet_tf.storage.models import load_model
from tests.stages.conftest import SECTIONS, make_network, one_hot

RECIPE = sn.GroupingRecipe(epochs=8, warmup_epochs=5, rate=0.1, l2=0.0)
PHASE = sn.Phase(epochs=1, rate=0.02, l2=0.0)
EARLY = dataclasses.replace(RECIPE, warmup_epochs=3)
QUICK = dataclasses.replace(RECIPE, epochs=0.2, warmup_epochs=0)


def group(network, **more):
    return sn.group_model(network, SECTIONS, seed=2, **more)


@pytest.fixture(scope="module")
def learned(arrays, tmp_path_factory):
    """The whole chain, once."""
    train, valid, test = arrays
    folder = tmp_path_factory.mktemp("run") / "group"
    grouped = group(make_network())
    found = sn.learn_groups(grouped, train, valid, RECIPE, run=folder, test=test)
    return grouped, found, folder


def test_groups_are_decided_while_the_network_keeps_its_accuracy(learned, arrays):
    grouped, found, _ = learned
    images, labels = arrays[2]
    assert all(found.grouping.classes.members) and found.off_block_energy < 0.01
    right = np.argmax(grouped.predict(images, verbose=0), axis=1) == labels
    assert found.result.test_accuracy == pytest.approx(right.mean(), abs=1e-6)
    assert right.mean() > 0.9  # 0.125 by chance


def test_what_was_learned_is_in_the_run_folder_and_prints(learned):
    grouped, found, folder = learned
    assert sn.Grouping.load(folder / GROUPING) == found.grouping
    assert GroupResult.read(folder) == found.result
    kept = load_model(folder / GROUPED)
    for one, other in zip(kept.get_weights(), grouped.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    text = str(found)
    assert "group 0 (4 classes): " in text and "of the energy off the blocks" in text
    losses = sn.split_losses(grouped)
    assert found.result.group_weight == pytest.approx(float(losses.terms()["group_weight"]))
    assert set(found.result.moved) == {"classes", "features"} and "left the group" in text
    assert found.result.nmi is None


def test_gates_close_and_the_tree_is_what_was_trained(arrays, tmp_path):
    """Nothing is off the blocks then; a run that is finished says the same again."""
    train, valid, _ = arrays
    recipe = dataclasses.replace(QUICK, assignment_start="exchange", gamma2_delay=0.5, start_p=0.6)
    more = {"loop": sn.Loop(max_steps=6), "run": tmp_path, "superclasses": np.arange(8) // 4}
    grouped, again = (group(make_network(), gates=True) for _ in range(2))
    found = sn.learn_groups(grouped, train, valid, recipe, **more)
    assert sn.learn_groups(again, train, valid, recipe, **more) == found
    for one, other in zip(grouped.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.off_block_energy == 0 and 0 <= found.result.nmi <= 1
    tree = sn.split_model(grouped, found.grouping)
    whole, cut = (m.predict(valid[0], verbose=0) for m in (grouped, tree.model))
    np.testing.assert_allclose(whole, cut, atol=1e-4)


def test_a_modern_phase_mixes_examples_and_averages_weights(arrays, tmp_path):
    """The same call goes on from its end; the accuracy is that of the averaged weights."""
    train, valid, _ = arrays
    phase = dataclasses.replace(PHASE, mixup=0.2, cutmix=1.0, ema=0.9, label_smoothing=0.1)
    networks = [make_network() for _ in range(2)]
    more = {"loop": sn.Loop(max_steps=5), "run": tmp_path, "teacher": make_network()}
    found = [sn.finetune(network, train, valid, phase, **more) for network in networks]
    assert found[0] == found[1]
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)
    right = np.argmax(networks[0].predict(valid[0], verbose=0), axis=1) == valid[1]
    assert found[0].result.valid_accuracy == pytest.approx(right.mean(), abs=1e-6)


@pytest.mark.slow
def test_averages_begin_with_the_assignments(arrays):
    """In the first step after the warm-up they are the weights themselves."""
    found = []
    for ema in (0.0, 0.9):
        recipe = dataclasses.replace(RECIPE, warmup_epochs=0.025, ema=ema)  # a step
        grouped = group(make_network())
        sn.learn_groups(grouped, *arrays[:2], recipe, loop=sn.Loop(max_steps=2), method="balanced")
        found.append([v.numpy() for v in grouped.trainable_variables])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_with_averages_patience_only_ends_the_phase():
    rng = np.random.default_rng(3)
    data = [(rng.normal(size=(64, 6)).astype("float32"), rng.integers(0, 3, 64)) for _ in "ab"]
    found = []
    for patience in (0, 50):
        keras.utils.set_random_seed(1)
        network = sn.models.mlp((8,), num_classes=3, input_shape=(6,))
        phase, loop = sn.Phase(epochs=4, rate=0.3, ema=0.5), sn.Loop(patience=patience)
        sn.finetune(network, *data, phase, loop=loop)
        found.append(network.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_cut_is_checked_and_finetuned(learned, arrays, tmp_path):
    train, valid, test = arrays
    grouped, found, _ = learned
    tree = sn.split_model(grouped, found.grouping)
    assert sn.check_split(grouped, found.grouping, tree, valid) < 1e-4
    sn.recalibrate_batch_norm(tree.model, tf.data.Dataset.from_tensor_slices(train).batch(80))
    done = sn.finetune(tree, train, valid, PHASE, run=tmp_path / "split", test=test)
    images, labels = test
    right = np.argmax(tree.model.predict(images, verbose=0), axis=1) == labels
    assert done.result.test_accuracy == pytest.approx(right.mean(), abs=1e-6)
    assert done.result.test_accuracy > 0.9
    again = sn.SplitTree.load(tmp_path / "split" / TREE).model
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), tree.model.predict(images, verbose=0)
    )


def test_a_tree_of_another_grouping_does_not_pass_the_check(learned, arrays):
    grouped, found, _ = learned
    other = sn.Grouping.even(sn.plan_of(grouped))
    tree = sn.split_model(grouped, other)
    assert other.classes.members != found.grouping.classes.members
    with pytest.raises(sn.RunError, match="differs from the masked model"):
        sn.check_split(grouped, found.grouping, tree, arrays[1])


def test_the_whole_chain_in_one_call(learned, arrays, tmp_path):
    train, valid, test = arrays
    grouped, found, _ = learned
    done = sn.split(
        grouped, found.grouping, train, valid, test, PHASE, run=tmp_path, recalibrate_batches=4
    )
    assert list(done.result.test_accuracy) == ["before", "cut", "recalibrated", "finetuned"]
    assert done.result.test_accuracy["before"] == found.result.test_accuracy
    assert done.result.params["after"] == sn.cost(done.tree.model).params
    assert done.result.params["after"] < done.result.params["before"]
    assert (tmp_path / TREE).is_file() and (tmp_path / RESULT).is_file()
    assert "after finetuning" in str(done) and "million" in str(done)


def test_a_run_goes_on_where_it_stopped(arrays, tmp_path):
    """Two steps and then the rest make the weights of all at once."""
    train, valid, _ = arrays
    whole = group(make_network())
    sn.learn_groups(whole, train, valid, QUICK, loop=sn.Loop(max_steps=4), method="balanced")
    first = group(make_network())
    sn.learn_groups(
        first, train, valid, QUICK, loop=sn.Loop(max_steps=4), method="balanced", run=tmp_path / "a"
    )
    for one, other in zip(whole.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    again = group(make_network())
    sn.learn_groups(
        again, train, valid, QUICK, loop=sn.Loop(max_steps=4), method="balanced", run=tmp_path / "a"
    )
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_folder_of_other_settings_is_refused(arrays, tmp_path):
    train, valid, _ = arrays
    more = {"loop": sn.Loop(max_steps=2), "method": "balanced", "run": tmp_path}
    sn.learn_groups(group(make_network()), train, valid, QUICK, **more)
    with pytest.raises(sn.RunError, match="rate 0.1 -> 0.5"):
        faster = dataclasses.replace(QUICK, rate=0.5)
        sn.learn_groups(group(make_network()), train, valid, faster, **more)
    with pytest.raises(sn.RunError, match="starting_weights"):
        other = make_network()
        other.get_layer("conv1").kernel.assign(0 * other.get_layer("conv1").kernel)
        sn.learn_groups(group(other), train, valid, QUICK, **more)


@pytest.mark.parametrize("kind", ["dataset", "pydataset", "one_hot"])
def test_data_of_each_kind(arrays, kind):
    (x, y), (valid_x, valid_y), _ = arrays
    train, valid = (x, y), (valid_x, valid_y)
    if kind == "one_hot":
        train, valid = (x, one_hot(y)), (valid_x, one_hot(valid_y))
    elif kind == "dataset":
        train, valid = (tf.data.Dataset.from_tensor_slices(d).batch(64) for d in (train, valid))
    else:

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 20

            def __getitem__(self, k):
                return x[64 * k : 64 * k + 64], y[64 * k : 64 * k + 64]

        train = Batches()
    found = sn.learn_groups(
        group(make_network()), train, valid, QUICK, loop=sn.Loop(max_steps=3), method="balanced"
    )
    assert found.result.steps == 3 and 0 <= found.result.valid_accuracy <= 1


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_a_global_policy_of_mixed_precision(arrays, policy):
    train, valid, test = arrays
    grouped = group(make_network())
    assert grouped.get_layer("conv2").compute_dtype == policy.removeprefix("mixed_")
    found = sn.learn_groups(
        grouped, train, valid, RECIPE, loop=sn.Loop(max_steps=205), test=test, method="balanced"
    )
    assert found.result.test_accuracy > 0.8  # 0.125 by chance
    assert all(w.dtype == "float32" for w in grouped.trainable_weights)
    tree = sn.split_model(grouped, found.grouping)
    sn.finetune(tree, train, valid, PHASE, loop=sn.Loop(max_steps=3))


def test_class_weights_change_what_is_learned(arrays):
    """A class of weight 0 is never answered, as its examples say nothing."""
    train, valid, (images, _) = arrays
    grouped = group(make_network())
    weights = {0: 0.0, 1: 3.0}
    sn.learn_groups(
        grouped,
        train,
        valid,
        EARLY,
        loop=sn.Loop(max_steps=125),
        method="balanced",
        class_weight=weights,
    )
    answers = np.argmax(grouped.predict(images, verbose=0), axis=1)
    counts = np.bincount(answers, minlength=8)
    assert counts[0] == 0 and counts[1] > 0


def test_several_outputs_of_which_one_is_grouped(arrays):
    (x, y), (valid_x, valid_y), _ = arrays
    network = make_network(("logits", "brightness"))
    grouped = group(network)
    loss = sn.HeadLosses(
        {"logits": sn.CrossEntropy(), "brightness": keras.losses.MeanSquaredError()}, main="logits"
    )

    def both(images, labels):
        return images, {"logits": labels, "brightness": images.mean(axis=(1, 2, 3))[:, None]}

    found = sn.learn_groups(
        grouped,
        both(x, y),
        both(valid_x, valid_y),
        RECIPE,
        loss=loss,
        loop=sn.Loop(max_steps=205),
        method="balanced",
    )
    tree = sn.split_model(grouped, found.grouping)
    logits, brightness = tree.model.predict(valid_x, verbose=0)
    assert np.mean(np.argmax(logits, axis=1) == valid_y) > 0.6
    wanted = valid_x.mean(axis=(1, 2, 3))
    assert np.mean((brightness[:, 0] - wanted) ** 2) < 0.5 * np.var(wanted) + 0.01
    assert tree.model.output_names == network.output_names
    tuned = sn.finetune(tree, both(x, y), both(valid_x, valid_y), PHASE, loss=loss).result
    logits, _ = tree.model.predict(valid_x, verbose=0)
    right = np.mean(np.argmax(logits, axis=1) == valid_y)
    assert tuned.valid_accuracy == pytest.approx(right, abs=1e-6)


def test_several_labels_an_image(arrays):
    """A label says its class and the class's group of four."""
    (x, y), (valid_x, valid_y), _ = arrays
    loss = sn.BinaryCrossEntropy()
    grouped = group(make_network())
    train, valid = (x, one_hot(y)), (valid_x, one_hot(valid_y))
    found = sn.learn_groups(
        grouped, train, valid, EARLY, loss=loss, method="balanced", loop=sn.Loop(max_steps=205)
    )
    right = (grouped.predict(valid_x, verbose=0) > 0) == (valid[1] > 0)
    assert found.result.valid_accuracy == pytest.approx(right.mean(), abs=1e-6)
    tree = sn.split_model(grouped, found.grouping)
    sn.finetune(tree, train, valid, PHASE, loss=loss)


def test_a_recipe_that_leaves_no_step_is_refused(arrays):
    train, valid, _ = arrays
    recipe = sn.GroupingRecipe(epochs=1, warmup_epochs=1)
    with pytest.raises(sn.ArgumentError, match="`warmup_epochs=1` leaves no step of 40"):
        sn.learn_groups(group(make_network()), train, valid, recipe)
    with pytest.raises(sn.ArgumentError, match="give no training step"):
        sn.finetune(make_network(), train, valid, sn.Phase(epochs=0))


def test_a_run_goes_on_though_the_assignments_start_from_other_noise(arrays, tmp_path):
    """As in a script that is run again: the model from a file, grouped anew."""
    train, valid, _ = arrays
    more = {"loop": sn.Loop(max_steps=2), "method": "balanced", "run": tmp_path}
    first = sn.learn_groups(
        sn.group_model(make_network(), SECTIONS, seed=2), train, valid, QUICK, **more
    )
    again = sn.learn_groups(
        sn.group_model(make_network(), SECTIONS, seed=3), train, valid, QUICK, **more
    )
    assert again == first


def test_a_softmax_at_the_end_is_refused(arrays):
    network = make_network()
    ends = keras.Model(network.inputs, keras.layers.Softmax()(network.outputs[0]))
    with pytest.raises(sn.ArgumentError, match=r"ends in a softmax.*logits_model\(model\)"):
        sn.finetune(ends, *arrays[:2], PHASE)
    with pytest.raises(sn.ArgumentError, match="ends in a softmax"):
        sn.learn_groups(sn.group_model(ends, SECTIONS), *arrays[:2], RECIPE)
    assert sn.logits_model(ends).output_shape == (None, 8)


def test_a_run_with_an_empty_group_is_read_again_as_its_sentence_says(arrays, tmp_path):
    train, valid, _ = arrays
    more = {"loop": sn.Loop(max_steps=1), "run": tmp_path}

    def collapsed():
        grouped = group(make_network())
        for space in sn.split_losses(grouped).assignments():
            space.assign(np.zeros(space.size, int), 0.9)
        return grouped

    recipe = dataclasses.replace(QUICK, assignment_start="random", pace=0.0)
    with pytest.raises(sn.GroupingError, match=f"`method=balanced` and `run={tmp_path}`"):
        sn.learn_groups(collapsed(), train, valid, recipe, **more)
    found = sn.learn_groups(collapsed(), train, valid, recipe, method="balanced", **more)
    assert [len(m) for m in found.grouping.classes.members] == [4, 4]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"class_weight": {0: 2.0}}, "class_weight"),
        ({"batch_size": 64}, "steps_per_epoch"),
        ({"split_pace": 2.0}, "split_pace"),
        ({"loss": sn.BinaryCrossEntropy()}, "loss"),
    ],
)
def test_what_changes_a_training_is_a_setting_of_its_run(arrays, tmp_path, other, named):
    train, valid, _ = arrays
    more = {"loop": sn.Loop(max_steps=1), "run": tmp_path, "method": "balanced"}
    sn.learn_groups(group(make_network()), train, valid, QUICK, **more)
    with pytest.raises(sn.RunError, match=named):
        sn.learn_groups(group(make_network()), train, valid, QUICK, **{**more, **other})
    # The interval of the display does not.
    more["loop"] = sn.Loop(max_steps=1, display=7)
    sn.learn_groups(group(make_network()), train, valid, QUICK, **more)


@pytest.mark.parametrize("of", ["x", "y"])
def test_a_run_goes_on_with_its_own_arrays_only(arrays, tmp_path, of):
    (x, y), valid, _ = arrays
    more = {"loop": sn.Loop(max_steps=1), "run": tmp_path}
    sn.finetune(make_network(), (x, y), valid, PHASE, **more)
    sn.finetune(make_network(), (x.copy(), y.copy()), valid, PHASE, **more)
    other = (x[::-1], y) if of == "x" else (x, y[::-1])
    with pytest.raises(sn.RunError, match="other settings .data_digest"):
        sn.finetune(make_network(), other, valid, PHASE, **more)


@pytest.mark.parametrize("wrong", [lambda y: y + 1, lambda y: y - 1])
def test_labels_that_the_model_has_no_logit_for_are_refused_before_the_training(arrays, wrong):
    (x, y), valid, _ = arrays
    for weights in (None, {0: 2.0}):
        with pytest.raises(sn.DataError, match="must be from 0 to 7"):
            sn.finetune(make_network(), (x, wrong(y)), valid, PHASE, class_weight=weights)
        with pytest.raises(sn.DataError, match="must be from 0 to 7"):
            sn.learn_groups(group(make_network()), (x, wrong(y)), valid, RECIPE)
