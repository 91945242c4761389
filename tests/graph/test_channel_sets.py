"""Channel sets that need not hold every channel: their check, and their way through a file."""

import dataclasses

import numpy as np
import pytest

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.channel_sets import ChannelSets, SetsFile, space_entry


@dataclasses.dataclass(frozen=True)
class Kept(ChannelSets):
    error = PlanError


FILE = SetsFile("kept file", "test.kept", "a.program", PlanError)


def test_a_subset_through_a_file(tmp_path):
    spaces = (Kept("conv", ((1, 4),), 6), Kept("fc", ((),), 3))
    path = tmp_path / "kept.json"
    path.write_text(FILE.to_json({"model": "net", "spaces": [space_entry(s) for s in spaces]}))

    def build(document):
        FILE.check_format(document)
        return FILE.spaces(document, Kept)

    assert FILE.read(path, build) == spaces
    np.testing.assert_array_equal(spaces[0].labels(), [-1, 0, -1, -1, 0, -1])
    with pytest.raises(PlanError, match=r"^Kept file .*none\.json does not exist; a\.program"):
        FILE.read(tmp_path / "none.json", build)


@pytest.mark.parametrize("members", [((1, 1),), ((0, 6),), ((-1,),), ((0, 1), (1, 2))])
def test_a_channel_twice_or_of_another_space_is_refused(members):
    with pytest.raises(PlanError, match="space 'conv' must be indices from 0 to 5, each once"):
        Kept("conv", members, 6).check()
    Kept("conv", ((0, 5), (3,)), 6).check()


@pytest.mark.parametrize("size", [1, -3, True, "6"])
def test_a_size_that_cannot_be_is_refused(size):
    document = {"spaces": [{"name": "conv", "size": size, "members": [[0, 5]]}]}
    with pytest.raises(PlanError, match="size"):
        FILE.spaces(document, Kept)
