"""Speed of reading pictures from disk, beside Keras' own way and a training step; its memory."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis import text_table
from splitnet_tf.benchmarks.machine import describe_machine
from splitnet_tf.benchmarks.parts import training_step
from splitnet_tf.data import Pictures, Split, evaluation_batches, training_batches
from splitnet_tf.data.folder import FolderSource
from splitnet_tf.errors import DataError
from splitnet_tf.parallel import Timing, interleave, ratio
from splitnet_tf.recipe.augmentation import RESIZED_CROP
from splitnet_tf.recipe.preprocessing import NONE

COUNT, CLASSES = 640, 2  # pictures that are made where none are given
MOST_BATCHES = 20  # in a timed round
SIDES = (300, 560)  # of these; ImageNet's are 400 by 350 on average


@dataclasses.dataclass(frozen=True)
class PictureTimings:
    """Times for a batch. Prints as a table.

    Attributes:
      model: string, name of the network of the step.
      pictures, batch_size, image_size: ints.
      timings: name -> times of a batch.
      memory: bytes of the process before and the most during an epoch.
      machine: see ``describe_machine``.
    """

    model: str
    pictures: int
    batch_size: int
    image_size: int
    timings: dict[str, Timing]
    memory: tuple[int, int]
    machine: dict[str, Any]

    def speed(self, name: str) -> float:
        """Images a second."""
        return self.batch_size / self.timings[name].median

    def to_document(self) -> dict[str, Any]:
        """Speeds and times for a JSON document."""
        found = dataclasses.asdict(self)
        found["timings"] = {
            name: {"images_per_second": self.speed(name), "seconds": list(t.seconds)}
            for name, t in self.timings.items()
        }
        found["memory"] = dict(zip(("before", "most"), self.memory, strict=True))
        return {"case": "pictures", **found}

    def __str__(self) -> str:
        step = self.timings["training step"]
        rows = [
            (
                name,
                f"{self.speed(name):.1f}",
                f"{100 * t.quartile_deviation:.1f}%",
                f"{100 * ratio(t, step):.1f}%",
            )
            for name, t in self.timings.items()
        ]
        before, most = (size / 2**20 for size in self.memory)
        return (
            f"{self.pictures} pictures, images of {self.image_size}x{self.image_size} in batches "
            f"of {self.batch_size}, {self.model}, on {self.machine['processor']} "
            f"({self.machine['threads']} threads)\n\n"
            + text_table(("work", "images/s", "spread", "time of the step's"), rows)
            + f"\n\nmemory of the process: {before:.0f} MiB before an epoch, {most:.0f} MiB at most"
        )


def measure_pictures(
    model: keras.Model,
    folder: str | Path | None = None,
    *,
    batch_size: int = 32,
    repeats: int = 3,
    name: str | None = None,
) -> PictureTimings:
    """Times batches of pictures as they are read for evaluation and for training.

    Keras' ``image_dataset_from_directory`` takes the middle for evaluation; for training it scales
    the middle to 8/7 of the size, and a random crop and flip follow.

    Args:
      model: takes square images of three channels and returns logits.
      folder: pictures, in a folder for each class. Defaults to some that are made.
      batch_size: int, images in a batch.
      repeats: int, timed rounds of a few batches, interleaved.
      name: name of the model. Defaults to its own.

    Raises:
      DataError: the folder has fewer pictures than a batch.
    """
    with tempfile.TemporaryDirectory(prefix="splitnet-") as made:
        folder = Path(folder) if folder else _make_pictures(Path(made))
        files = sorted(str(p.relative_to(folder)) for p in folder.glob("*/*.*") if p.is_file())
        if len(files) < batch_size:
            raise DataError(
                f"`pictures={folder}` has {len(files)} pictures in folders of classes; it needs "
                f"{batch_size} or more, a batch."
            )
        size, classes = model.input_shape[1], model.output_shape[-1]
        sizes = np.array([(folder / file).stat().st_size for file in files])
        labels = np.arange(len(files), dtype=np.int32) % classes
        split = Split(Pictures(FolderSource(folder, files, sizes), size), labels)
        work = {
            "pictures, evaluation": evaluation_batches(split, batch_size, preprocessing=NONE),
            "Keras, evaluation": _of_keras(folder, size, batch_size),
            "pictures, training": training_batches(
                split, batch_size, 0, augment=RESIZED_CROP, preprocessing=NONE
            ),
            "Keras, training": _of_keras(folder, size, batch_size, training=True),
        }
        count = max(1, min(len(files) // batch_size, MOST_BATCHES))
        # Each time from the start: batches that are ready were made while others were timed.
        cases = {name: lambda b=data: _take(b, count) for name, data in work.items()}
        step, (images, y) = training_step(model), next(iter(work["pictures, training"]))
        cases["training step"] = lambda: float(step(images, y, 1e-3)["cross_entropy"])
        found = interleave(cases, repeats, warmup=1)
        for name_, timing in found.items():
            if name_ != "training step":
                found[name_] = Timing(tuple(s / count for s in timing.seconds))
        before = most = resident_bytes()
        for _ in itertools.islice(work["pictures, training"], len(files) // batch_size):
            most = max(most, resident_bytes())
    return PictureTimings(
        *(name or model.name, len(files), batch_size, size, found, (before, most)),
        describe_machine(),
    )


def resident_bytes() -> int:
    """Memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _of_keras(folder: Path, size: int, batch_size: int, training: bool = False) -> tf.data.Dataset:
    data = keras.utils.image_dataset_from_directory(
        folder,
        image_size=(size * 8 // 7,) * 2 if training else (size, size),
        batch_size=batch_size,
        shuffle=training,
        seed=0,
        crop_to_aspect_ratio=True,
        verbose=False,
    )
    if not training:
        return data
    change = keras.Sequential([keras.layers.RandomCrop(size, size), keras.layers.RandomFlip()])
    return data.map(lambda x, y: (change(x, training=True), y), tf.data.AUTOTUNE).prefetch(2)


def _take(batches: Iterable, count: int) -> None:
    for _ in itertools.islice(batches, count):
        pass


def _make_pictures(root: Path) -> Path:
    """Writes JPEGs of several sizes and about as many bytes as photographs."""
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        folder = root / str(i % CLASSES)
        folder.mkdir(exist_ok=True)
        height, width = rng.integers(*SIDES, 2)
        coarse = rng.uniform(0, 255, (height // 24, width // 24, 3)).astype("float32")
        image = tf.image.resize(coarse, (height, width), "bicubic")
        image += rng.normal(0, 8, image.shape).astype("float32")
        image = tf.saturate_cast(image, tf.uint8)
        (folder / f"{i:05d}.jpg").write_bytes(tf.io.encode_jpeg(image, quality=90).numpy())
    return root
