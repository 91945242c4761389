"""Checkpoints: one file each, written beside and renamed, with its checksum in its name.

A checkpoint is an ``.npz`` (no pickles) of every variable of the model, the optimizer and the
random generators, and the trainer's state as JSON. ``step-00000500-<sha256, 16 digits>.npz``:
a file that is cut short or changed no longer fits its name and is passed over.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from splitnet_tf.errors import CheckpointError
from splitnet_tf.storage.atomic import write_atomically

_NAME = re.compile(r"(step|best)-(\d{8})-([0-9a-f]{16})\.npz")
_STATE = "trainer_state"


def save_checkpoint(
    folder: Path, kind: str, step: int, variables: Sequence[keras.Variable], state: dict
) -> Path:
    """Writes a checkpoint; earlier ones stay, and one of the same step goes once this is whole.

    Args:
      folder: folder of the checkpoints.
      kind: ``step`` or ``best``.
      step: steps done.
      variables: everything that training changes, always in the same order.
      state: JSON-serializable.

    Returns:
      The path written.

    Raises:
      CheckpointError: it cannot be written (a full disk, a read-only folder).
    """
    arrays = {f"{i:05d}": np.asarray(v) for i, v in enumerate(variables)}
    arrays[_STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"{kind}-{step:08d}-{digest}.npz"
    try:
        write_atomically(path, content)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be written: {error.strerror}; earlier checkpoints are "
            "intact. Free space or permissions, then run the same command again, without "
            "`restart=True`."
        ) from None
    for same in list_checkpoints(folder, kind, after=step - 1):
        if same.name.startswith(f"{kind}-{step:08d}-") and same != path:
            same.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path, kind: str, after: int = -1) -> list[Path]:
    """Lists checkpoints of a kind of more than ``after`` steps; of one step the newer is last."""
    found = []
    for path in folder.glob(f"{kind}-*.npz") if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and int(match[2]) > after:
            found.append((int(match[2]), path.stat().st_mtime_ns, path))
    return [path for _, _, path in sorted(found)]


def prune_checkpoints(folder: Path, keep: int, written: Path) -> None:
    """Removes old checkpoints.

    The newest ``keep`` by steps stay, and ``written``, whatever stands beside it. Of the best ones
    those stay that belong to a checkpoint kept: later ones than the oldest, and the last before.
    """
    steps = list_checkpoints(folder, "step")
    for path in steps[:-keep]:
        if path != written:
            path.unlink(missing_ok=True)
    kept = list_checkpoints(folder, "step")
    oldest = int(_NAME.fullmatch(kept[0].name)[2]) if kept else -1
    best = list_checkpoints(folder, "best")
    later = list_checkpoints(folder, "best", after=oldest)
    for path in best[: len(best) - len(later)][:-1]:
        path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> tuple[list[np.ndarray], dict]:
    """Reads the arrays and the state of a checkpoint.

    Raises:
      CheckpointError: the file is damaged.
    """
    match = _NAME.fullmatch(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path} cannot be read: {error.strerror}.") from None
    if match is None or hashlib.sha256(content).hexdigest()[:16] != match[3]:
        raise CheckpointError(
            f"Checkpoint {path} is damaged: its checksum is not that of its name."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            # This program compresses nothing; what would unpack to more is none of its files.
            if sum(member.file_size for member in members.infolist()) > len(content):
                raise ValueError("its members are larger than the file")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            state = json.loads(archive[_STATE].tobytes())
            arrays = [archive[name] for name in sorted(archive.files) if name != _STATE]
        if not isinstance(state, dict):
            raise ValueError("its state is not a JSON object")
    except Exception as error:  # a zip that is none, pickled objects, no state: many kinds
        raise CheckpointError(
            f"Checkpoint {path} is not one of this program ({type(error).__name__})."
        ) from None
    return arrays, state


def restore_newest(
    folder: Path, kind: str, variables: Sequence[keras.Variable], after: int = -1
) -> tuple[dict | None, Path | None]:
    """Restores the newest whole checkpoint; damaged ones are named in a warning and skipped.

    Args:
      folder, kind: see ``save_checkpoint``.
      variables: take the values of the checkpoint.
      after: int, only checkpoints of more steps are looked at. Defaults to all.

    Returns:
      Its state and path, or (None, None) when there is none.

    Raises:
      CheckpointError: a whole checkpoint is that of another model, or all are damaged.
    """
    candidates = list_checkpoints(folder, kind, after)
    for path in reversed(candidates):
        try:
            arrays, state = read_checkpoint(path)
        except CheckpointError as error:
            logging.warning("%s Skipped.", error)
            continue
        shapes = [tuple(v.shape) for v in variables]
        if [a.shape for a in arrays] != shapes:
            raise CheckpointError(
                f"Checkpoint {path} is of another model: it holds {len(arrays)} arrays that do not "
                f"fit this model's {len(shapes)}; use another `run` or `restart=True`."
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return state, path
    if candidates:
        if kind == "best":
            raise CheckpointError(f"The best checkpoint in {folder} is damaged.")
        raise CheckpointError(
            f"Every checkpoint in {folder} is damaged; begin anew with `restart=True`."
        )
    return None, None
