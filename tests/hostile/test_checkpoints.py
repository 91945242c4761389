"""Checkpoints: arrays alone, nothing that runs."""

import hashlib
import io

import numpy as np
import pytest

from splitnet_tf.errors import CheckpointError
from splitnet_tf.runs.checkpoints import read_checkpoint
from tests.hostile.conftest import Bomb


def write_checkpoint(folder, save, **arrays):
    """With the checksum that belongs to it in its name."""
    buffer = io.BytesIO()
    state = np.frombuffer(b"{}", np.uint8)
    save(buffer, trainer_state=state, **arrays)
    content = buffer.getvalue()
    path = folder / f"step-00000001-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    path.write_bytes(content)
    return path


def test_an_honest_checkpoint_is_read(tmp_path):
    (array,), state = read_checkpoint(write_checkpoint(tmp_path, np.savez, a=np.arange(3)))
    assert array.tolist() == [0, 1, 2] and state == {}


def test_object_arrays_in_a_checkpoint_are_refused(tmp_path, marker):
    bomb = np.array([Bomb(marker)], object)
    path = write_checkpoint(tmp_path, np.savez, a=bomb)
    with pytest.raises(CheckpointError, match="is not one of this program"):
        read_checkpoint(path)
