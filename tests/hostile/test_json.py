"""JSON: groupings and settings of runs."""

import json
import pickle

import pytest

from splitnet_tf.errors import GroupingError, RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.runs.run_folder import read_config


def grouping_document(**changes):
    return {
        "format": "splitnet_tf.grouping",
        "version": 1,
        "model": "m",
        "method": "argmax",
        "sections": [["logits", 2]],
        "class_space": "logits",
        "class_names": None,
        "spaces": [{"name": "logits", "size": 4, "members": [[0, 1], [2, 3]]}],
        **changes,
    }


def refused_json(tmp_path, write, match):
    """As a grouping and as the settings of a run: each with its own error."""
    for name, load, error in (
        ("grouping.json", lambda path: Grouping.load(path), GroupingError),
        ("config.json", lambda path: read_config(path.parent), RunError),
    ):
        path = tmp_path / name
        write(path)
        with pytest.raises(error, match=match) as caught:
            load(path)
        assert name in str(caught.value) and "\n" not in str(caught.value)
        path.unlink()


def test_a_json_file_of_a_gigabyte_is_refused_unread(tmp_path):
    def write(path):
        with open(path, "wb") as file:
            file.write(b"[" * 1000)
            file.truncate(2**30)

    refused_json(tmp_path, write, "larger than 64 MiB")


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"a":[{"b":'])
def test_json_nested_without_end_is_refused(tmp_path, opening):
    text = opening * (10**6)
    refused_json(tmp_path, lambda path: path.write_text(text), "nested too deeply")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"[1, 2]", "must hold a JSON object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": 1, "sha256": "0000000000000000"}', "changed after it was written"),
        (b'{"a": 1, "sha256": {"x": []}}', "changed after it was written"),
        (pickle.dumps({"a": 1}), "not UTF-8|not valid JSON"),
    ],
)
def test_other_bytes_are_refused(tmp_path, content, match):
    refused_json(tmp_path, lambda path: path.write_bytes(content), match)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    for name in ("grouping.json", "config.json"):
        (tmp_path / name).mkdir()
    with pytest.raises(GroupingError, match="cannot be read: Is a directory"):
        Grouping.load(tmp_path / "grouping.json")
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        read_config(tmp_path)


def space(members, size=4, name="logits"):
    return {"spaces": [{"name": name, "size": size, "members": members}]}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (space([[0, 1], [2, 4]]), "every index from 0 to 3 once; repeated: none, missing: .3."),
        (space([[0, 1], [2, -1]]), "every index from 0 to 3 once"),
        (space([[0, 1], [2, 10**400]]), "every index from 0 to 3 once"),
        (space([[0, 1], [2, 2]]), "repeated: .2."),
        (space([[0, 1, 2, 3], []]), "is empty"),
        (space([[0, 1], [2, 3]], size=10**9), "says size 1000000000"),
        (space([[0, 1], [2, 3.0]]), "must be of type int"),
        (space([[0, 1], [2, True]]), "must be of type int"),
        (space([[0, 1], {"2": 3}]), "must be of type list"),
        (space([[0, 1], [2, 3]], name=None), "'spaces.name' must be of type str"),
        ({"spaces": 7}, "'spaces' must be of type list"),
        ({"spaces": [7]}, "each of 'spaces' must be an object"),
        ({"spaces": []}, "no space 'logits'"),
        ({"class_space": "other"}, "no space 'other'"),
        ({"class_names": ["a"]}, "4 classes but 1 class names"),
        ({"sections": [["logits"]]}, "each of 'sections'"),
        ({"sections": [["logits", 0]]}, "must have one group or more"),
        ({"version": [1]}, "'version' is"),
        ({"version": "1" * 10**6}, "'version' is '1{39}; this"),
        (space([[0, 1], [2, 3]], name="a\nb"), "must be a name of at most 200"),
        (space([[0, 1], [2, 3]], name="a" * 10**6), "must be a name of at most 200"),
        ({"format": "pickle"}, "not a grouping file"),
    ],
)
def test_a_grouping_out_of_range_is_refused(tmp_path, changes, match):
    path = tmp_path / "grouping.json"
    path.write_text(json.dumps(grouping_document()))
    assert Grouping.load(path).classes.size == 4
    path.write_text(json.dumps(grouping_document(**changes)))
    with pytest.raises(GroupingError, match=match):
        Grouping.load(path)


def test_a_grouping_with_many_repetitions_is_refused_at_once(tmp_path):
    path = tmp_path / "grouping.json"
    path.write_text(json.dumps(grouping_document(**space([[0] * 10**6, [1]], size=10**6 + 1))))
    with pytest.raises(GroupingError, match="repeated: .0."):
        Grouping.load(path)


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{"a": 1}]])
def test_settings_that_are_none_are_refused(tmp_path, value):
    (tmp_path / "config.json").write_text(json.dumps({"epochs": value}))
    with pytest.raises(RunError, match="'epochs' is no setting"):
        read_config(tmp_path)
