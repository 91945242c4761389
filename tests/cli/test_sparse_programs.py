"""Structured sparsity as a user runs it: sparse training, shrink, and all that reads their runs."""

import json
import shutil

import pytest

import splitnet_tf as sn
from splitnet_tf.data import load_dataset
from splitnet_tf.recipe import Preprocessing
from splitnet_tf.runs import ShrinkResult, SparseResult, SplitResult
from splitnet_tf.stages.evaluate_run import evaluate_run
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model
from tests.cli.forked import run_programs

DIGITS = ["--dataset=digits", "--batch_size=64", "--noaugment", "--display=50"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The folder of a sparse training on digits and of the shrink after it."""
    folder = tmp_path_factory.mktemp("chain")
    sparsify = [
        *DIGITS,
        *("--model=mlp-64-24-16-10", "--spaces=fc1:0.25,fc2:0.25", "--train_dir=sparse"),
        *("--epochs=8", "--warmup_epochs=2", "--l2_weight=0"),
    ]
    shrink = [*DIGITS, "--basemodel=sparse", "--train_dir=small", "--epochs=4", "--l2_weight=0"]
    for code, out in run_programs([("sparsify", sparsify), ("shrink", shrink)], folder):
        assert code == 0, out[-2000:]
    return folder


@pytest.fixture(scope="module")
def afterwards(chain):
    """Programs that read the two run folders; what each printed."""
    small = ["--model=small/small.keras", "--splits=logits:2"]
    commands = {
        "evaluate": ("evaluate", ["--dataset=digits", "--basemodel=small", "--format=json"]),
        "cost": (
            "cost",
            ["--model=sparse/sparse.keras", "--selection=sparse/selection.json", "--format=json"],
        ),
        "export": ("export", ["--basemodel=small", "--export_dir=out", "--formats=keras"]),
        "again": ("shrink", [*DIGITS, "--basemodel=sparse", "--train_dir=small", "--epochs=7"]),
        "group": (
            "group",
            [*DIGITS, *small, "--train_dir=group", "--max_steps=40", "--warmup_epochs=1"],
        ),
        "split": ("split", [*DIGITS, "--basemodel=group", "--train_dir=split", "--max_steps=4"]),
    }
    return dict(zip(commands, run_programs(commands.values(), chain), strict=True))


def test_the_network_becomes_smaller_and_is_finetuned(chain):
    sparse, small = SparseResult.read(chain / "sparse"), ShrinkResult.read(chain / "small")
    assert 0 < sum(sparse.zero_groups.values()) < 40
    stages = small.test_accuracy
    assert stages["before"] == stages["shrunk"] == sparse.test_accuracy
    assert stages["finetuned"] > 0.85
    model = load_model(chain / "small" / "small.keras")
    assert small.params["after"] == sn.cost(model).params < small.params["before"]
    kept = sn.Selection.load(chain / "small" / "selection.json")
    assert model.get_layer("fc1").units == len(kept.space("fc1").indices)


def test_the_shrunk_model_is_evaluated_beside_the_one_with_zeros(chain, afterwards):
    code, out = afterwards["evaluate"]
    found = json.loads(out[out.index("{\n") :])
    assert code == 0 and found["shrunk"]["model"] == "small/small.keras"
    assert found["whole"]["model"].endswith("sparse/sparse.keras")
    assert found["stages"]["finetuned"] == found["shrunk"]["top1"]
    assert found["stages"]["shrunk"] == found["whole"]["top1"]


def test_cost_and_export_know_them(chain, afterwards):
    code, out = afterwards["cost"]
    found = json.loads(out[out.index("{\n") :])
    changes = read_json(chain / "small" / "changes.json")
    assert code == 0 and found["weights_after"] == changes["weights_after"]
    code, out = afterwards["export"]
    manifest = json.loads((chain / "out" / "manifest.json").read_text())
    assert code == 0 and manifest["tree"]["files"] == {"keras": "model.keras"}
    assert (chain / "out" / "model.keras").is_file()


def test_other_settings_do_not_go_on_with_a_run(afterwards):
    code, out = afterwards["again"]
    assert code == 1 and "epochs 4.0 -> 7.0" in out


def test_what_was_shrunk_is_grouped_and_split(chain, afterwards):
    assert afterwards["group"][0] == afterwards["split"][0] == 0, afterwards["group"][1][-500:]
    assert "The tree computes what the masked model computes" in afterwards["split"][1]
    small, split = ShrinkResult.read(chain / "small"), SplitResult.read(chain / "split")
    assert split.params["before"] == small.params["after"] > split.params["after"]


@pytest.mark.parametrize(
    ("file", "names", "stages"),
    [
        ("small/shrunk.keras", {"shrunk", "whole"}, True),
        ("small/mine.keras", {"model"}, False),
    ],
)
def test_other_files_of_a_shrink_are_evaluated(chain, file, names, stages, monkeypatch):
    monkeypatch.chdir(chain)
    if file.endswith("mine.keras"):
        load_model("small/small.keras").save(file)
    found = evaluate_run(file, load_dataset("digits"), preprocessing=Preprocessing("whiten"))
    assert set(found.comparison.models) == names
    assert ("right after the shrink" in str(found)) == stages


def test_what_a_shrink_was_made_of_was_fed_as_the_shrink(chain, tmp_path, monkeypatch):
    """A plain file says nothing of its preprocessing; the run that took it does."""
    shutil.copytree(chain / "small", tmp_path / "small")
    load_model(chain / "sparse" / "sparse.keras").save(tmp_path / "mine.keras")
    config = read_json(chain / "small" / "config.json") | {"basemodel": "mine.keras"}
    (tmp_path / "small" / "config.json").write_text(json.dumps(config))
    figures = []
    for folder in (chain, tmp_path):
        monkeypatch.chdir(folder)
        models = evaluate_run("small", load_dataset("digits")).comparison.models
        figures.append({name: found.top1 for name, found in models.items()})
    assert figures[0] == figures[1] and set(figures[0]) == {"whole", "shrunk"}


def test_blocks_between_devices(tmp_path):
    """With no block left only logits cross; what is written is what the table says."""
    sparsify = [*DIGITS, "--model=mlp-64-24-16-10", "--l2_weight=0", "--momentum=0", "--epochs=5"]
    sparsify += ["--initial_lr=0.5", "--num_devices=2", "--blocks=2", "--train_dir=blocks"]
    divide = ["--models=blocks", "--output_file=found.json", "--output_model=divided.keras"]
    commands = [("sparsify", sparsify), ("divide", divide)]
    for code, printed in run_programs(commands, tmp_path):
        assert code == 0, printed[-2000:]
    assert "0 of 4" in printed
    found = read_json(tmp_path / "found.json")["models"]["blocks"]
    result = SparseResult.read(tmp_path / "blocks")
    # With all blocks 24 and 16 channels go to the other device; half of the logits always do.
    assert result.bytes_crossing == {"before": 4 * (24 + 16 + 5), "after": 4 * 5}
    assert found["bytes_after"] == 4 * 5 and found["accuracy"] == result.test_accuracy
    divided = sn.DividedModel(load_model(tmp_path / "divided.keras"))
    assert divided.bytes_crossing == 4 * 5
