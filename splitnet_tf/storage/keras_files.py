"""Check of ``.keras`` files: the zip that Keras writes, of the size that it says, no more.

Before Keras opens the file, these are checked: its members and their checksums, the sizes they
unpack to, the names in its config (see ``keras_configs``), and that its weights are plain arrays
inside the file itself.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from splitnet_tf.storage.json_files import CHECKSUM, checksum, parse_json
from splitnet_tf.storage.keras_configs import check_config

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_CONFIG_BYTES = 64 * 1024 * 1024
MAX_METADATA_BYTES = 1024 * 1024
MAX_NOTES_BYTES = 16 * 1024
NOTES = "splitnet_tf"
MAX_EXPANSION = 4  # Keras does not compress; somebody who zips a file anew gains little


def check_model_file(path: Path, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Refuses a ``.keras`` file that is damaged or holds more than a model.

    Args:
      path: file to check.
      custom_objects: classes and functions besides Keras' and this package's that the file may
        name, by registered name.

    Raises:
      ValueError: the reason.
      OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
            # Each is read whole, which compares its checksum.
            metadata, config = archive.read(METADATA), archive.read(CONFIG)
            weights = archive.read(WEIGHTS)
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise ValueError(f"it is damaged or no zip file ({error})") from None
    read_notes(path)
    if not isinstance(_parse(metadata, METADATA), dict):
        raise ValueError(f"its {METADATA} is no JSON object")
    document = _parse(config, CONFIG)
    if isinstance(document, dict):
        document.pop("compile_config", None)  # losses and optimizers are not loaded
    check_config(document, custom_objects)
    _check_weights(weights)


def write_notes(path: Path, notes: Mapping[str, Any]) -> None:
    """Writes notes on a model into its ``.keras`` file, which stays a file of Keras alone.

    They are the comment of the zip, JSON with a checksum: Keras unpacks a file with a member of
    its own to a temporary folder at each load, and passes the comment over.

    Args:
      path: file that Keras wrote.
      notes: JSON-serializable, with string keys.

    Raises:
      OSError: it cannot be written.
    """
    document = {NOTES: dict(notes)}
    text = json.dumps({**document, CHECKSUM: checksum(document)}).encode()
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = text


def read_notes(path: Path) -> dict[str, Any]:
    """Notes that ``write_notes`` wrote; none of a file without.

    Raises:
      ValueError: they are too long, damaged, or the file is no zip.
      OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.comment
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"it is damaged or no zip file ({error})") from None
    if not text.startswith(b'{"' + NOTES.encode()):
        return {}
    if len(text) > MAX_NOTES_BYTES:
        raise ValueError(f"its notes of {len(text)} bytes are longer than {MAX_NOTES_BYTES}")
    try:
        notes = parse_json(text.decode()).get(NOTES)
    except ValueError as error:
        raise ValueError(f"its notes: {error}") from None
    if not isinstance(notes, dict):
        raise ValueError("its notes are no JSON object")
    return notes


def _check_members(archive: zipfile.ZipFile, file_size: int) -> None:
    names = archive.namelist()
    for name in names:
        if name not in (CONFIG, METADATA, WEIGHTS, "assets/"):
            raise ValueError(f"its member '{name[:60]}' is none that Keras writes for a classifier")
    for name in (CONFIG, METADATA, WEIGHTS):
        if names.count(name) != 1:
            raise ValueError(f"it must hold one {name} but holds {names.count(name)}")
    limits = {
        CONFIG: MAX_CONFIG_BYTES,
        METADATA: MAX_METADATA_BYTES,
        WEIGHTS: max(MAX_EXPANSION * file_size, MAX_CONFIG_BYTES),
        "assets/": 0,
    }
    for info in archive.infolist():
        if info.file_size > limits[info.filename]:
            raise ValueError(
                f"its {info.filename} of {info.compress_size} bytes unpacks to {info.file_size}"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its {info.filename} is compressed in a way that Keras does not use")


def _parse(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"its {name} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"its {name} is not valid JSON ({str(error)[:80]})") from None


def _check_weights(content: bytes) -> None:
    """Refuses all but plain arrays of numbers stored in this file: links, other files, bombs."""
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            declared, stack, seen = 0, [file], set()
            while stack:
                group = stack.pop()
                for name in group:
                    where = f"{group.name.rstrip('/')}/{name}"[:80]
                    link = group.get(name, getlink=True)
                    if not isinstance(link, h5py.HardLink):
                        raise ValueError(f"its weights have a {type(link).__name__} at {where}")
                    item = group[name]
                    address = h5py.h5o.get_info(item.id).addr
                    if address in seen:
                        raise ValueError(f"its weights have two names for one object at {where}")
                    seen.add(address)
                    if isinstance(item, h5py.Group):
                        stack.append(item)
                    else:
                        declared += _bytes(item, where)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"its weights are damaged ({str(error)[:80]})") from None
    if declared > len(content):
        raise ValueError(f"its weights of {len(content)} bytes say that they are {declared}")


def _bytes(item: Any, where: str) -> int:
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"its weights have a {type(item).__name__} at {where}")
    if item.external or item.is_virtual:
        raise ValueError(f"its weights at {where} are in another file")
    if item.dtype.kind not in "biufV" or item.dtype.names is not None or item.dtype.hasobject:
        raise ValueError(f"its weights at {where} are no numbers ({item.dtype})")
    if item.id.get_create_plist().get_nfilters():
        raise ValueError(f"its weights at {where} are compressed, which Keras does not do")
    return item.nbytes
