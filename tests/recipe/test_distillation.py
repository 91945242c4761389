"""Losses beside a teacher against slow NumPy."""

import keras
import numpy as np
import pytest

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.distillation import (
    TaughtCrossEntropy,
    decoupled_distillation,
    distillation,
    group_cross_entropy,
    with_answers,
)
from splitnet_tf.recipe.losses import CrossEntropy
from splitnet_tf.recipe.taught_data import TaughtData
from tests.conftest import to_numpy

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(0, 3, (2, 6, 5)).astype("float32")
LABELS = np.array([0, 1, 2, 3, 4, 0])
GROUPS = np.array([0, 1, 0, 1, 1])
MEMBERSHIP = np.eye(2, dtype="float32")[GROUPS]


def softmax(x):
    p = np.exp(x - x.max())
    return p / p.sum()


def divergence(p, q):
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))


def slow_distillation(student, teacher, t):
    return t**2 * divergence(softmax(teacher / t), softmax(student / t))


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_distillation(t):
    found = to_numpy(distillation(STUDENT, TEACHER, t))
    wanted = [slow_distillation(s, k, t) for s, k in zip(STUDENT, TEACHER, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_the_two_parts_of_the_decoupled_form(t):
    for i in range(6):
        q, p = softmax(STUDENT[i] / t), softmax(TEACHER[i] / t)
        of = [g == GROUPS for g in (0, 1)]
        between = t**2 * divergence([p[m].sum() for m in of], [q[m].sum() for m in of])
        within = [t**2 * divergence(p[m] / p[m].sum(), q[m] / q[m].sum()) for m in of]
        found = [
            float(
                decoupled_distillation(
                    STUDENT[i : i + 1], TEACHER[i : i + 1], t, MEMBERSHIP, *weights
                )[0]
            )
            for weights in ((1, 0), (0, 1), (2, 3))
        ]
        wanted = [between, sum(within), 2 * between + 3 * sum(within)]
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
        # Weighted by the teacher's p of each group the parts are the whole.
        whole = between + sum(p[m].sum() * w for m, w in zip(of, within, strict=True))
        assert whole == pytest.approx(slow_distillation(STUDENT[i], TEACHER[i], t), rel=1e-4)


def test_cross_entropy_of_the_groups():
    found = to_numpy(group_cross_entropy(LABELS, STUDENT, MEMBERSHIP))
    wanted = [
        -np.log(softmax(s)[GROUPS[y] == GROUPS].sum()) for s, y in zip(STUDENT, LABELS, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_loss_as_a_whole(one_hot):
    labels = np.eye(5, dtype="float32")[LABELS] if one_hot else LABELS
    loss = TaughtCrossEntropy(0.9, 4.0, GROUPS, 0.5, label_smoothing=0.1)
    answers = with_answers(labels, TEACHER)
    own = to_numpy(CrossEntropy(0.1).call(LABELS, STUDENT))
    taught = [slow_distillation(s, k, 4.0) for s, k in zip(STUDENT, TEACHER, strict=True)]
    groups = to_numpy(group_cross_entropy(LABELS, STUDENT, MEMBERSHIP))
    wanted = 0.1 * own + 0.9 * np.array(taught) + 0.5 * groups
    np.testing.assert_allclose(to_numpy(loss.call(answers, STUDENT)), wanted, rtol=1e-4)
    assert float(loss(answers, STUDENT)) == pytest.approx(wanted.mean(), rel=1e-4)
    right = (STUDENT.argmax(axis=1) == LABELS).astype("float32")
    np.testing.assert_array_equal(to_numpy(loss.accuracy(answers, STUDENT)), right)
    # Labels alone, as in validation: no teacher.
    np.testing.assert_allclose(to_numpy(loss.call(labels, STUDENT)), own + 0.5 * groups, rtol=1e-4)


def test_shares_of_classes_are_answered_beside_a_teacher():
    """As of mixed examples: the losses are linear in the labels but for the teacher's part."""
    hot = np.eye(5, dtype="float32")[LABELS]
    other = hot[::-1]
    loss = TaughtCrossEntropy(0.9, 4.0, GROUPS, 0.5)
    sides = [to_numpy(loss.call(with_answers(labels, TEACHER), STUDENT)) for labels in (hot, other)]
    found = loss.call(with_answers(0.3 * hot + 0.7 * other, TEACHER), STUDENT)
    np.testing.assert_allclose(to_numpy(found), 0.3 * sides[0] + 0.7 * sides[1], rtol=1e-4)


def test_parts_take_the_place_of_the_whole():
    loss = TaughtCrossEntropy(1.0, 2.0, GROUPS, parts=(2, 3))
    wanted = decoupled_distillation(STUDENT, TEACHER, 2.0, MEMBERSHIP, 2, 3)
    found = loss.call(with_answers(LABELS, TEACHER), STUDENT)
    np.testing.assert_allclose(to_numpy(found), to_numpy(wanted), rtol=1e-5)


def test_it_comes_back_from_its_config():
    loss = TaughtCrossEntropy(0.3, 2.0, GROUPS, 0.5, (1, 2), label_smoothing=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    answers = with_answers(LABELS, TEACHER)
    assert float(again(answers, STUDENT)) == float(loss(answers, STUDENT))


@pytest.mark.parametrize(
    "arguments",
    [
        {"teacher_weight": 1.5},
        {"temperature": 0.0},
        {"group_weight": 1.0},
        {"parts": (1, 1)},
        {"group_weight": -1.0, "groups": [0, 1]},
        {"groups": [0, -1]},
        {"groups": ["a", "b"]},
        {"parts": (1,), "groups": [0, 1]},
        {"parts": (1, -5), "groups": [0, 1]},
        {"parts": "1,1", "groups": [0, 1]},
    ],
)
def test_values_that_cannot_be_are_refused(arguments):
    with pytest.raises(ArgumentError, match="`"):
        TaughtCrossEntropy(**arguments)


def test_labels_of_another_width_are_refused():
    loss = TaughtCrossEntropy(0.5, 4.0)
    for width in (4, 7, 11):
        with pytest.raises(ArgumentError, match=r"or shares \(B, 5\) .* \(B, 6\) or \(B, 10\)"):
            loss(np.ones((6, width), "float32"), STUDENT)
    # Without a teacher labels of one class too many are no answers.
    with pytest.raises(ArgumentError, match="`teacher_weight=0`"):
        TaughtCrossEntropy(0.0, groups=GROUPS, group_weight=1.0)(np.eye(6)[LABELS], STUDENT)
    with pytest.raises(ArgumentError, match="`groups` are of 2 classes, the logits of 5"):
        TaughtCrossEntropy(0.0, groups=[0, 1], group_weight=1.0)(LABELS, STUDENT)


def test_class_weights_beside_answers():
    """They are sample weights, and ``fit`` refuses its own, which would read the answers."""
    keras.utils.set_random_seed(4)
    teacher, student = (
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]) for _ in range(2)
    )
    x, y = np.random.default_rng(2).normal(size=(6, 5)).astype("float32"), np.arange(6) % 3
    for labels in (y, list(y), np.eye(3)[y]):
        data = TaughtData((x, labels, np.arange(6.0)), teacher, 6, class_weight={1: 0.5, 2: 3})
        found = data[0]
        order = [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in found[0]]
        wanted = np.array([1, 0.5, 3])[y] * np.arange(6)
        np.testing.assert_allclose(found[2], wanted[order])
    student.compile("sgd", TaughtCrossEntropy())
    with pytest.raises(ValueError, match="`class_weight` and `sample_weight`"):
        student.fit(TaughtData((x, y), teacher), class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ArgumentError, match="`class_weight` must give"):
        TaughtData((x, y), teacher, class_weight={0: -1.0})


def test_a_teacher_of_other_answers_is_refused():
    x, y = np.zeros((4, 5), "float32"), np.array([0, 1, 2, 3])
    inputs = keras.Input((5,))
    teacher = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    for labels in (y, np.eye(4)[y], np.eye(2)[y % 2]):
        with pytest.raises(ArgumentError, match="`teacher` answers with 3 classes"):
            TaughtData((x, labels), teacher)[0]
    with pytest.raises(ArgumentError, match="`teacher` .* ends in a softmax"):
        TaughtData((x, y), keras.Model(inputs, keras.layers.Softmax()(teacher(inputs))))
    with pytest.raises(ArgumentError, match="`teacher` .* has 2 outputs"):
        TaughtData((x, y), keras.Model(inputs, [teacher.output, teacher.output]))
    with pytest.raises(ArgumentError, match="`teacher` must be a Keras model"):
        TaughtData((x, y), "teacher.keras")


def test_data_with_answers_for_fit():
    """Each example has its own label and its own answer, in a new order each epoch."""
    keras.utils.set_random_seed(4)
    teacher = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    x, y = np.random.default_rng(2).normal(size=(10, 5)).astype("float32"), np.arange(10) % 3
    data = TaughtData((x, y, np.arange(10.0)), teacher, batch_size=4, seed=1)
    kernel, bias = teacher.get_weights()
    orders = []
    for _ in range(2):
        batches = [data[i] for i in range(len(data))]
        assert [len(b[0]) for b in batches] == [4, 4, 2]
        order = np.concatenate([b[2] for b in batches]).astype(int)
        assert sorted(order) == list(range(10))
        found = np.concatenate([b[1] for b in batches])
        np.testing.assert_array_equal(found[:, 0], y[order])
        np.testing.assert_allclose(found[:, 1:], x[order] @ kernel + bias, atol=1e-5)
        orders.append(list(order))
        data.on_epoch_end()
    assert orders[0] != orders[1]

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return x[2 * i : 2 * i + 2], np.eye(3)[y[2 * i : 2 * i + 2]]

    data = TaughtData(Pairs(), teacher)
    assert len(data) == 5
    np.testing.assert_array_equal(data[4][1][:, :3].argmax(axis=1), y[8:])
    with pytest.raises(ArgumentError, match="`data` must be arrays"):
        TaughtData(x, teacher)
