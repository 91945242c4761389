"""SIGKILL at random moments while pictures are read from disk, or a set is taken by its name."""

import random
from pathlib import Path

import keras
import pytest
from keras import layers

from splitnet_tf.stages.preprocessing import notes_of
from splitnet_tf.storage.models import save_model
from tests.cli.small_programs import COMMON, GROUP
from tests.cli.test_kills import survive
from tests.data.small_pictures import make_folder
from tests.data.test_small_datasets import folder_of


def model_for(path, shape, classes):
    """A network with batch norm and dropout, quickly traced."""
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="first")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, use_bias=False, name="second")(layers.Dropout(0.2, seed=3)(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="functional")
    save_model(model, path, notes_of("whiten"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["folder", "mnist", "cifar10", "cifar10_on_disk"])
def test_killed_runs_end_as_undisturbed_ones(tmp_path, kind):
    shape, classes, more = (16, 16, 3), 10, []
    if kind == "folder":
        classes = 8
        make_folder(tmp_path / "mine", {"train": 20, "val": 4}, tuple("abcdefgh"))
        more = [f"--dataset={tmp_path / 'mine'}", "--image_size=16", "--augment=resized_crop"]
    elif kind == "mnist":
        shape, more = (28, 28, 1), ["--dataset=mnist", f"--data_dir={folder_of('mnist')}"]
    else:
        more = ["--dataset=cifar10", f"--data_dir={folder_of('cifar10')}"]
        shape = (32, 32, 3)
        if kind == "cifar10_on_disk":
            more, shape = [*more, "--image_size=16", "--validation_share=0.01"], (16, 16, 3)
    more += ["--warmup_epochs=0.01"] if kind != "folder" else []
    model_for(tmp_path / "small.keras", shape, classes)
    arguments = [*COMMON, *GROUP, f"--model={tmp_path / 'small.keras'}", *more]
    folder = Path(tmp_path, "group")
    folder.mkdir()
    survive("group", arguments, "grouped.keras", "grouping.json", folder, 2, random.Random(5))
