"""Data sets as ``.npz`` files, which NumPy alone reads, on machines without TensorFlow too."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.errors import DataError
from splitnet_tf.storage.atomic import write_atomically

SPLITS = ("train", "valid", "test")
NEEDED = (*(f"{s}_{part}" for s in SPLITS for part in ("images", "labels")), "class_names")
OPTIONAL = ("superclasses", "superclass_names", "output")


def save_arrays(dataset: Dataset, path: str | Path) -> None:
    """Writes a data set.

    Members: ``train_images`` and ``train_labels``, the same of ``valid`` and ``test`` (see
    ``Split``), ``class_names`` (classes,) and, where there are any, ``superclasses`` int
    (classes,) and ``superclass_names``. Of several outputs, ``output`` names the one that these
    labels are for, and ``train_labels.<output>`` and so on hold those of each other one.

    Raises:
      DataError: it cannot be written.
    """
    arrays = {"class_names": np.array(dataset.class_names)}
    for name in SPLITS:
        split = getattr(dataset, name)
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = split.images, split.labels
        arrays |= {f"{name}_labels.{output}": x for output, x in split.others.items()}
    if dataset.train.output is not None:
        arrays["output"] = np.array(dataset.train.output)
    if dataset.superclasses is not None:
        arrays["superclasses"] = np.asarray(dataset.superclasses)
        arrays["superclass_names"] = np.array(dataset.superclass_names)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        write_atomically(path, buffer.getbuffer())
    except OSError as error:
        raise DataError(f"Data file {path} cannot be written: {error.strerror}.") from None


def load_arrays(path: str | Path) -> Dataset:
    """Reads a data set that ``save_arrays`` or ``numpy.savez`` wrote; pickles are not read.

    Raises:
      DataError: it is missing, damaged, compressed, or has other members than ``save_arrays`` says.
    """
    path = Path(path)
    try:
        arrays = _read(path)
    except FileNotFoundError:
        raise DataError(
            f"Data file {path} does not exist; download_cifar100.py --npz={path} writes it."
        ) from None
    except OSError as error:
        raise DataError(f"Data file {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise DataError(f"Data file {path} is refused: {error}.") from None
    superclasses, names = arrays.get("superclasses"), ()
    if superclasses is not None:
        names = tuple(str(n) for n in arrays["superclass_names"])
    return Dataset(
        path.stem[:60],
        *(_split(arrays, name) for name in SPLITS),
        tuple(str(n) for n in arrays["class_names"]),
        superclasses,
        names,
    )


def _split(arrays: dict[str, np.ndarray], name: str) -> Split:
    prefix = f"{name}_labels."
    return Split(
        _inputs(arrays[f"{name}_images"]),
        arrays[f"{name}_labels"].astype(np.int32),
        str(arrays["output"]) if "output" in arrays else None,
        {key.removeprefix(prefix): x for key, x in arrays.items() if key.startswith(prefix)},
    )


def _inputs(array: np.ndarray) -> np.ndarray:
    """Inputs in the types that models compute with: bytes of images, int32, float32."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array if array.ndim == 4 else array.astype(np.int32, copy=False)


def _is_known(name: str) -> bool:
    known = name in NEEDED + OPTIONAL
    return known or any(name.startswith(f"{split}_labels.") for split in SPLITS)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Reads the members; a ValueError gives the reason why not."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            found = [e.filename.removesuffix(".npy") for e in entries]
            wrong = [n for n in NEEDED if n not in found] or [
                n for n in found if not _is_known(n) or found.count(n) > 1
            ]
            if wrong or ("superclasses" in found) != ("superclass_names" in found):
                wrong = wrong or ["superclasses and superclass_names, one without the other"]
                raise ValueError(
                    f"it must hold {', '.join(NEEDED)} and may hold {', '.join(OPTIONAL)} and "
                    f"<split>_labels.<output>, each once; see '{wrong[0][:60]}'"
                )
            # Whatever unpacks to more than is there was made by somebody else.
            if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
                raise ValueError("its members are compressed; write it with numpy.savez")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in found}
    except (OSError, ValueError):
        raise
    except Exception as error:  # a zip that is none or damaged: many kinds
        raise ValueError(f"it is damaged or no .npz file ({type(error).__name__})") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"'{name}' is no array")
        part = name.split("_")[-1]
        kind = {"names": "U", "labels": "iub", "superclasses": "iu"}.get(part)
        rows = (1, 2) if part == "labels" else (1,)  # of several classes: a matrix of 0 and 1
        if kind and (array.ndim not in rows or array.dtype.kind not in kind):
            what = "names" if kind == "U" else "integers"
            raise ValueError(f"'{name}' must be a row of {what}; it is {array.dtype} {array.shape}")
        whole = part == "labels" or part == "images" and array.dtype.kind in "iu"
        for end in (array.min(), array.max()) if whole and array.size else ():
            if not np.iinfo(np.int32).min <= int(end) <= np.iinfo(np.int32).max:
                raise ValueError(f"'{name}' has a number of {end}, beyond those of int32")
    if "output" in arrays and (arrays["output"].dtype.kind, arrays["output"].ndim) != ("U", 0):
        raise ValueError("'output' must be the name of one output of the model")
    if "superclasses" in arrays:
        supers, count = arrays["superclasses"], len(arrays["superclass_names"])
        if len(supers) != len(arrays["class_names"]) or supers.min() < 0 or supers.max() >= count:
            raise ValueError(
                f"'superclasses' must give one of the {count} superclasses for each class"
            )
    return arrays
