"""Grouped layers and models: nothing added but losses, shared variables, round trips."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.grouping import Assignment, GroupedConv2D, GroupedDense, SplitLosses
from splitnet_tf.grouping import grouped_layers as module
from tests.conftest import scramble, small_alexnet, to_numpy
from tests.grouping.test_regularizers import (
    slow_balance,
    slow_disjointness,
    slow_group_weight,
    softmax,
)


def small_wrn():
    return scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)))


def grouped_wrn(sections=(("unit_2_0", 2), ("unit_3_0", 4)), **settings):
    plain = small_wrn()
    plan = sn.SplitPlan.from_sections(plain, sections)
    return plain, plan, sn.group_model(plain, plan, seed=0, **settings)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


@pytest.mark.parametrize("make", [small_wrn, lambda: scramble(small_alexnet())])
def test_grouping_adds_losses_and_nothing_else(make):
    """Promise 1."""
    plain = make()
    start = "unit_2_0" if "wrn" in plain.name else "fc6"
    plan = sn.SplitPlan.from_sections(plain, [(start, 2)])
    before = [w.numpy().copy() for w in plain.weights]
    grouped = sn.group_model(plain, plan)
    x = np.random.default_rng(1).normal(size=(3, *plain.input_shape[1:])).astype("float32")
    np.testing.assert_array_equal(to_numpy(grouped(x)), to_numpy(plain(x)))
    own = {w.path: w.numpy() for w in grouped.weights}
    for weight, value in zip(plain.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
        np.testing.assert_array_equal(own[weight.path], value)
    assert len(grouped.losses) == 3


def test_beta_of_a_layer_is_alpha_of_the_next():
    _, _, grouped = grouped_wrn()
    first, second = (grouped.get_layer(f"unit_3_0_conv_{i}") for i in (1, 2))
    assert first.beta is second.alpha
    assert grouped.get_layer("unit_3_0_shortcut").beta is second.beta
    assert first.alpha is grouped.get_layer("unit_2_0_conv_2").beta
    # Every variable is counted once.
    spaces = sn.split_losses(grouped).assignments()
    assert sum(w.name == "logits" for w in grouped.trainable_weights) == len(spaces)


def test_memberships_are_merged_for_the_lower_section():
    """p_g of the lower section is the sum over its subgroups; columns sum to 1 (promise 4)."""
    _, plan, grouped = grouped_wrn()
    lower, upper = grouped.get_layer("unit_2_0_conv_2"), grouped.get_layer("unit_3_0_conv_1")
    space = next(a for a in sn.split_losses(grouped).assignments() if a.logits is lower.beta)
    space.logits.assign(np.random.default_rng(0).normal(size=space.logits.shape))
    fine = softmax(space.logits.numpy())
    np.testing.assert_allclose(to_numpy(upper.p), fine, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(lower.q), [fine[0] + fine[1], fine[2] + fine[3]], rtol=1e-5)
    for layer in sn.split_losses(grouped).grouped_layers():
        np.testing.assert_allclose(np.sum(to_numpy(layer.p), axis=0), 1, rtol=1e-6)
        np.testing.assert_allclose(np.sum(to_numpy(layer.q), axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "weighted"])
@pytest.mark.parametrize("scaling", ["unit", "paper"])
def test_model_losses_are_the_equations(images, scaling, reduction):
    gammas = (0.7, 1.3, 2.1)
    _, _, grouped = grouped_wrn(
        gamma1=gammas[0], gamma2=gammas[1], gamma3=gammas[2], scaling=scaling, reduction=reduction
    )
    losses = sn.split_losses(grouped)
    rng = np.random.default_rng(0)
    for assignment in losses.assignments():
        assignment.logits.assign(rng.normal(size=assignment.logits.shape))
    weights = np.array(
        [
            slow_group_weight(
                to_numpy(layer.kernel).astype("float64"),
                to_numpy(layer.p),
                to_numpy(layer.q),
                scaling,
            )
            for layer in losses.grouped_layers()
        ]
    )
    r_w = weights.mean() if reduction == "mean" else (weights**2).sum() / weights.sum()
    p = [to_numpy(a.p()).astype("float64") for a in losses.assignments()]
    expected = [
        r_w,
        np.mean([slow_disjointness(x, scaling) for x in p]),
        np.mean([slow_balance(x, scaling) for x in p]),
    ]
    grouped(images)
    found = [float(value) for value in grouped.losses]
    # The least value of R_E, at groups of equal size, is no loss.
    least = [1.0 if scaling == "unit" else x.shape[1] ** 2 / len(x) for x in p]
    losses_of = np.multiply(gammas, np.subtract(expected, [0, 0, np.mean(least)]))
    np.testing.assert_allclose(found, losses_of, rtol=1e-5, atol=1e-6 * max(expected))
    assert list(losses.terms()) == ["group_weight", "disjointness", "balance"]
    losses.strength.assign([0, 0, 0])
    grouped(images)
    assert [float(value) for value in grouped.losses] == [0, 0, 0]


def test_a_kernel_reads_a_space_repeated_by_flatten():
    plain = small_alexnet()
    plan = sn.SplitPlan.from_sections(plain, [("fc6", 2)])
    grouped = sn.group_model(plain, plan, seed=1)
    layer = grouped.get_layer("fc6")
    assert layer.p.shape == (2, layer.kernel.shape[0])
    channels = layer.in_assignments[0].size
    p = to_numpy(layer.p)
    np.testing.assert_array_equal(p[:, :channels], p[:, channels : 2 * channels])


def test_grouped_model_survives_its_file(tmp_path, images):
    _, _, grouped = grouped_wrn(gamma1=0.5, reduction="weighted")
    rng = np.random.default_rng(0)
    for assignment in sn.split_losses(grouped).assignments():
        assignment.logits.assign(rng.normal(size=assignment.logits.shape))
    path = tmp_path / "grouped.keras"
    grouped.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(to_numpy(loaded(images)), to_numpy(grouped(images)))
    assert [float(v) for v in loaded.losses] == [float(v) for v in grouped.losses]
    assert len(loaded.weights) == len(grouped.weights)
    assert loaded.get_layer("unit_3_0_conv_1").beta is loaded.get_layer("unit_3_0_conv_2").alpha
    assert sn.read_grouping(loaded) == sn.read_grouping(grouped)


def test_fit_trains_weights_and_assignments(images):
    _, _, grouped = grouped_wrn()
    grouped.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    layer = grouped.get_layer("unit_3_0_conv_1")
    before = [np.array(v) for v in (layer.kernel, layer.alpha)]
    grouped(images)
    extra = sum(float(v) for v in grouped.losses)
    history = grouped.fit(images, np.array([0, 1, 2]), verbose=0)
    for variable, value in zip((layer.kernel, layer.alpha), before, strict=True):
        assert np.abs(np.array(variable) - value).max() > 0
    assert history.history["loss"][0] > extra > 0.1


def test_every_registered_class_is_in_the_round_trip():
    """Fails when a serializable class is added without a test of its round trip."""
    package = keras.saving.get_custom_objects()
    names = {k for k in package if k.startswith("splitnet_tf>")}
    tested = {*(f"Grouped{kind}" for kind in CONVOLUTIONS), "GroupedDense", "Assignment"}
    tested |= {"SplitLosses", "CrossEntropy", "BinaryCrossEntropy", "SGD", "AdamW"}
    tested |= {"CropAndFlip", "CropAndRandAugment", "ResizedCrop"}  # in tests/recipe
    tested |= {"Rate", "TaughtCrossEntropy"}
    tested |= {"KeepZeros", "ProximalStep", "ThresholdStep"}  # in tests/sparsity, once imported
    assert names <= {f"splitnet_tf>{n}" for n in tested}


CONVOLUTIONS = ["Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D"]
CONVOLUTIONS += [f"Conv{rank}DTranspose" for rank in (1, 2, 3)]


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_grouped_convolutions_of_every_kind(tmp_path, kind):
    rank = int(kind[kind.index("D") - 1])
    inputs = keras.Input((6,) * rank + (4,))
    conv = getattr(keras.layers, kind)
    pool = getattr(keras.layers, f"GlobalAveragePooling{rank}D")
    x = conv(4, 3, activation="relu", name="a")(inputs)
    x = conv(6, 3, name="b")(x)
    plain = scramble(keras.Model(inputs, keras.layers.Dense(4, name="c")(pool()(x))))
    grouped = sn.group_model(plain, sn.SplitPlan.from_sections(plain, [("b", 2)]), seed=0)
    assert type(grouped.get_layer("b")) is getattr(module, f"Grouped{kind}")
    grouped.save(tmp_path / "g.keras")
    loaded = keras.models.load_model(tmp_path / "g.keras")
    x = np.random.default_rng(0).normal(size=(2, *inputs.shape[1:])).astype("float32")
    np.testing.assert_array_equal(to_numpy(grouped(x)), to_numpy(plain(x)))
    losses = grouped.losses
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(plain(x)))
    assert [float(v) for v in loaded.losses] == [float(v) for v in losses]


def test_a_last_layer_used_twice_adds_its_losses_once():
    shared = keras.layers.Dense(6, name="shared")
    inputs = keras.Input((6,))
    plain = keras.Model(inputs, shared(shared(inputs)))
    grouped = sn.group_model(plain, sn.SplitPlan.from_sections(plain, [("shared", 2)]))
    for _ in range(2):
        grouped(np.ones((2, 6), "float32"))
        assert len(grouped.losses) == 3


def test_half_precision_computes_losses_in_full():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain = keras.Sequential(
            [keras.Input((8,)), keras.layers.Dense(6, name="a"), keras.layers.Dense(4, name="b")]
        )
        grouped = sn.group_model(plain, sn.SplitPlan.from_sections(plain, [("a", 2)]))
    finally:
        keras.config.set_dtype_policy("float32")
    grouped(np.ones((2, 8), "float32"))
    assert {keras.backend.standardize_dtype(v.dtype) for v in grouped.losses} == {"float32"}


def test_sections_in_place_of_a_plan():
    plain, plan, grouped = grouped_wrn()
    again = sn.group_model(plain, [("unit_2_0", 2), ("unit_3_0", 4)], seed=0)
    assert sn.plan_of(again) == sn.plan_of(grouped)
    assert [s.name for s in sn.plan_of(again).spaces] == [s.name for s in plan.spaces]
    with pytest.raises(sn.PlanError, match="A section must be"):
        sn.group_model(plain, "unit_2_0")


def test_a_plan_for_another_model_is_refused():
    plan = sn.SplitPlan.from_sections(small_alexnet(), [("fc6", 2)])
    with pytest.raises(sn.PlanError, match="made for another model: it splits layer 'fc6'"):
        sn.group_model(small_wrn(), plan)


def test_a_plain_model_has_no_split_losses():
    with pytest.raises(sn.GroupingError, match="no grouped layers"):
        sn.split_losses(small_alexnet())


def test_layers_can_be_put_together_by_hand():
    losses = SplitLosses(1.0, 1.0, 1.0)
    spaces = [Assignment(2, n, seed=n) for n in (3, 4, 5)]

    def sides(i):
        return dict(
            num_groups=2,
            split_losses=losses,
            in_assignments=[spaces[i]],
            in_layout=[0],
            in_merges=[(0, 1)],
            out_assignments=[spaces[i + 1]],
            out_layout=[0],
            out_merges=[(0, 1)],
        )

    inputs = keras.Input((4, 4, 3))
    x = GroupedConv2D(4, 3, name="conv", **sides(0))(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, GroupedDense(5, name="dense", **sides(1))(x))
    model(np.ones((1, 4, 4, 3), "float32"))
    assert len(model.losses) == 3
