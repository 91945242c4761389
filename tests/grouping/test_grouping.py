"""The grouping file: readable, exact, and checked when it is read."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.space_groups import SpaceGroups


def example():
    spaces = (
        SpaceGroups("conv", ((0, 2, 5), (1, 3), (4,))),
        SpaceGroups("logits", ((1, 3), (0,), (2,))),
    )
    sections = (("conv", 3), ("logits", 3))
    return Grouping("net", sections, "argmax", spaces, "logits", ("ape", "bus", "cat", "door"))


def test_round_trip_and_reading_by_eye(tmp_path):
    path = tmp_path / "grouping.json"
    example().save(path)
    assert Grouping.load(path) == example()
    assert '["bus", "door"]' in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(example().space("conv").labels(), [0, 1, 0, 1, 2, 0])


@given(st.integers(2, 5), st.integers(5, 40), st.integers(0, 10**6))
def test_round_trip_of_any_grouping(groups, size, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(groups), rng.integers(0, groups, size - groups)])
    space = SpaceGroups.from_labels("s", rng.permutation(labels), groups)
    grouping = Grouping("m", (("s", groups),), "argmax", (space,), "s")
    assert Grouping.from_json(grouping.to_json()) == grouping


def change(**changes):
    document = json.loads(example().to_json())
    del document["sha256"]
    for path, value in changes.items():
        target = document
        *parents, last = path.split("__")
        for key in parents:
            target = target[int(key) if key.isdigit() else key]
        target[int(last) if last.isdigit() else last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not valid JSON"),
        ("[" * 100000, "not valid JSON"),
        ("[]", "must hold a JSON object"),
        (example().to_json().replace("4", "5", 1), "it was changed after it was written"),
        (change(format="other"), "'format' must be"),
        (change(version=9), "'version' is 9"),
        (change(spaces=None), "'spaces' must be of type list"),
        (change(spaces__0="x"), "each of 'spaces' must be an object"),
        (change(spaces__0__name=3), "'spaces.name' must be of type str"),
        (change(spaces__0__size=7), "says size 7 but its members are 6"),
        (change(spaces__0__members__0=[]), "size 6 but"),
        (
            change(spaces__0__members=[[0, 1, 2, 3, 4, 5], [], []]),
            "Group 1 of space 'conv' is empty",
        ),
        (change(spaces__0__members__2=[3]), r"repeated: \[3\], missing: \[4\]"),
        (change(spaces__0__members__2=[9]), r"missing: \[4\]"),
        (change(spaces__0__members__2=[-1]), r"missing: \[4\]"),
        (change(spaces__0__members__2=[4.0]), "must be of type int"),
        (change(spaces__0__members__2=[True]), "must be of type int"),
        (change(spaces__1__name="conv"), "same name"),
        (change(sections__0=["conv"]), "each of 'sections'"),
        (change(sections__0=[1, 2]), "'sections' must be of type str"),
        (change(class_space="other"), "no space 'other'"),
        (change(class_names=["a"]), "4 classes but 1 class names"),
        (change(class_names=[1, 2, 3, 4]), "'class_names' must be of type str"),
        (change(method=None), "'method' must be of type str"),
        (change(model=[]), "'model' must be of type str"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(GroupingError, match=sentence):
        Grouping.from_json(text)


def test_the_sentence_names_the_file(tmp_path):
    path = tmp_path / "g.json"
    with pytest.raises(GroupingError, match=r"g\.json does not exist"):
        Grouping.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GroupingError, match=r"g\.json: not UTF-8 text"):
        Grouping.load(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "format",
                        "version",
                        "spaces",
                        "name",
                        "size",
                        "members",
                        "sections",
                        "model",
                        "method",
                        "class_space",
                        "class_names",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
    )
)
def test_any_other_json_raises_nothing_but_our_error(value):
    document = {"format": "splitnet_tf.grouping", "version": 1}
    if isinstance(value, dict):
        document.update(value)
    with pytest.raises(GroupingError):
        Grouping.from_json(json.dumps(document))
