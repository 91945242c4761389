"""Models of six tutorials: the figures of the programs are those of Keras, to the last digit."""

import json
import re

import keras
import pytest

from splitnet_tf.data import save_arrays
from splitnet_tf.stages.evaluate_run import evaluate_run
from tests.cli.forked import run as run_program
from tests.cli.tutorials import TUTORIALS, keras_accuracy, trained


@pytest.fixture(scope="module", params=TUTORIALS)
def tutorial(request, tmp_path_factory):
    """A folder with the model and its data, and both."""
    folder = tmp_path_factory.mktemp(request.param)
    model, data = trained(request.param)
    model.save(folder / "mine.keras")
    save_arrays(data, folder / "data.npz")
    return folder, model, data


def test_its_evaluation(tutorial):
    folder, model, data = tutorial
    accuracy = keras_accuracy(model, data.test)
    assert 0.3 < accuracy < 1  # it has learned, and there is something to lose
    found = evaluate_run(folder / "mine.keras", data).comparison.models["model"]
    assert found.top1 == accuracy and found.preprocessing == "none"


@pytest.mark.slow
def test_grouped_cut_evaluated_and_exported(tutorial):
    folder, model, data = tutorial

    def run(program, *arguments):
        code, said = run_program(program, arguments, folder / "output", folder)
        assert code == 0, said[-3000:]
        return said

    below = any(layer.name == "narrow" for layer in model.layers)
    splits = "narrow:2" if below else "hidden:2,classes:2"
    common = ("--batch_size=32", "--augment=none", "--initial_lr=0.02")
    said = run(
        *("group", "--model=mine.keras", "--dataset=data.npz", f"--splits={splits}"),
        *(*common, "--warmup_epochs=0", "--epochs=2", "--method=balanced", "--train_dir=group"),
    )
    before = re.search(r"Before the first step: validation accuracy (\S+)%", said)[1]
    assert before == f"{100 * keras_accuracy(model, data.valid):.2f}"
    assert "keras.Model.predict" not in said
    grouped = keras.saving.load_model(folder / "group/grouped.keras")
    run("split", "--basemodel=group", *common, "--epochs=2", "--train_dir=split")
    tree = keras.saving.load_model(folder / "split/tree.keras")
    run("evaluate", "--basemodel=split", "--output_file=found.json")
    found = json.loads((folder / "found.json").read_text())
    assert found["unsplit"]["top1"] == keras_accuracy(grouped, data.test, logits=True)
    assert found["split"]["top1"] == keras_accuracy(tree, data.test, logits=True) > 0.25
    assert found["stages"]["before"] == found["unsplit"]["top1"]
    assert found["stages"]["finetuned"] == found["split"]["top1"]
    run("export", "--basemodel=split", "--export_dir=exported", "--formats=saved_model,keras")
    exported = keras.saving.load_model(folder / "exported/tree.keras")
    assert keras_accuracy(exported, data.test, logits=True) == found["split"]["top1"]
