"""R_W, R_D and R_E against slow, obvious NumPy versions of equations 4, 5 and 6."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitnet_tf.grouping.regularizers import balance, disjointness, group_weight


def softmax(x):
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def slow_group_weight(kernel, p, q, scaling):
    """Equation 4, matrix by matrix: (I - P_g) W Q_g by rows, P_g W (I - Q_g) by columns."""
    groups, n_in, n_out = len(p), p.shape[1], q.shape[1]
    windows = kernel.reshape(-1, n_in, n_out)
    rows = cols = 0.0
    for g in range(groups):
        left = np.stack([np.diag(1 - p[g]) @ w @ np.diag(q[g]) for w in windows])
        right = np.stack([np.diag(p[g]) @ w @ np.diag(1 - q[g]) for w in windows])
        share = len(windows) if scaling == "unit" else 1
        rows += sum(np.sqrt((left[:, i, :] ** 2).sum() / share) for i in range(n_in))
        cols += sum(np.sqrt((right[:, :, j] ** 2).sum() / share) for j in range(n_out))
    if scaling == "paper":
        return rows + cols
    height = kernel.shape[0] if kernel.ndim > 2 else 1
    s0 = np.sqrt(1 / (height**2 * n_in))
    total = rows / (n_in * np.sqrt(n_out)) + cols / (np.sqrt(n_in) * n_out)
    return total / (2 * (groups - 1) / groups * s0)


def slow_disjointness(p, scaling):
    groups, size = p.shape
    total = sum(p[i] @ p[j] for i in range(groups) for j in range(i + 1, groups))
    return total / (size * (groups - 1) / (2 * groups)) if scaling == "unit" else total


def slow_balance(p, scaling):
    groups, size = p.shape
    total = sum(p[g].sum() ** 2 for g in range(groups))
    return total / (size**2 / groups) if scaling == "unit" else total


@pytest.mark.parametrize("scaling", ["unit", "paper"])
@pytest.mark.parametrize("shape", [(12, 7), (1, 1, 8, 6), (3, 3, 5, 9), (5, 4, 3)])
@pytest.mark.parametrize("groups", [2, 3, 4])
def test_equal_the_equations(shape, groups, scaling):
    rng = np.random.default_rng(groups)
    kernel = rng.normal(size=shape).astype("float32")
    p = softmax(rng.normal(size=(groups, shape[-2]))).astype("float32")
    q = softmax(2 * rng.normal(size=(groups, shape[-1]))).astype("float32")
    tensors = [keras.ops.convert_to_tensor(x) for x in (kernel, p, q)]
    wide = [x.astype("float64") for x in (kernel, p, q)]
    assert float(group_weight(*tensors, scaling)) == pytest.approx(
        slow_group_weight(*wide, scaling), rel=1e-5
    )
    assert float(disjointness(tensors[1], scaling)) == pytest.approx(
        slow_disjointness(wide[1], scaling), rel=1e-5
    )
    assert float(balance(tensors[1], scaling)) == pytest.approx(
        slow_balance(wide[1], scaling), rel=1e-5
    )


def one_hot(labels, groups):
    return keras.ops.convert_to_tensor(np.eye(groups, dtype="float32")[labels].T)


def test_block_diagonal_kernels_cost_nothing():
    rows, cols = np.array([0, 1, 0, 1, 1]), np.array([1, 0, 0])
    kernel = np.ones((5, 3), "float32") * (rows[:, None] == cols[None])
    value = group_weight(
        keras.ops.convert_to_tensor(kernel), one_hot(rows, 2), one_hot(cols, 2), "paper"
    )
    assert float(value) < 1e-5
    swapped = group_weight(
        keras.ops.convert_to_tensor(kernel), one_hot(1 - rows, 2), one_hot(cols, 2), "paper"
    )
    assert float(swapped) > 1.0


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 10**6))
def test_disjointness_is_zero_exactly_when_one_hot(groups, size, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, groups, size)
    assert float(disjointness(one_hot(labels, groups))) == 0.0
    p = softmax(rng.normal(size=(groups, size))).astype("float32")
    assert float(disjointness(keras.ops.convert_to_tensor(p))) > 0.0


@given(st.integers(2, 6), st.integers(1, 12), st.integers(0, 10**6))
def test_balance_is_least_exactly_when_balanced(groups, each, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(groups), each))
    even = float(balance(one_hot(labels, groups)))
    assert even == pytest.approx(1.0, rel=1e-6)
    labels[np.flatnonzero(labels == 0)[0]] = 1
    assert float(balance(one_hot(labels, groups))) > even * (1 + 1e-4)


def test_uniform_assignment_costs_one():
    p = keras.ops.full((4, 20), 0.25)
    assert float(disjointness(p)) == pytest.approx(1.0, rel=1e-6)
    assert float(balance(p)) == pytest.approx(1.0, rel=1e-6)


def test_one_group_costs_nothing():
    p = keras.ops.ones((1, 5))
    kernel = keras.ops.ones((5, 5))
    assert float(group_weight(kernel, p, p)) == 0.0
    assert float(disjointness(p)) == 0.0


@given(st.integers(0, 10**6))
def test_renaming_groups_and_permuting_channels_change_nothing(seed):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(3, 3, 6, 8)).astype("float32")
    p = softmax(rng.normal(size=(3, 6))).astype("float32")
    q = softmax(rng.normal(size=(3, 8))).astype("float32")
    rows, cols, names = rng.permutation(6), rng.permutation(8), rng.permutation(3)
    moved = kernel[:, :, rows][..., cols]
    args = [kernel, p, q], [moved, p[names][:, rows], q[names][:, cols]]
    values = [float(group_weight(*map(keras.ops.convert_to_tensor, a))) for a in args]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_gradient_is_finite_at_a_zero_kernel():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with TensorFlow here")
    import tensorflow as tf

    kernel = tf.Variable(tf.zeros((3, 3, 4, 4)))
    p = one_hot(np.array([0, 1, 0, 1]), 2)
    with tf.GradientTape() as tape:
        loss = group_weight(kernel, p, p)
    assert np.isfinite(tape.gradient(loss, kernel).numpy()).all()


def test_an_unknown_scaling_is_named():
    from splitnet_tf.grouping import SplitLosses

    with pytest.raises(ValueError, match="`scaling` must be one of unit, paper; got 'other'"):
        SplitLosses(scaling="other")
