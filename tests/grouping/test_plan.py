"""Plans: what is split, into how many groups, and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from splitnet_tf import models
from splitnet_tf.analysis import suggest_cuts
from splitnet_tf.errors import PlanError
from splitnet_tf.grouping import SplitPlan, group_model
from splitnet_tf.grouping.hierarchy import even_sizes, merge_map, node_names, spread
from splitnet_tf.grouping.levels import calls_named
from tests.conftest import small_alexnet


@pytest.fixture(scope="module")
def wrn():
    return models.wide_resnet(16, 1, 10, (16, 16, 3))


def test_deep_split_of_a_wide_resnet(wrn):
    plan = SplitPlan.from_sections(wrn, [("unit_2_0", 2), ("unit_3_0", 4), ("logits", 4)])
    assert plan.groups == (1, 2, 4)
    kernels = {k.name: k for k in plan.kernels}
    expected = [f"unit_{s}_{u}_conv_{c}" for s in (2, 3) for u in (0, 1) for c in (1, 2)]
    assert sorted(kernels) == sorted(
        [*expected, "unit_2_0_shortcut", "unit_3_0_shortcut", "logits"]
    )
    assert kernels["unit_2_1_conv_2"].num_groups == 2
    assert kernels["unit_3_0_shortcut"].num_groups == 4
    groups = {s.name: s.num_groups for s in plan.spaces}
    # The space that enters the lowest section has variables of its own; the one between the
    # sections carries those of the upper one.
    entering = kernels["unit_2_0_conv_1"].in_spaces[0]
    between = kernels["unit_3_0_conv_1"].in_spaces[0]
    assert groups[entering] == 2
    assert groups[between] == 4
    assert kernels["unit_2_1_conv_2"].out_spaces == (between,)
    assert plan.merge(plan.space(between), 1) == (0, 0, 1, 1)


def test_a_plan_keeps_the_trace_of_its_model(wrn):
    plan = SplitPlan.from_sections(wrn, [("logits", 4)])
    assert plan.trace_of(wrn) is plan.trace
    again = keras.models.clone_model(wrn)
    other = plan.trace_of(again)
    assert other.model is again and other is not plan.trace
    assert plan == SplitPlan.from_sections(again, [("logits", 4)])
    assert "trace" not in repr(plan)


def test_a_model_quantized_after_its_plan_is_traced_anew():
    model = models.mlp((8,), 4, (6,))
    plan = SplitPlan.from_sections(model, [("logits", 2)])
    model.quantize("int8")
    with pytest.raises(PlanError, match="made for another model"):
        plan.trace_of(model)


def test_the_plan_prints_as_a_table(wrn):
    text = str(SplitPlan.from_sections(wrn, [("logits", 4)]))
    header, rule, row = text.splitlines()
    assert header.split("  ")[0] == "layer"
    assert [c for c in row.split() if c] == ["logits", "64x10", "4", "unit_3_0_conv_2", "logits"]


def test_flatten_belongs_to_the_branches():
    plan = SplitPlan.from_sections(small_alexnet(), [("fc6", 2), ("fc8", 3)])
    assert plan.call_levels["flatten"] == plan.call_levels["drop"] == 1
    assert plan.call_levels["bn2"] == 0
    assert plan.kernels[0].in_spaces == ("conv2",) * 25


def test_a_layer_comes_before_a_block_of_its_name():
    names = ["dense", "dense_1", "dense_1#1", "unit_2_0_bn", "unit_2_1_bn", "unit_20_bn"]
    assert calls_named(names, "dense") == {"dense"}
    assert calls_named(names, "dense_1") == {"dense_1", "dense_1#1"}
    assert calls_named(names, "unit_2") == {"unit_2_0_bn", "unit_2_1_bn"}
    x = inputs = keras.Input((8,))
    for name in ("dense", "dense_1", "dense_2"):
        x = layers.Dense(8, name=name)(x)
    plan = SplitPlan.from_sections(keras.Model(inputs, x), [("dense", 2), ("dense_1", 4)])
    assert [k.num_groups for k in plan.kernels] == [2, 4, 4]


def test_groups_spread_evenly_in_order():
    assert spread(4, 2) == (0, 0, 1, 1)
    assert spread(5, 2) == (0, 0, 0, 1, 1)
    assert spread(3, 3) == (0, 1, 2)
    assert merge_map((1, 2, 3, 5), 3, 1) == (0, 0, 0, 0, 1)
    assert even_sizes(10, 4) == (2, 3, 2, 3)
    assert node_names((1, 2, 3)) == {
        (0, 0): "trunk",
        (1, 0): "branch_0",
        (1, 1): "branch_1",
        (2, 0): "branch_0_0",
        (2, 1): "branch_0_1",
        (2, 2): "branch_1_0",
    }


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ([("unit_9", 2)], "No layer or block of the model is called 'unit_9'"),
        ([("unit_2_0", 4), ("logits", 2)], "'logits' has 2 groups, fewer than the 4"),
        ([("logits", 2), ("unit_2_0", 2)], "list sections from the bottom up"),
        ([("logits", 11)], "has 10 channels, fewer than the 11 groups"),
        ([("logits", 0)], "asks for 0 groups"),
        (["logits"], "must be"),
        ([("unit_last_pool", 2), ("unit_2_0", 2)], "list sections from the bottom up"),
    ],
)
def test_what_cannot_be_planned_is_named(wrn, sections, sentence):
    with pytest.raises(PlanError, match=sentence):
        SplitPlan.from_sections(wrn, sections)


def test_one_group_splits_nothing(wrn):
    plan = SplitPlan.from_sections(wrn, [("unit_2_0", 1), ("logits", 1)])
    assert plan.kernels == () and plan.spaces == ()


@pytest.mark.parametrize(
    "sections", [[("flat", 2), ("fc", 4)], [("fc", 2), ("probs", 4)]], ids=["below", "above"]
)
def test_a_section_without_layers_of_its_own_is_named(sections):
    """Flattening goes up into the branches that read it, a softmax runs after the merge."""
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 1, name="conv")(inputs)
    x = layers.Dense(8, name="fc")(layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, layers.Softmax(name="probs")(x))
    empty = "flat" if sections[0][0] == "flat" else "probs"
    with pytest.raises(PlanError, match=f"Section '{empty}' has no layer to split into"):
        SplitPlan.from_sections(model, sections)


def test_a_layer_that_needs_all_channels_is_refused_inside_a_branch():
    inputs = keras.Input((8,))
    x = layers.Dense(6, name="a")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    model = keras.Model(inputs, layers.Dense(4, name="b")(x))
    with pytest.raises(PlanError, match="'norm' .LayerNormalization. needs all channels"):
        SplitPlan.from_sections(model, [("a", 2)])
    assert SplitPlan.from_sections(model, [("b", 2)]).kernels[0].name == "b"


def test_a_layer_bound_to_the_order_keeps_its_space_unsorted():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(6, 3, name="a")(inputs)
    x = layers.UnitNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4, name="b")(x))
    assert SplitPlan.from_sections(model, [("b", 2)]).unsorted == {"a"}
    with pytest.raises(PlanError, match="'norm' .UnitNormalization. needs all channels at once"):
        SplitPlan.from_sections(model, [("a", 2)])


def small_classifier(classes=4):
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    x = layers.Dense(6, activation="relu", name="b")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


def lora(model):
    for layer in model.layers[1:]:
        layer.enable_lora(2)


@pytest.mark.parametrize(
    "lock, reason",
    [(lora, "has LoRA switched on; split"), (lambda m: m.quantize("int8"), "is quantized; split")],
)
def test_kernels_that_are_no_longer_plain_are_named(lock, reason):
    model = small_classifier()
    lock(model)
    for start in ("a", "b", "logits"):
        with pytest.raises(PlanError, match=rf"Layer '{start}' \(Dense\) .*{reason}"):
            SplitPlan.from_sections(model, [(start, 2)])
    found = suggest_cuts(model)
    assert not found.cuts
    assert [r.start for r in found.refused] == ["a", "b", "logits"]


def test_a_binary_head_of_one_unit_is_told_of_two_logits():
    with pytest.raises(PlanError, match="Output 'logits' has one unit.*a logit for each of the"):
        SplitPlan.from_sections(small_classifier(1), [("b", 2)])


def test_logits_that_are_scaled_and_shifted_stay_the_classes():
    model = small_classifier()
    prior = np.log([[0.1, 0.2, 0.3, 0.4]]).astype("float32")
    model = keras.Model(model.inputs, model.outputs[0] / 1.5 + prior)
    assert SplitPlan.from_sections(model, [("b", 2)]).classes.name == "logits"


def test_a_model_whose_classes_are_not_split_is_refused_before_training():
    model = small_classifier()
    model = keras.Model(model.inputs, keras.ops.flip(model.outputs[0], axis=-1))
    with pytest.raises(PlanError, match="made by 'flip.*, which is not split"):
        group_model(model, [("b", 2)])


def test_the_classes_are_one_split_space_of_the_first_output():
    inputs = keras.Input((8,))
    x = layers.Dense(6, name="a")(inputs)
    classes, other = layers.Dense(4, name="b")(x), layers.Dense(1, name="other")(inputs)
    both = layers.Concatenate()([classes, layers.Dense(3, name="c")(x)])

    def plan(*outputs):
        return SplitPlan.from_sections(keras.Model(inputs, outputs), [("a", 2)])

    assert (plan(classes, other).classes.name, plan(classes, other).classes.size) == ("b", 4)
    with pytest.raises(PlanError, match="made by 'other', which is not split; .* split first"):
        plan(other, classes).classes  # noqa: B018
    with pytest.raises(PlanError, match="made by several layers .b, c.; give a model with one"):
        plan(both).classes  # noqa: B018
