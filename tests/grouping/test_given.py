"""Given groups of the classes: random, along a taxonomy, from WordNet, from a file."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import splitnet_tf as sn
from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping import split_losses
from splitnet_tf.grouping.clusters import confusion_similarity, spectral_clusters
from splitnet_tf.grouping.given import random_classes, read_classes, taxonomy_classes
from splitnet_tf.grouping.start import given_assignments, start_from_given
from splitnet_tf.grouping.wordnet import wordnet_taxonomy
from tests.conftest import random_grouping, to_numpy


def plan_of(num_classes, *groups):
    model = sn.models.mlp((12, 24), num_classes, (4, 4, 3))
    starts = ("fc2", "logits")[-len(groups) :]
    return sn.SplitPlan.from_sections(model, list(zip(starts, groups, strict=True)))


NAMES = [f"c{i}" for i in range(20)]
SHUFFLED = [NAMES[i] for i in np.random.default_rng(0).permutation(20)]
# Superclasses of five, two of which make up each half.
TREE = {
    "living": {"animals": SHUFFLED[:5], "plants": SHUFFLED[5:10]},
    "things": {"tools": SHUFFLED[10:15], "vehicles": SHUFFLED[15:]},
}


def group_names(labels):
    return [
        {n for n, x in zip(NAMES, labels, strict=True) if x == g} for g in range(max(labels) + 1)
    ]


def test_a_taxonomy_is_cut_where_it_divides():
    labels = taxonomy_classes(NAMES, TREE, plan_of(20, 2))
    assert group_names(labels) == [set(SHUFFLED[:10]), set(SHUFFLED[10:])]
    labels = taxonomy_classes(NAMES, TREE, plan_of(20, 2, 4))
    assert group_names(labels) == [set(SHUFFLED[i : i + 5]) for i in (0, 5, 10, 15)]


def test_the_highest_boundary_within_a_quarter_is_taken():
    """Sizes 12 and 8 along the tree's first division, not 10 and 10 through a superclass."""
    tree = {"a": {"x": SHUFFLED[:6], "y": SHUFFLED[6:12]}, "b": SHUFFLED[12:]}
    labels = taxonomy_classes(NAMES, tree, plan_of(20, 2))
    assert group_names(labels) == [set(SHUFFLED[:12]), set(SHUFFLED[12:])]
    lopsided = {"a": SHUFFLED[:17], "b": SHUFFLED[17:]}  # too far from even: through a
    labels = taxonomy_classes(NAMES, lopsided, plan_of(20, 2))
    assert group_names(labels) == [set(SHUFFLED[:10]), set(SHUFFLED[10:])]


@given(st.integers(2, 5), st.integers(0, 10**6), st.booleans())
def test_any_given_groups_fit_the_plan(groups, seed, at_random):
    """Every group has classes, and finer groups lie inside the coarser ones."""
    rng = np.random.default_rng(seed)
    plan = plan_of(20, 2, 2 * groups)
    bounds = sorted({0, 20, *rng.integers(1, 20, 3).tolist()})
    tree = {str(a): SHUFFLED[a:b] for a, b in zip(bounds, bounds[1:], strict=False)}
    if at_random:
        labels = random_classes(20, plan, seed)
        assert np.ptp(np.bincount(labels)) <= 2
    else:
        labels = taxonomy_classes(NAMES, tree, plan)
        place = [SHUFFLED.index(name) for name in NAMES]
        assert np.all(np.diff(labels[np.argsort(place)]) >= 0)  # runs in the taxonomy's order
    assert np.bincount(labels, minlength=2 * groups).min() >= 1
    assert set(labels) == set(range(2 * groups))


def test_random_groups_are_even_and_seeded():
    plan = plan_of(20, 4)
    a, b = (random_classes(20, plan, seed) for seed in (1, 2))
    assert np.bincount(a).tolist() == [5, 5, 5, 5] and (a != b).any()
    assert (a == random_classes(20, plan, 1)).all()
    assert np.bincount(random_classes(12, plan_of(12, 2, 3), 0)).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"a": NAMES[:19]}, "missing: c19"),
        ({"a": NAMES, "b": ["c3"]}, "repeated: c3"),
        ({"a": NAMES, "b": 3}, "got '3' at b"),
        ({"a": [1, 2]}, "must be names to lists"),
        ({}, "missing: c0, c1"),
    ],
)
def test_other_taxonomies_are_refused(tree, sentence, tmp_path):
    with pytest.raises(GroupingError, match=sentence):
        taxonomy_classes(NAMES, tree, plan_of(20, 2))
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(GroupingError, match=rf"tree\.json: .*{sentence}"):
        read_classes(path, NAMES, plan_of(20, 2))


def test_a_taxonomy_that_is_too_deep_is_refused():
    tree = NAMES
    for _ in range(200):
        tree = {"a": tree}
    with pytest.raises(GroupingError, match="deeper than 100 levels"):
        taxonomy_classes(NAMES, tree, plan_of(20, 2))


def test_files(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(TREE))
    plan = plan_of(20, 2)
    assert (read_classes(path, NAMES, plan) == taxonomy_classes(NAMES, TREE, plan)).all()
    grouping = random_grouping(plan, np.random.default_rng(0))
    grouping.save(path)
    assert (read_classes(path, NAMES, plan) == grouping.classes.labels()).all()
    with pytest.raises(GroupingError, match="2 groups of 20 classes, the plan 4 of 20"):
        read_classes(path, NAMES, plan_of(20, 4))
    dataclasses.replace(grouping, class_names=tuple(NAMES)).save(path)
    assert (read_classes(path, NAMES, plan) == grouping.classes.labels()).all()
    with pytest.raises(GroupingError, match="its classes are not those of the data, in their ord"):
        read_classes(path, NAMES[::-1], plan)
    with pytest.raises(GroupingError, match="does not exist"):
        read_classes(tmp_path / "none.json", NAMES, plan)


def test_confusions_make_clusters():
    planted = np.random.default_rng(3).permutation(np.arange(12) % 3)
    same = planted[:, None] == planted[None, :]
    confusion = 100 * np.eye(12) + 8 * same + np.random.default_rng(0).integers(0, 2, (12, 12))
    for sizes in ((4, 4, 4), None):
        found = spectral_clusters(confusion_similarity(confusion), 3, sizes=sizes)
        assert len(set(zip(found, planted, strict=True))) == 3


@pytest.mark.parametrize("features", ["learned", "even"])
def test_given_assignments_are_firm_and_the_others_are_not(features):
    plan = plan_of(20, 2)
    losses = split_losses(sn.group_model(sn.models.mlp((12, 24), 20, (4, 4, 3)), plan))
    labels = random_classes(20, plan, 5)
    start_from_given(losses, plan, labels, features)
    firm = given_assignments(losses, plan, features)
    assert len(firm) == {"learned": 1, "even": len(losses.assignments())}[features]
    assert len(losses.assignments()) > 1
    for assignment in losses.assignments():
        p = to_numpy(assignment.p())
        if any(assignment is other for other in firm):
            assert p.max(axis=0).min() > 0.99999
        else:
            assert 0.8 < p.max() < 0.95
    assert (to_numpy(losses.assignments()[-1].p()).argmax(axis=0) == labels).all()
    with pytest.raises(GroupingError, match="`features` must be one of learned, even; got 'x'"):
        given_assignments(losses, plan, "x")


class FakeSynset:
    def __init__(self, *path):
        self.path = path

    def name(self):
        return self.path[-1]

    def hypernym_paths(self):
        return [[FakeSynset(*self.path[: i + 1]) for i in range(len(self.path))]]


class FakeWordNet:
    """As nltk's, for five words."""

    words = {
        "sea_lion": FakeSynset("entity", "animal", "seal"),
        "dog": FakeSynset("entity", "animal", "dog"),
        "animal": FakeSynset("entity", "animal"),
        "car": FakeSynset("entity", "thing", "car"),
        "truck": FakeSynset("entity", "thing", "truck"),
    }

    def synsets(self, name, pos):
        assert pos == "n"
        return [self.words[name]] if name in self.words else []

    def synset_from_pos_and_offset(self, pos, offset):
        assert (pos, offset) == ("n", 2084071)
        return self.words["dog"]


def test_wordnet_gives_a_taxonomy():
    names = ["car", "n02084071", "animal", "sea lion", "truck"]
    tree = wordnet_taxonomy(names, FakeWordNet())
    assert taxonomy_classes(names, tree, plan_of(5, 2)).tolist() == [0, 1, 1, 1, 0]
    with pytest.raises(GroupingError, match="class 'unicorn' is not a noun of WordNet"):
        wordnet_taxonomy(["unicorn"], FakeWordNet())
