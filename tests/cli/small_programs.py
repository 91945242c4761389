"""A small model for whole programs, soon at its first step; comparisons of what they leave."""

import io
import zipfile

import h5py
import keras
import numpy as np
from keras import layers

from splitnet_tf.stages.preprocessing import notes_of
from splitnet_tf.storage.models import save_model

COMMON = ["--dataset=planted", "--batch_size=32", "--deterministic", "--max_steps=40"]
COMMON += ["--display=4", "--val_interval=8", "--checkpoint_interval=2"]
SPLIT = ["--recalibrate_batches=5"]
# The strength grows at every evaluation but the first two: its state must outlast a kill.
SPARSE = ["--spaces=0.2", "--warmup_epochs=0.05", "--ramp_epochs=0.05", "--target_flops=0.2"]
GROUP = ["--splits=second:2,logits:2", "--warmup_epochs=0.1"]


def weights(path):
    """Every array of a .keras file, by its place."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        content = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(visit)
    return found


def small_model(path, dropout=0.2):
    """Batch norm and dropout have state beside the weights; quickly traced."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="first")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, use_bias=False, name="second")(layers.Dropout(dropout, seed=3)(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(8, name="logits")(x), name="functional")
    save_model(model, path, notes_of("whiten"))


def same_weights(one, other):
    found, wanted = weights(one), weights(other)
    assert found.keys() == wanted.keys() and len(found) > 7
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def same_files(folder, expected, names=("metrics.jsonl", "grouping.json", "result.json")):
    for name in names:
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
