"""A model with several outputs, one of which is grouped, through the programs."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from splitnet_tf.data import Dataset, Split, load_arrays, planted_groups, save_arrays
from tests.cli.forked import run

TRAINING = ["--max_steps=8", "--batch_size=16", "--augment=none", "--preprocessing=scale11"]


def labelled(split):
    """Labels of three outputs: the class, its parity, and the brightness of the image."""
    bright = split.images.mean((1, 2, 3), dtype="float32") / 255
    others = {"parity": split.labels % 2, "brightness": bright}
    return Split(split.images, split.labels, "kind", others)


def network(as_dict):
    """Two classifiers that end in a softmax, and a regression, untrained."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    own = layers.Dense(16, activation="relu", name="hidden")(x)
    parity = layers.Softmax(name="parity")(layers.Dense(2, name="two")(x))
    outputs = {
        "kind": layers.Dense(8, activation="softmax", name="kind")(own),
        "parity": parity,
        "brightness": layers.Dense(1, name="brightness")(x),
    }
    return keras.Model(inputs, outputs if as_dict else list(outputs.values()))


@pytest.fixture(
    scope="module", params=[True, pytest.param(False, marks=pytest.mark.slow)], ids=["dict", "list"]
)
def chain(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    found = planted_groups((2,), 4, num_train=64, num_valid=32, num_test=48)
    splits = (labelled(s) for s in (found.train, found.valid, found.test))
    save_arrays(Dataset("mine", *splits, found.class_names), folder / "mine.npz")
    network(request.param).save(folder / "mine.keras")
    group = ["--dataset=mine.npz", "--model=mine.keras", "--splits=hidden:2", "--train_dir=group"]
    said = program(folder, "group", *group, *TRAINING, "--warmup_epochs=0")
    program(folder, "split", "--basemodel=group", "--train_dir=split", *TRAINING)
    return folder, said


def program(folder, name, *arguments, code=0):
    found, printed = run(name, arguments, folder / "out", cwd=folder)
    assert found == code and "Traceback" not in printed, printed[-3000:]
    return " ".join(printed.split())


def answers(file, data):
    """What Keras predicts on the images of a split, by output."""
    model = keras.saving.load_model(file)
    found = model.predict(data.images / np.float32(127.5) - 1, verbose=0)
    names = list(found) if isinstance(found, dict) else ("kind", "parity", "brightness")
    return dict(zip(names, found.values() if isinstance(found, dict) else found, strict=True))


def test_its_figures_are_those_of_keras(chain):
    folder, said = chain
    data = load_arrays(folder / "mine.npz")
    right = np.mean(
        answers(folder / "mine.keras", data.valid)["kind"].argmax(-1) == data.valid.labels
    )
    assert f"Before the first step: validation accuracy {100 * right:.2f}%." in said
    program(folder, "evaluate", "--basemodel=split", "--output_file=found.json")
    found = json.loads((folder / "found.json").read_text())
    for name, file in (("unsplit", "group/grouped.keras"), ("split", "split/tree.keras")):
        made = answers(folder / file, data.test)
        assert found[name]["top1"] == np.mean(made["kind"].argmax(-1) == data.test.labels)
        shapes = {output: x.shape for output, x in made.items()}
        assert shapes == {"parity": (48, 2), "kind": (48, 8), "brightness": (48, 1)}


def test_each_output_learns_from_its_labels(chain):
    """The loss of the first step is the sum of those of the outputs."""
    folder, _ = chain
    data = load_arrays(folder / "mine.npz")
    run = ["--splits=hidden:1,kind:1", "--model=mine.keras", "--dataset=mine.npz"]
    still = ["--initial_lr=0", "--final_lr=0", "--l2_weight=0", "--train_dir=still"]
    command = [*run, *TRAINING, *still, "--batch_size=64", "--max_steps=1", "--display=1"]
    program(folder, "group", *command)
    lines = map(json.loads, (folder / "still/metrics.jsonl").read_text().splitlines())
    loss = next(line["train/loss"] for line in lines if "train/loss" in line)
    made, part = answers(folder / "mine.keras", data.train), data.train
    rows = np.arange(len(part))
    wanted = -np.log(made["kind"])[rows, part.labels].mean()
    wanted -= np.log(made["parity"])[rows, part.others["parity"]].mean()
    wanted += np.square(made["brightness"][:, 0] - part.others["brightness"]).mean()
    assert loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_it_is_sparsified_exported_and_reported(chain):
    folder, _ = chain
    data = ["--dataset=mine.npz", *TRAINING]
    program(folder, "sparsify", *data, "--model=mine.keras", "--spaces=0.2", "--train_dir=sparse")
    said = program(folder, "shrink", *data, "--basemodel=sparse", "--train_dir=small")
    assert "Written to small" in said
    program(folder, "export", "--basemodel=split", "--export_dir=exported", "--formats=saved_model")
    program(folder, "report", "split", "--output_file=report.html")
    assert "kind" in (folder / "exported/manifest.json").read_text()


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"output": None}, "output must name the one that the labels are for"),
        ({"others": {"kind": 0}}, "output must name the one"),
        ({"others": {"parity": -1}}, "'parity' must be class numbers from 0 up"),
        ({"others": {"parity": np.nan}}, "'parity' must be finite numbers"),
        ({"others": {"box": 0}}, "its labels are for the outputs kind, box"),
    ],
)
def test_wrong_labels_are_refused(change, sentence):
    found = planted_groups((2,), 4, num_train=16, num_valid=8, num_test=8)

    def spoiled(part):
        filled = {k: np.full(len(part), v) for k, v in change.get("others", {}).items()}
        output = change.get("output", "kind")
        return Split(part.images, part.labels, output, filled or {"parity": part.labels % 2})

    train = labelled(found.train) if "box" in change.get("others", {}) else spoiled(found.train)
    with pytest.raises(ValueError, match=sentence):
        Dataset("x", train, spoiled(found.valid), spoiled(found.test), found.class_names)


def test_what_does_not_fit_is_one_sentence(chain):
    folder, _ = chain
    arguments = ["--dataset=mine.npz", "--splits=hidden:2", *TRAINING, "--train_dir=refused"]
    arguments += ["--warmup_epochs=0"]
    said = program(folder, "group", "--model=mlp", *arguments, code=2)
    assert "--model=mlp has one output, the data labels for kind, parity" in said
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(8, name="kind")(layers.Flatten()(inputs))
    keras.Model(inputs, [x]).save(folder / "one.keras")
    said = program(folder, "group", "--model=one.keras", *arguments, code=2)
    assert "it has no output 'parity', for which the data have labels" in said
    outputs = [layers.Dense(2, name="parity")(x), x, layers.Dense(1, name="brightness")(x)]
    keras.Model(inputs, outputs).save(folder / "second.keras")
    said = program(folder, "group", "--model=second.keras", *arguments, code=2)
    assert "the classes are its first output, 'parity', but the data say 'kind'" in said
    name = load_arrays(folder / "mine.npz").class_names[0]
    weighted = ["--model=mine.keras", f"--class_weight={name}:2"]
    said = program(folder, "group", *weighted, *arguments, code=2)
    assert "--class_weight needs data with labels for one output" in said
