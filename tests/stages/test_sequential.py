"""A built ``keras.Sequential`` goes through every public function that takes a model."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn

ONE_STEP = sn.Loop(max_steps=1)
PHASE = sn.Phase(rate=0.01)


def stacked(end=None):
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="fc"),
            layers.Dense(4, activation=end, name="logits"),
        ]
    )


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(40, 6, 6, 1)).astype("float32"), np.arange(40) % 4


def test_a_sequential_model_is_trained_in_place_and_measured(data):
    model = stacked()
    before = model.get_weights()
    sn.finetune(model, data, data, PHASE, loop=ONE_STEP)
    assert all((a != b).any() for a, b in zip(before[:2], model.get_weights()[:2], strict=True))
    found = sn.compare(model, sn.plain_copy(model), data)
    answers = model.predict(data[0], verbose=0).argmax(1)
    assert found.models["whole"].top1 == np.mean(answers == data[1])
    assert found.models["shrunk"].top1 == found.models["whole"].top1
    assert sn.cost(model).params == 3 * 3 * 4 + 64 * 8 + 8 + 8 * 4 + 4
    with pytest.raises(sn.PlanError, match="call Sequential.build"):
        sn.finetune(keras.Sequential([layers.Dense(4)]), data, data, PHASE)


@pytest.mark.slow
def test_a_sequential_model_goes_through_both_methods(data, tmp_path):
    model, teacher = stacked(), stacked()
    recipe = sn.SparsityRecipe(spaces=0.1, rate=0.01)
    sn.sparsify(model, data, data, recipe, loop=ONE_STEP, run=tmp_path / "sparse")
    loaded = keras.models.load_model(tmp_path / "sparse" / "sparse.keras")
    assert isinstance(loaded, keras.Sequential)
    selection = sn.sparsity.select_by_norms(loaded, keep=0.5)
    small = sn.shrink(
        loaded, data, data, data, PHASE, selection=selection, loop=ONE_STEP, teacher=teacher
    )
    assert small.model.get_layer("conv").filters == 2
    assert sn.sparse_model(model, sn.SparsityPlan(spaces=0.1)).count_params() == 612

    assert "logits" in str(sn.suggest_cuts(model))
    grouped = sn.group_model(model, [("fc", 2), ("logits", 2)])
    few = sn.GroupingRecipe(warmup_epochs=0, epochs=1)
    sn.learn_groups(grouped, data, data, few, method="balanced")
    grouping = sn.read_grouping(grouped, method="balanced")
    cut = sn.split(grouped, grouping, data, data, data, PHASE, loop=ONE_STEP, teacher=teacher)
    assert cut.tree.model.output_shape == (None, 4)
    manifest = sn.export_tree(model, tmp_path / "export")
    assert manifest["model"] == model.name
    sn.recalibrate_batch_norm(model, [data[0]])
    statistics = model.layers[1].moving_mean
    mean = model.get_layer("conv")(data[0]).numpy().mean((0, 1, 2))
    np.testing.assert_allclose(statistics, mean, atol=1e-5)


@pytest.mark.parametrize(
    ("end", "words"),
    [("softmax", r"softmax.*logits_model\(model\)"), ("sigmoid", r"sigmoid.*multi_label=True")],
)
def test_a_function_at_the_end_is_refused(data, end, words):
    with pytest.raises(sn.ArgumentError, match=words):
        sn.sparsify(stacked(end), data, data, sn.SparsityRecipe(spaces=0.1))
