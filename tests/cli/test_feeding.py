"""Programs feed a model as it was trained: their figures are those of Keras."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.cli.data_flags import today
from splitnet_tf.data import Dataset, Split, save_arrays
from splitnet_tf.stages.export import export_run
from splitnet_tf.storage.models import model_notes
from tests.cli.forked import run as run_program
from tests.conftest import ROOT

COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 200]])
COUNT = 64


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a program; what it printed."""
    output = tmp_path_factory.mktemp("output") / "output"

    def run(program, *arguments, cwd, code=0):
        found, said = run_program(program, arguments, output, cwd)
        assert found == code and "Traceback" not in said, said[-3000:]
        return said

    return run


def colours():
    """Flat images of four colours, nearly: whitening would leave nothing of them."""
    rng = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count) % 4
        noise = rng.integers(-9, 10, (count, 1, 1, 3))
        images = np.broadcast_to(COLOURS[labels][:, None, None] + noise, (count, 8, 8, 3))
        return Split(images.astype(np.uint8), labels.astype(np.int32))

    return Dataset("colours", split(COUNT), split(COUNT), split(COUNT), tuple("rgbw"))


def trained(data):
    """A classifier with its own Rescaling, as tutorials have it; learned by hand, and right."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(8, 1, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(8, activation="relu", name="dense")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x))
    model.compile(
        keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(data.train.images, data.train.labels, epochs=40, batch_size=16, verbose=0)
    assert model.evaluate(data.test.images, data.test.labels, verbose=0)[1] == 1
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    data = colours()
    save_arrays(data, folder / "colours.npz")
    trained(data).save(folder / "mine.keras")
    return folder


@pytest.fixture(scope="module")
def chain(folder, run):
    """Grouped, cut, evaluated and exported; nothing is said of the preprocessing."""
    said = {
        "group": run(
            "group",
            *("--dataset=colours.npz", "--model=mine.keras", "--splits=dense:2,classes:2"),
            *("--warmup_epochs=0", "--epochs=3", "--initial_lr=0.002", "--method=balanced"),
            *("--batch_size=16", "--augment=none", "--train_dir=group"),
            cwd=folder,
        ),
        "split": run(
            *("split", "--basemodel=group", "--epochs=8", "--initial_lr=0.05"),
            *("--batch_size=16", "--augment=none", "--train_dir=split"),
            cwd=folder,
        ),
    }
    return folder, said


def evaluated(run, folder, *arguments):
    run("evaluate", *arguments, "--output_file=found.json", cwd=folder)
    return json.loads((folder / "found.json").read_text())


def test_the_figures_of_a_model_with_its_own_rescaling_are_those_of_keras(run, folder):
    found = evaluated(run, folder, "--dataset=colours.npz", "--basemodel=mine.keras")
    assert found["model"]["top1"] == 1 and found["model"]["preprocessing"] == "none"


def test_so_are_those_of_the_whole_chain(run, chain):
    folder, said = chain
    assert (
        "Inputs are prepared by --preprocessing=none, as --model=mine.keras begins"
        in (said["group"])
    )
    assert "Before the first step: validation accuracy 100.00%." in said["group"]
    reached = re.search(r"steps: validation accuracy (\S+),", said["group"])[1]
    assert f"Before the first step: validation accuracy {reached}." in said["split"]
    assert "is chance" not in said["group"] + said["split"]
    found = evaluated(run, folder, "--basemodel=split")
    data = colours().test
    for name, file in (("split", "split/tree.keras"), ("unsplit", "group/grouped.keras")):
        model = keras.saving.load_model(folder / file)
        answers = model.predict(data.images.astype("float32"), verbose=0).argmax(-1)
        assert found[name]["top1"] == np.mean(answers == data.labels)
        assert found[name]["preprocessing"] == "none"
    assert found["stages"]["before"] == found["unsplit"]["top1"]
    assert found["stages"]["finetuned"] == found["split"]["top1"]
    for file in ("group/grouped.keras", "split/cut.keras", "split/tree.keras"):
        assert model_notes(folder / file) == {"preprocessing": {"kind": "none"}}
    for run_folder in ("group", "split"):
        for name in ("config.json", "result.json"):
            written = json.loads((folder / run_folder / name).read_text())
            assert written["preprocessing"] == "none"


def test_what_is_exported_takes_raw_pixels_and_has_the_figures_of_the_tree(run, chain):
    folder, _ = chain
    said = run(
        *("export", "--basemodel=split", "--export_dir=exported", "--formats=saved_model,keras"),
        cwd=folder,
    )
    assert "It takes raw inputs, uint8 from 0 to 255." in said
    manifest = json.loads((folder / "exported/manifest.json").read_text())
    assert manifest["preprocessing"] == {"kind": "none", "included": True}
    assert manifest["expects"] == {"dtype": "uint8", "range": [0, 255]}
    assert manifest["checked"]["inputs"] == "test images of colours"
    data = colours().test
    model = keras.saving.load_model(folder / "exported/tree.keras")
    answers = model.predict(data.images, verbose=0).argmax(-1)
    found = evaluated(run, folder, "--basemodel=split")
    assert np.mean(answers == data.labels) == found["split"]["top1"]
    again = evaluated(run, folder, "--dataset=colours.npz", "--basemodel=exported/tree.keras")
    assert again["split"]["top1"] == found["split"]["top1"]
    assert again["split"]["preprocessing"] == "none"


def test_a_tree_trained_by_fit_on_raw_pixels(run, folder):
    """Its figures are those of Keras; its layers do not say that it takes raw pixels."""
    data = colours()
    x = inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(8, 1, activation="relu", name="conv")(x)
    x = layers.Dense(8, activation="relu", name="dense")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(4, name="classes")(x))
    keras.utils.set_random_seed(1)
    grouped = sn.group_model(model, [("dense", 2), ("classes", 2)])
    tree = sn.split_model(grouped, sn.read_grouping(grouped, "balanced"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tree.model.compile(keras.optimizers.Adam(0.01), loss)
    images = data.train.images.astype("float32")
    tree.model.fit(images, data.train.labels, epochs=30, batch_size=16, verbose=0)
    tree.save(folder / "fitted.keras")
    answers = tree.model.predict(data.test.images.astype("float32"), verbose=0).argmax(-1)
    accuracy = np.mean(answers == data.test.labels)
    assert accuracy > 0.5
    command = ("--dataset=colours.npz", "--basemodel=fitted.keras")
    found = evaluated(run, folder, *command, "--preprocessing=none")
    assert found["model"]["top1"] == accuracy
    assert "nothing says how" in run("evaluate", *command, cwd=folder, code=2)


def test_a_report_says_what_the_model_was_fed(run, chain):
    folder, _ = chain
    run("report", "split", "-o", "report.html", cwd=folder)
    assert "Preprocessing of the inputs: none." in (folder / "report.html").read_text()


def test_another_preprocessing_is_a_sentence(run, chain):
    folder, _ = chain
    for program, more in (("split", ["--train_dir=other"]), ("evaluate", [])):
        said = run(
            program, "--basemodel=group", "--preprocessing=whiten", *more, cwd=folder, code=2
        )
        assert (
            "--preprocessing=whiten: --basemodel=group" in said
            and "was trained with --prep" in said
        )


def test_chance_is_named(run, folder):
    said = run(
        *("evaluate", "--dataset=colours.npz", "--basemodel=mine.keras"),
        "--preprocessing=whiten",
        cwd=folder,
    )
    assert "mine.keras is right for 25.00% of 64 examples with --preprocessing=whiten" in said


def test_a_file_that_says_nothing_asks(run, folder):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(4, name="classes")(layers.Dense(8, name="dense")(x)))
    model.save(folder / "unknown.keras")
    said = run(
        *("evaluate", "--dataset=colours.npz", "--basemodel=unknown.keras"), cwd=folder, code=2
    )
    assert (
        "--basemodel=unknown.keras: nothing says how its images are prepared; give --prep" in said
    )
    said = run(
        *("group", "--dataset=colours.npz", "--model=unknown.keras", "--splits=classes:2"),
        "--train_dir=unknown",
        cwd=folder,
        code=2,
    )
    assert "--model=unknown.keras: nothing says" in said and not (folder / "unknown").exists()


def test_settings_of_before_in_todays_words():
    found = today({"augment": True, "epochs": 3})
    assert found == {"augment": "crop_flip", "epochs": 3, "preprocessing": "whiten"}
    assert today({"augment": False})["augment"] == "none"
    same = {"augment": "none", "preprocessing": "scale01"}
    assert today(same) == same


def test_the_wrong_kind_of_run_folder_is_named(run, chain):
    folder, _ = chain
    for program, base, more, sentence in (
        ("split", "split", ["--train_dir=x"], "is that of a split; give the folder of a grouping."),
        (
            "export",
            "group",
            ["--export_dir=x"],
            "is that of a grouping; give the folder of a split",
        ),
        (
            "shrink",
            "group",
            ["--train_dir=x"],
            "is that of a grouping; give the folder of a sparse",
        ),
        (
            *("group", "split", ["--train_dir=x", "--model=mine.keras", "--splits=classes:2"]),
            "is that of a split; give the folder of a plain training or a sparse training.",
        ),
    ):
        data = [] if program == "export" else ["--dataset=colours.npz"]
        said = run(program, f"--basemodel={base}", *data, *more, cwd=folder, code=1)
        assert f"Run folder --basemodel={base} {sentence}" in said


def test_data_that_have_changed_under_a_run_are_named(run, chain, tmp_path):
    folder, _ = chain
    for name in ("group", "mine.keras", "colours.npz"):
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copy
        copy(folder / name, tmp_path / name)
    data = colours()
    turned = Split(data.test.images[::-1].copy(), data.test.labels)
    save_arrays(dataclasses.replace(data, test=turned), tmp_path / "colours.npz")
    said = run("evaluate", "--basemodel=group", cwd=tmp_path, code=1)
    assert "colours.npz holds other data than group was trained on; give the data as" in said
    said = run("evaluate", "--basemodel=group", "--dataset=colours.npz", cwd=tmp_path)
    assert "--dataset=colours.npz holds other data than group was trained on." in said


def test_a_run_goes_on_for_longer_with_its_data_elsewhere(run, chain, tmp_path):
    folder, _ = chain
    shutil.copytree(folder / "group", tmp_path / "group")
    for name, copy in (("mine.keras", "mine.keras"), ("colours.npz", "moved.npz")):
        shutil.copy(folder / name, tmp_path / copy)
    command = [
        *("group", "--dataset=moved.npz", "--model=mine.keras", "--splits=dense:2,classes:2"),
        *("--warmup_epochs=0", "--initial_lr=0.002", "--method=balanced"),
        *("--batch_size=16", "--augment=none", "--train_dir=group"),
    ]
    said = run(*command, "--epochs=2", cwd=tmp_path, code=1)
    assert "was made with other settings (epochs 3.0 -> 2.0)" in said
    said = run(*command, "--epochs=4", cwd=tmp_path)
    assert "The run goes on to --epochs=4 (was 3); from here on the learning rate" in said
    assert json.loads((tmp_path / "group/result.json").read_text())["steps"] == 16


@pytest.mark.slow
def test_no_chatter_of_libraries_stands_between_the_lines(chain):
    _, said = chain
    for text in said.values():
        assert not re.search("WARNING|Warning|retracing|oneDNN|[IEW]0000", text), text
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-m", "splitnet_tf.cli.cost", "--table=2"],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "" and done.stdout.startswith("Table 2")


def test_a_moved_run_is_exported_on_its_own_data(chain, tmp_path, caplog):
    folder, _ = chain
    shutil.copytree(folder / "split", tmp_path / "split")
    (folder / "colours.npz").rename(tmp_path / "colours.npz")
    try:
        manifest = export_run(tmp_path / "split", tmp_path / "out", ["keras"], check=False)
        assert manifest["expects"] == {"dtype": "uint8", "range": [0, 255]}
    finally:
        (tmp_path / "colours.npz").rename(folder / "colours.npz")
    shutil.copytree(folder, tmp_path / "copy")
    (folder / "colours.npz").rename(folder / "away.npz")
    try:
        other = dataclasses.replace(colours(), class_names=tuple("wxyz"))
        save_arrays(other, tmp_path / "copy" / "colours.npz")
        manifest = export_run(tmp_path / "copy/split", tmp_path / "other", ["keras"], check=False)
    finally:
        (folder / "away.npz").rename(folder / "colours.npz")
    assert manifest["expects"] == {"dtype": "float32", "range": None}
    assert "holds other data than" in caplog.text and "float32 otherwise" in caplog.text


@pytest.mark.slow
def test_a_file_that_only_lies_in_a_run_folder_is_none_of_the_run_s(chain, tmp_path):
    shutil.copytree(chain[0] / "split", tmp_path / "split")
    trained(colours()).save(tmp_path / "split" / "mine.keras")
    manifest = export_run(tmp_path / "split" / "mine.keras", tmp_path / "mine", ["keras"])
    assert manifest["checked"]["inputs"] == "drawn inputs"
