"""One model of each family of keras.applications: the programs' figures are those of Keras."""

import json
import re

import keras
import numpy as np
import pytest

from splitnet_tf.data import Dataset, Split, save_arrays
from tests.cli.forked import run as run_program

# Model, smallest side of its images, module of its ``preprocess_input``.
FAMILIES = {
    "ConvNeXtTiny": (32, "convnext"),
    "DenseNet121": (32, "densenet"),
    "EfficientNetB0": (32, "efficientnet"),
    "EfficientNetV2B0": (96, "efficientnet_v2"),
    "InceptionResNetV2": (75, "inception_resnet_v2"),
    "InceptionV3": (75, "inception_v3"),
    "MobileNet": (32, "mobilenet"),
    "MobileNetV2": (32, "mobilenet_v2"),
    "MobileNetV3Small": (32, "mobilenet_v3"),
    "NASNetMobile": (32, "nasnet"),
    "ResNet50": (32, "resnet"),
    "ResNet50V2": (32, "resnet_v2"),
    "VGG16": (32, "vgg16"),
    "Xception": (71, "xception"),
}
CLASSES, COUNTS = 4, (32, 24, 24)


def dataset(side):
    """Noise whose colour and brightness say the class: preprocessing changes the answers."""
    rng = np.random.default_rng(5)

    def split(count):
        labels = np.arange(count, dtype=np.int32) % CLASSES
        colours = rng.integers(0, 256, (count, 1, 1, 3))
        images = 0.6 * colours + 0.4 * rng.integers(0, 256, (count, side, side, 3))
        return Split(images.astype(np.uint8), labels)

    return Dataset("colours", *map(split, COUNTS), tuple("abcd"))


def accuracy(model, split, prepare):
    answers = model.predict(prepare(split.images.astype("float32")), verbose=0)
    return float(np.mean(answers.argmax(axis=1) == split.labels))


def settle(model, images):
    """Gives batch norms statistics of the data, as trained networks have: answers then differ.

    Of all images and without dropout: with other statistics than those of inference, answers
    and differences of rounding would grow from layer to layer.
    """
    kinds = (keras.layers.BatchNormalization, keras.layers.Dropout)
    norms, drops = ([x for x in model.layers if isinstance(x, kind)] for kind in kinds)
    rates = [layer.rate for layer in drops]
    for layer in norms:
        layer.momentum = 0.0
    for layer in drops:
        layer.rate = 0.0
    model(images, training=True)
    for layer in norms:
        layer.momentum = 0.99
    for layer, rate in zip(drops, rates, strict=True):
        layer.rate = rate


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_before_training_after_it_and_exported(name, tmp_path):
    side, module = FAMILIES[name]
    prepare = getattr(keras.applications, module).preprocess_input
    data = dataset(side)
    save_arrays(data, tmp_path / "data.npz")
    keras.utils.set_random_seed(7)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=CLASSES
    )
    every = [part.images.astype("float32") for part in (data.train, data.valid, data.test)]
    settle(model, prepare(np.concatenate(every)))
    model.save(tmp_path / "mine.keras")

    def run(program, *arguments):
        code, said = run_program(program, arguments, tmp_path / "output", tmp_path)
        assert code == 0, said[-3000:]
        return said

    def evaluated(base, *arguments):
        run("evaluate", f"--basemodel={base}", "--output_file=found.json", *arguments)
        return json.loads((tmp_path / "found.json").read_text())

    found = evaluated("mine.keras", "--dataset=data.npz")
    assert found["model"]["top1"] == accuracy(model, data.test, prepare)
    head = [layer.name for layer in model.layers if layer.weights][-1]
    common = ("--batch_size=8", "--augment=none", "--initial_lr=0.001")
    said = run(
        *("group", "--model=mine.keras", "--dataset=data.npz", f"--splits={head}:2", *common),
        *("--warmup_epochs=0", "--max_steps=2", "--method=balanced", "--train_dir=group"),
    )
    before = re.search(r"Before the first step: validation accuracy (\S+)%", said)[1]
    assert before == f"{100 * accuracy(model, data.valid, prepare):.2f}"
    run("split", "--basemodel=group", *common, "--max_steps=2", "--train_dir=split")
    found = evaluated("split")
    grouped = keras.saving.load_model(tmp_path / "group/grouped.keras")
    tree = keras.saving.load_model(tmp_path / "split/tree.keras")
    assert found["unsplit"]["top1"] == accuracy(grouped, data.test, prepare)
    assert found["split"]["top1"] == accuracy(tree, data.test, prepare)
    run("export", "--basemodel=split", "--export_dir=exported", "--formats=keras")
    exported = keras.saving.load_model(tmp_path / "exported/tree.keras")
    assert accuracy(exported, data.test, lambda x: x) == found["split"]["top1"]
