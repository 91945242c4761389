"""Small folders of pictures, and small sets as tensorflow-datasets prepares them."""

from pathlib import Path

import numpy as np
import tensorflow as tf

CLASSES = ("bird", "cat", "dog")


def drawn(rng, kind, height, width):
    """A picture of stripes, which tell its kind, over noise; uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width] / 4
    wave = np.sin(x * np.cos(kind) + y * np.sin(kind) + rng.uniform(0, 6))
    image = 128 + 80 * wave[..., None] + rng.normal(0, 20, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def encode(image, suffix=".jpg"):
    """Bytes of a picture file."""
    write = tf.io.encode_png if suffix == ".png" else tf.io.encode_jpeg
    return write(image).numpy()


def make_folder(root, counts, classes=CLASSES, sizes=(20, 41), suffix=".jpg", seed=0):
    """Writes pictures of random sizes.

    Args:
      root: folder to make.
      counts: split -> pictures of each class; the split "" for one level of classes.
      classes: names of the classes.
      sizes: least size, and the one after the largest.
    """
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for kind, name in enumerate(classes):
            folder = Path(root, split, name)
            folder.mkdir(parents=True)
            for i in range(count):
                image = drawn(rng, kind, *rng.integers(*sizes, 2))
                (folder / f"{i:03d}{suffix}").write_bytes(encode(image, suffix))
    return root


def example(image, label, **more):
    """A serialized tf.train.Example of an encoded image and a label."""
    kinds = {bytes: "bytes_list", int: "int64_list"}
    lists = {bytes: tf.train.BytesList, int: tf.train.Int64List}
    features = {
        name: tf.train.Feature(**{kinds[type(value)]: lists[type(value)](value=[value])})
        for name, value in {"image": image, "label": label, **more}.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def make_tfds(
    root,
    counts,
    name="small_set",
    file_format="tfrecord",
    names=CLASSES,
    version="1.0.0",
    **features,
):
    """A data set of JPEGs of several sizes in the files of tensorflow-datasets.

    Args:
      root: data_dir.
      counts: split -> images; "blind" is a test split without labels.
      name: of the set.
      file_format: "tfrecord" or "array_record".
      names: of the classes, or their number.
      version: of the set.
      **features: in the place of ``image`` and ``label``.
    """
    import tensorflow_datasets as tfds

    folder = Path(root, name, version)
    folder.mkdir(parents=True)
    label = tfds.features.ClassLabel(**{"num_classes" if type(names) is int else "names": names})
    found = {"image": tfds.features.Image(shape=(None, None, 3)), "label": label, **features}
    rng, kinds, splits = np.random.default_rng(1), label.num_classes, []
    for split, count in counts.items():
        split, blind = ("test", True) if split == "blind" else (split, False)
        path, records = folder / f"{name}-{split}.{file_format}-00000-of-00001", []
        for i in range(count):
            image = encode(drawn(rng, i % kinds, *rng.integers(20, 41, 2)))
            records.append(example(image, -1 if blind else i % kinds))
        write_records(path, records, file_format)
        splits.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[count],
                num_bytes=path.stat().st_size,
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=folder, dataset_name=name, split=split, filetype_suffix=file_format
                ),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=tfds.features.FeaturesDict(found),
        split_infos=splits,
        supervised_keys=("image", "label"),
        check_data=False,
    )
    return str(root)


def write_records(path, records, file_format="tfrecord"):
    """Writes serialized records to a file."""
    if file_format == "array_record":
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = ArrayRecordWriter(str(path), "group_size:1")
    else:
        writer = tf.io.TFRecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()
