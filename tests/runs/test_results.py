"""``result.json``: the keys of every run so far, and what is refused on reading."""

import pytest

from splitnet_tf.errors import RunError
from splitnet_tf.runs import GroupResult, ShrinkResult, SparseResult, SplitResult
from splitnet_tf.storage.json_files import read_json, write_json

GROUP = {
    **{"steps": 40, "epochs": 1.5, "stopped": "converged", "rollbacks": 0},
    **{"valid_accuracy": 0.5, "test_accuracy": 0.4, "test_top5": 1, "test_cross_entropy": 1.25},
    "off_block_energy": 0.001,
}
SPLIT = {
    **{"steps": 40, "epochs": 1.5, "stopped": "max_steps", "rollbacks": 1},
    "test_accuracy": {"before": 0.5, "cut": 0.2, "finetuned": 0.45},
    **{"valid_accuracy": 0.5, "off_block_energy": {"unit_2_0": 0.001}, "group_sizes": [2, 6]},
    **{"params": {"before": 10, "after": 6}, "flops": {"before": 100, "after": 70}},
}
SPARSE = {
    **{"steps": 40, "test_accuracy": 0.4, "strength": 1.69, "needed_factor": 1.5},
    **{"zero_groups": {"spaces/conv1": 14}, "groups": {"spaces/conv1": 20}},
    **{"weights": {"before": 10, "after": 6}, "multiply_adds": {"before": 100, "after": 7}},
    "bytes_crossing": {"before": 340, "after": 20},
}
SHRINK = {
    **{"steps": 40, "test_accuracy": {"before": 0.5, "shrunk": 0.5, "finetuned": 0.45}},
    **{"params": {"before": 10, "after": 6}, "flops": {"before": 100, "after": 70}},
}
KINDS = [(GroupResult, GROUP), (SplitResult, SPLIT), (SparseResult, SPARSE), (ShrinkResult, SHRINK)]


@pytest.mark.parametrize(("kind", "document"), KINDS)
def test_a_result_has_the_keys_of_its_file(kind, document, tmp_path):
    write_json(tmp_path / "result.json", {**document, "of_a_later_version": [1]})
    found = kind.read(tmp_path)
    assert found == kind(**document)
    found.write(tmp_path)
    assert read_json(tmp_path / "result.json") == document


def test_values_that_were_not_measured_have_no_key():
    assert GroupResult(steps=3).to_document() == {"steps": 3}


WRONG = [
    (GroupResult, {"steps": "many"}, "'steps' must be of type int; got 'many'"),
    (GroupResult, {"steps": True}, "'steps' must be of type int; got True"),
    (GroupResult, {"steps": -1}, "'steps' must be"),
    (GroupResult, {"epochs": 10**400}, "'epochs' must be of type float"),
    (GroupResult, {"test_accuracy": SPLIT["test_accuracy"]}, "'test_accuracy' must be"),
    (SplitResult, {"test_accuracy": 0.5}, "'test_accuracy' must be of type dict"),
    (SplitResult, {"params": {"before": 1.5}}, "'params' must be"),
    (SplitResult, {"group_sizes": [[1]]}, "'group_sizes' must be"),
]


@pytest.mark.parametrize(("kind", "change", "sentence"), WRONG)
def test_a_value_of_another_kind_is_refused(kind, change, sentence, tmp_path):
    document = GROUP if kind is GroupResult else SPLIT
    write_json(tmp_path / "result.json", {**document, **change})
    with pytest.raises(RunError, match=sentence):
        kind.read(tmp_path)


def test_files_that_are_no_result(tmp_path):
    with pytest.raises(FileNotFoundError):
        SplitResult.read(tmp_path)
    for text, sentence in (("{}", "it has no 'steps'"), ("{", "result.json: not valid JSON")):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(RunError, match=sentence):
            SplitResult.read(tmp_path)
