"""Starting assignments: clusters of columns, features that follow the classes they serve."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import splitnet_tf as sn
from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping import clusters, equal_sizes
from splitnet_tf.grouping.clusters import cluster_classes, kernel_similarity, spectral_clusters
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.hierarchy import even_sizes, shares
from splitnet_tf.grouping.start import served_groups
from tests.conftest import to_numpy


def planted_kernel(groups, seed=0):
    """Columns near a direction of their group's own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, groups.max() + 1))
    return centres[:, groups] + 0.4 * rng.normal(size=(40, len(groups)))


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_planted_columns_are_clustered(groups):
    planted = np.random.default_rng(1).permutation(np.arange(30) % groups)
    similarity = kernel_similarity(planted_kernel(planted))
    for sizes in (even_sizes(30, groups), None):
        assert same_partition(spectral_clusters(similarity, groups, sizes=sizes), planted)


def test_clusters_of_classes_nest():
    fine = np.arange(24) % 4
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(40, 2))[:, fine // 2] * 3
    kernel = coarse + planted_kernel(fine)
    plan = sn.SplitPlan.from_sections(
        sn.models.mlp((8, 8, 40), 24, (4, 4, 3)), [("fc2", 2), ("logits", 4)]
    )
    labels = cluster_classes(lambda m: kernel_similarity(kernel[:, m]), 24, plan)
    assert same_partition(labels, fine)
    assert same_partition(labels // 2, fine // 2)


def test_few_classes_are_clustered_too():
    similarity = np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.1], [0.9, 0.1, 1.0]])
    found = spectral_clusters(similarity, 2, sizes=(2, 1))
    assert found[0] == found[2] != found[1]
    assert sorted(spectral_clusters(similarity, 3)) == [0, 1, 2]


def test_clusters_with_too_few_classes_are_refused():
    """One class that is like no other takes a whole group of the lower level."""
    similarity = np.full((8, 8), 0.9)
    similarity[0, 1:] = similarity[1:, 0] = 0.0
    model = sn.models.mlp((8, 8, 40), 8, (4, 4, 3))
    plan = sn.SplitPlan.from_sections(model, [("fc2", 2), ("logits", 4)])
    with pytest.raises(GroupingError, match="A group of 1 classes is to be divided into 2; ask"):
        cluster_classes(lambda m: similarity[np.ix_(m, m)], 8, plan, equal=False)
    labels = cluster_classes(lambda m: similarity[np.ix_(m, m)], 8, plan)
    assert np.bincount(labels).tolist() == [2, 2, 2, 2]


@given(st.integers(0, 60), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_shares_are_in_proportion(extra, weights):
    size = sum(weights) + extra
    found = shares(size, weights)
    assert sum(found) == size
    for part, weight in zip(found, weights, strict=True):
        assert part >= weight and abs(part - size * weight / sum(weights)) <= 1


@given(st.integers(0, 10**6))
def test_assignment_with_sizes_is_the_best(seed):
    """Against trying every assignment."""
    rng = np.random.default_rng(seed)
    p = rng.random((3, 6))
    sizes = (1, 3, 2)
    best = max(
        sum(p[g, i] for i, g in enumerate(labels))
        for labels in set(itertools.permutations(np.repeat(range(3), sizes)))
    )
    labels = assign_with_sizes(p, sizes)
    assert np.bincount(labels, minlength=3).tolist() == list(sizes)
    assert sum(p[g, i] for i, g in enumerate(labels)) == pytest.approx(best)


def test_features_go_where_they_send_their_energy():
    energy = np.array([[9, 1], [1, 9], [8, 1], [2, 9]])
    assert served_groups(energy).tolist() == [0, 1, 0, 1]
    # Equal sizes, even if most would rather go one way.
    assert np.bincount(served_groups(np.array([[9, 1], [8, 1], [5, 4], [6, 5]]))).tolist() == [2, 2]


def test_the_start_finds_the_blocks_of_a_hidden_block_network():
    """A network that is block-diagonal but for a permutation: its blocks are the start."""
    rng = np.random.default_rng(0)
    model = sn.models.mlp((12, 12), 8, (2, 2, 3))
    parts = {
        "fc1": rng.permutation(12) % 2,
        "fc2": rng.permutation(12) % 2,
        "logits": rng.permutation(8) % 2,
    }
    for below, above in (("fc1", "fc2"), ("fc2", "logits")):
        layer = model.get_layer(above)
        inside = parts[below][:, None] == parts[above][None]
        kernel = np.abs(rng.normal(1, 0.2, layer.kernel.shape)) * inside
        layer.kernel.assign(kernel + 0.02 * rng.normal(size=kernel.shape))
    plan = sn.SplitPlan.from_sections(model, [("fc2", 2), ("logits", 2)])
    grouped = sn.group_model(model, plan)
    labels = sn.start_from_clusters(grouped, largest_p=0.8)
    assert {k.removeprefix("space_") for k in labels} == set(parts)
    for name, found in labels.items():
        assert same_partition(found, parts[name.removeprefix("space_")])
    for assignment in sn.split_losses(grouped).assignments():
        np.testing.assert_allclose(np.max(to_numpy(assignment.p()), axis=0), 0.8, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"class_labels": [0, 1, 2, 1]}, "'space_logits' takes 4 labels from 0 to 1; got .* 2"),
        ({"class_labels": [0, 1, 1]}, "'space_logits' takes 4 labels from 0 to 1; got shape .3,"),
        ({"class_labels": [0.0, 1.0, 1.0, 0.0]}, "'space_logits' takes 4 labels"),
        ({"largest_p": 1.0}, "`largest_p` must be above 1/2 and below 1 .*; got 1.0"),
        ({"largest_p": 1.5}, "`largest_p` must be above 1/2 and below 1 .*; got 1.5"),
        ({"largest_p": 0.1}, "`largest_p` must be above 1/2 and below 1 .*; got 0.1"),
    ],
)
def test_a_start_that_cannot_be_is_refused(settings, sentence):
    model = sn.models.mlp((8,), 4, (6,))
    plan = sn.SplitPlan.from_sections(model, [("logits", 2)])
    losses = sn.split_losses(sn.group_model(model, plan))
    before = [to_numpy(a.logits) for a in losses.assignments()]
    with pytest.raises(sn.GroupingError, match=sentence):
        sn.start_from_clusters(losses, plan, **settings)
    for assignment, logits in zip(losses.assignments(), before, strict=True):
        np.testing.assert_array_equal(to_numpy(assignment.logits), logits)


def test_labels_out_of_range_are_refused():
    from splitnet_tf.grouping import Assignment

    space = Assignment(2, 3, name="space_x")
    space.build()
    with pytest.raises(ValueError, match="'space_x' takes 3 labels from 0 to 1"):
        space.assign([0, 1, 2])


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("equal", [True, False])
def test_many_classes_fall_into_the_clusters_of_few(groups, equal, monkeypatch):
    """The eigenvectors by products with the matrix against scikit-learn's."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(32, groups))
    planted = rng.integers(0, groups, 90)
    kernel = (centres[:, planted] + 0.8 * rng.normal(size=(32, 90))).astype("float32")
    similarity = kernel_similarity(kernel)
    sizes = even_sizes(90, groups) if equal else None
    expected = spectral_clusters(similarity, groups, sizes=sizes)
    monkeypatch.setattr(clusters, "MANY", 10)
    before = similarity.copy()
    assert same_partition(spectral_clusters(similarity, groups, sizes=sizes), expected)
    np.testing.assert_array_equal(similarity, before)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_many_channels_get_the_best_groups_of_their_sizes(groups, monkeypatch):
    """The transport against the assignment problem."""
    p = np.random.default_rng(groups).random((groups, 61))
    sizes = even_sizes(61, groups)
    expected = assign_with_sizes(p, sizes)
    monkeypatch.setattr(equal_sizes, "FEW", 10)
    found = assign_with_sizes(p, sizes)
    assert np.bincount(found).tolist() == list(sizes)
    each = np.arange(61)
    assert p[found, each].sum() == pytest.approx(p[expected, each].sum(), abs=1e-9)


def test_the_classes_are_the_first_output_of_several():
    """Not what the last split kernel makes, here two boxes."""
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu", name="a")(inputs)
    heads = [keras.layers.Dense(n, name=name)(x) for n, name in ((4, "logits"), (2, "boxes"))]
    grouped = sn.group_model(keras.Model(inputs, heads), [("a", 2)], seed=0)
    planted = np.array([0, 1, 1, 0])
    kernel = planted_kernel(planted)[:8]
    grouped.get_layer("logits").kernel.assign(kernel)
    labels = sn.start_from_clusters(grouped)
    assert same_partition(labels["space_logits"], planted)
    given = sn.start_from_clusters(grouped, class_labels=1 - planted)
    assert (given["space_logits"] == 1 - planted).all()
