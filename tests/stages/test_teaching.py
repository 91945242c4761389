"""A teacher and a loss on groups while a tree is finetuned."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.runs import read_config
from splitnet_tf.runs.names import CONFIG
from splitnet_tf.stages.architecture import architecture_digest
from splitnet_tf.stages.teaching import Teaching, check_teacher, plain_teacher
from splitnet_tf.storage.json_files import write_json
from tests.stages.conftest import SECTIONS, make_network

PHASE = sn.Phase(epochs=5, rate=0.1, l2=0.0)


@pytest.fixture(scope="module")
def teacher(arrays):
    """A network with most of the answers right."""
    network = make_network()
    sn.finetune(network, *arrays[:2], sn.Phase(epochs=5, rate=0.1, l2=0.0))
    images, labels = arrays[2]
    assert np.mean(network.predict(images, verbose=0).argmax(axis=1) == labels) > 0.8
    return network


def tree_of(network):
    grouped = sn.group_model(network, SECTIONS, seed=2)
    grouping = sn.Grouping.even(sn.plan_of(grouped))
    return sn.split_model(grouped, grouping, dropout=0.0), grouping


def answers(model, images):
    return model.predict(images, verbose=0).argmax(axis=1)


def test_a_tree_learns_from_its_teacher_what_labels_do_not_say(teacher, arrays):
    """All labels are wrong: what is right comes from the teacher alone."""
    (x, y), (valid_x, valid_y), (images, labels) = arrays
    train, valid = (x, (y + 1) % 8), (valid_x, (valid_y + 1) % 8)
    tree, _ = tree_of(teacher)
    before = [np.array(w) for w in teacher.get_weights()]
    sn.finetune(tree, train, valid, PHASE, teacher=teacher, teaching=Teaching(weight=1.0))
    assert np.mean(answers(tree.model, images) == labels) > 0.6
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    tree, _ = tree_of(teacher)
    sn.finetune(tree, train, valid, PHASE)
    assert np.mean(answers(tree.model, images) == labels) < 0.3


def test_the_placed_step_is_that_of_the_loop(teacher, arrays):
    """With the decoupled form and a loss on groups; without dropout, which is drawn apart."""
    teaching = Teaching(0.7, 2.0, parts=(1.0, 0.5), group_weight=0.3)
    found = []
    for where in ((), ("/CPU:0", "/CPU:1")):
        tree, grouping = tree_of(make_network())
        sn.finetune(
            tree,
            *arrays[:2],
            PHASE,
            teacher=teacher,
            teaching=teaching,
            grouping=grouping,
            devices=where,
            loop=sn.Loop(max_steps=3),
        )
        found.append(tree.model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_another_teacher_is_another_run(teacher, arrays, tmp_path):
    more = {"run": tmp_path, "loop": sn.Loop(max_steps=2)}
    tree, _ = tree_of(make_network())
    sn.finetune(tree, *arrays[:2], PHASE, teacher=teacher, **more)
    with pytest.raises(sn.RunError, match="teacher_digest"):
        sn.finetune(tree_of(make_network())[0], *arrays[:2], PHASE, teacher=make_network(), **more)
    with pytest.raises(sn.RunError, match="teaching_temperature"):
        sn.finetune(tree_of(make_network())[0], *arrays[:2], PHASE, **more)
    scaled = keras.Input((16, 16, 3))
    scaled = keras.Model(scaled, teacher(keras.layers.Rescaling(0.5)(scaled)))
    with pytest.raises(sn.RunError, match="teacher_layers_digest"):
        sn.finetune(tree_of(make_network())[0], *arrays[:2], PHASE, teacher=scaled, **more)
    config = read_config(tmp_path)
    del config["teacher_layers_digest"]  # as in runs of earlier versions
    write_json(tmp_path / CONFIG, config)
    sn.finetune(tree_of(make_network())[0], *arrays[:2], PHASE, teacher=teacher, **more)


def test_the_digest_of_an_architecture_is_that_of_its_function():
    def network(activation="relu", dtype="float32"):
        inputs = keras.Input((6,))
        x = keras.layers.Dense(4, activation=activation, dtype=dtype)(inputs)
        return keras.Model(inputs, 2.0 * keras.layers.Dense(3)(x))

    found = architecture_digest(network())
    frozen = network()
    frozen.compile("sgd", "mse")
    frozen.trainable = False
    assert found == architecture_digest(network()) == architecture_digest(frozen)
    assert found != architecture_digest(network("tanh"))
    assert found != architecture_digest(network(dtype="bfloat16"))


def test_a_teacher_that_does_not_fit_is_refused(teacher, arrays):
    tree, _ = tree_of(teacher)
    other = sn.models.mlp(num_classes=5, input_shape=(16, 16, 3))
    with pytest.raises(sn.ArgumentError, match="`teacher` .* answers of shape"):
        sn.finetune(tree, *arrays[:2], PHASE, teacher=other)
    other = sn.models.mlp(num_classes=8, input_shape=(8, 8, 3))
    with pytest.raises(sn.ArgumentError, match="`teacher` .* takes inputs of shape"):
        sn.finetune(tree, *arrays[:2], PHASE, teacher=other)
    with pytest.raises(sn.ArgumentError, match="`grouping` is needed"):
        sn.finetune(tree, *arrays[:2], PHASE, teaching=Teaching(group_weight=1.0))
    for wrong in (keras.Sequential([keras.layers.Dense(8)]), "runs/teacher"):
        with pytest.raises(sn.ArgumentError, match="`teacher` must be a functional Keras model"):
            sn.finetune(tree, *arrays[:2], PHASE, teacher=wrong)
    with pytest.raises(sn.ArgumentError, match="no effect without `teacher`"):
        sn.finetune(tree, *arrays[:2], PHASE, teaching=Teaching(weight=0.9))


def test_a_softmax_or_a_grouping_of_other_classes_is_refused(teacher, arrays):
    soft = keras.Model(teacher.input, keras.layers.Softmax()(teacher.output), name="soft")
    with pytest.raises(sn.ArgumentError, match="`teacher`: Model 'soft' ends in a softmax"):
        sn.finetune(make_network(), *arrays[:2], PHASE, teacher=soft)
    with pytest.raises(sn.ArgumentError, match="Model 'soft' ends in a softmax"):
        sn.finetune(soft, *arrays[:2], PHASE, teacher=teacher)
    other = sn.models.mlp((8,), num_classes=5, input_shape=(16, 16, 3))
    grouping = sn.Grouping.even(sn.SplitPlan.from_sections(other, [("logits", 2)]))
    with pytest.raises(sn.ArgumentError, match="`grouping` has 5 classes, model 'own' 8"):
        teaching = Teaching(parts=(1.0, 1.0))
        more = {"teacher": teacher, "teaching": teaching, "grouping": grouping}
        sn.finetune(make_network(), *arrays[:2], PHASE, **more)


def test_a_teacher_of_images_of_any_size_or_a_tree_fits(teacher):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    check_teacher(keras.Model(inputs, keras.layers.Dense(8)(x)), teacher)
    tree, _ = tree_of(teacher)
    assert plain_teacher(tree) is tree.model


@pytest.mark.parametrize(
    "wrong",
    [{"weight": 2}, {"weight": "1"}, {"temperature": 0}, {"parts": (1, 1, 1)}, {"parts": (0, 0)}],
)
def test_weights_that_cannot_be_are_refused(wrong):
    with pytest.raises(sn.ArgumentError, match=f"`{next(iter(wrong))}` must be"):
        Teaching(**wrong)
