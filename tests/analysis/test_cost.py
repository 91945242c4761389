"""Costs against the numbers of the paper and of design tables, and against Keras."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.analysis import agreement, text_table
from splitnet_tf.analysis.cost import with_input_shapes
from splitnet_tf.errors import PlanError
from tests.conftest import small_alexnet


@pytest.fixture(scope="module")
def wrn():
    return sn.models.wide_resnet()


@pytest.fixture(scope="module")
def alexnet():
    return sn.models.alexnet()


WRN = [
    (None, 11.00, 3.10),
    ([("logits", 4)], 10.96, 3.10),
    ([("unit_3_0", 2), ("logits", 2)], 6.78, 2.56),
    ([("unit_2_0", 2), ("unit_3_0", 2), ("logits", 2)], 5.73, 2.02),
    ([("unit_2_0", 2), ("unit_3_0", 4), ("logits", 4)], 3.62, 1.75),
]
ALEXNET = [
    (None, 62.377, 2.278),
    ([("fc6", 1), ("fc7", 1), ("fc8", 3)], 59.646, 2.273),
    ([("fc6", 1), ("fc7", 2), ("fc8", 5)], 50.712, 2.255),
    ([("fc6", 2), ("fc7", 4), ("fc8", 8)], 27.336, 2.208),
    ([("conv4", 2)], 31.960, 1.846),
]


def rounded(model, sections, digits):
    plan = sn.SplitPlan.from_sections(model, sections) if sections else None
    found = sn.cost(model, plan)
    return round(found.params / 1e6, digits), round(found.flops / 1e9, digits)


@pytest.mark.parametrize(("sections", "params", "flops"), WRN)
def test_wide_resnet_16_8(wrn, sections, params, flops):
    assert rounded(wrn, sections, 2) == (params, flops)


@pytest.mark.parametrize(("sections", "params", "flops"), ALEXNET)
def test_alexnet(alexnet, sections, params, flops):
    assert rounded(alexnet, sections, 3) == (params, flops)


def test_parameters_are_those_keras_counts(wrn):
    """All but batch norm, which the paper leaves out."""
    norms = [x for x in wrn.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert sn.cost(wrn).params == wrn.count_params() - sum(x.count_params() for x in norms)


def test_flops_by_hand():
    model = small_alexnet()
    by_name = {row.name: row for row in sn.cost(model).layers}
    assert by_name["conv1"].params == 3 * 3 * 3 * 6  # without its bias
    assert by_name["conv1"].flops == 2 * 3 * 3 * 3 * 6 * 10 * 10
    assert by_name["conv2"].flops == 2 * 3 * 3 * 6 * 7 * 5 * 5
    assert by_name["fc6"].params == 175 * 16 + 16
    assert by_name["fc6"].flops == 2 * 175 * 16 + 16


def test_inputs_of_no_fixed_shape_are_refused():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    for plan in (None, sn.SplitPlan.from_sections(model, [("logits", 2)])):
        with pytest.raises(sn.PlanError, match="'conv' .Conv2D. is applied at a number of places"):
            sn.cost(model, plan)


def test_a_layer_used_twice_counts_its_kernel_once():
    inputs = keras.Input((6,))
    dense = keras.layers.Dense(6)
    found = sn.cost(keras.Model(inputs, dense(dense(inputs))))
    assert (found.params, found.flops) == (42, 2 * (72 + 6))


def test_agreement_of_groups():
    supers = np.repeat(np.arange(4), 5)
    same = agreement(supers // 2, supers)
    assert same.together == 1.0
    assert same.nmi == pytest.approx(2 / 3)  # ln 2 shared, (ln 2 + ln 4) / 2 the mean
    assert agreement(supers, supers).nmi == pytest.approx(1.0)
    mixed = agreement(np.tile([0, 1], 10), supers)
    assert mixed.nmi < 0.05 < mixed.random_nmi + 5 * mixed.random_nmi_std


def test_tables_line_up():
    assert text_table(("a", "b"), [("x", 10), ("long", 2)]).splitlines() == [
        "a      b",
        "----  --",
        "x     10",
        "long   2",
    ]


def mixed_net():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, name="a")(inputs)
    x = keras.layers.DepthwiseConv2D(3, name="b")(x)
    x = keras.layers.SeparableConv2D(6, 3, use_bias=False, name="c")(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(5, name="d")(x))


@pytest.mark.parametrize(
    "make", [sn.models.wide_resnet, sn.models.alexnet, lambda: sn.models.resnet(50), mixed_net]
)
def test_flops_are_those_that_tensorflow_counts(make):
    """TensorFlow's profiler, its convolutions and matrix products; dense biases by hand."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow's profiler counts TensorFlow's graphs")
    import tensorflow as tf

    model = make()
    spec = tf.TensorSpec((1, *model.input_shape[1:]))
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    found = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    by_kind = {}
    while True:
        by_kind[found.name] = found.total_float_ops
        if not found.children:
            break
        found = found.children[0]
    kinds = list(by_kind)
    # Totals run from each kind to the last; a kind's own share is the difference.
    own = {
        k: by_kind[k] - (by_kind[kinds[i + 1]] if i + 1 < len(kinds) else 0)
        for i, k in enumerate(kinds)
    }
    counted = sum(own.get(k, 0) for k in ("Conv2D", "MatMul", "DepthwiseConv2dNative"))
    biases = sum(x.units for x in model.layers if isinstance(x, keras.layers.Dense))
    assert sn.cost(model).flops == counted + biases


@pytest.mark.parametrize(
    ("depth", "width", "params"),
    # torchvision's models, batch norm included: 11,689,512, 21,797,672 and 25,557,032.
    [(18, 1, 11_689_512), (34, 1, 21_797_672), (50, 1, 25_557_032)],
)
def test_resnets_are_those_of_torchvision(depth, width, params):
    model = sn.models.resnet(depth, width)
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == params


def test_inputs_of_any_size_count_as_those_of_a_size():
    def make(size):
        inputs = keras.Input((size, size, 3))
        x = layers.Conv2D(8, 3, name="a")(inputs)
        x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(6, 3, name="b")(x))
        return keras.Model(inputs, layers.Dense(4, name="logits")(x))

    model, fixed = make(None), make(9)
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    assert sn.cost(model, input_size=9) == sn.cost(fixed)
    assert sn.cost(model, plan, input_size=9) == sn.cost(fixed, plan)
    assert sn.suggest_cuts(model, input_size=9).cuts == sn.suggest_cuts(fixed).cuts
    with pytest.raises(PlanError, match="Layer 'a' .Conv2D.*give `input_size`, or the model"):
        sn.cost(model)
    with pytest.raises(PlanError, match="cannot take inputs of `input_size=3`"):
        sn.cost(model, input_size=3)
    assert sn.cost(with_input_shapes(model, [fixed.input_shape[1:]])) == sn.cost(fixed)


@pytest.mark.parametrize(
    "equation, output_shape, products",
    [
        ("ab,bc->ac", 7, 6 * 7),
        ("abc,cd->abd", (None, 7), 5 * 6 * 7),
        ("...c,cd->...d", 7, 210),
    ],
)
def test_einsum_dense_counts_the_products_of_its_equation(equation, output_shape, products):
    inputs = keras.Input((6,) if equation == "ab,bc->ac" else (5, 6))
    made = layers.EinsumDense(equation, output_shape, bias_axes=None)(inputs)
    found = sn.cost(keras.Model(inputs, made))
    assert (found.params, found.flops) == (6 * 7, 2 * products)


def test_a_layer_that_leaves_its_shape_open_is_named():
    inputs = keras.Input((5, 6))
    x = layers.EinsumDense("abc,cd->abd", (None, 7), name="open")(inputs)
    model = keras.Model(inputs, layers.Dense(4)(x))
    with pytest.raises(PlanError, match="Layer 'open' .EinsumDense. leaves the shape of its"):
        sn.cost(model)
