"""Reports of structured sparsity: whole, half-finished, damaged, and beside those of trees."""

import itertools
import shutil

import pytest

import splitnet_tf as sn
from splitnet_tf.report import make_report
from splitnet_tf.report.runs import SparseRun, read_runs
from splitnet_tf.runs import base_digest
from splitnet_tf.sparsity import predict_changes, random_selection
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model, save_model
from tests.report.folders import make_run, small_model, write_lines
from tests.report.html_page import Page
from tests.report.test_report import NASTY, no_pictures  # noqa: F401, a fixture

CONFIG = {"dataset": "planted-2-2", "seed": 3, "batch_size": 32, "restart": False}


def make_sparse_run(folder):
    """``sparse`` and ``small`` in a folder, as the programs leave them."""
    sparse, small = folder / "sparse", folder / "small"
    for path in (sparse, small):
        path.mkdir(parents=True)
    model = small_model(6)
    selection = random_selection(model, keep=0.5, seed=1)
    sn.apply_selection(model, selection)
    selection = sn.read_selection(model)
    changes = predict_changes(model).to_json()
    config = {**CONFIG, "model": "small.keras", "spaces": "0.25", "target_flops": None}
    config |= {"depth": "0.0", "shapes": 0.0, "channels": ["first:0.5"]}
    write_json(sparse / "config.json", {**config, "train_dir": str(sparse)})
    save_model(model, sparse / "sparse.keras")
    log = [
        {"step": s, "train/accuracy": 0.1 * s, "zero_share/spaces/first": 0.1 * s}
        for s in (1, 3, 5)
    ]
    write_lines(sparse / "metrics.jsonl", log)
    write_lines(sparse / "timing.jsonl", [{"step": 5, "images_per_second": 321.0}])
    zeros = {"zero_groups": {"spaces/first": 4}, "groups": {"spaces/first": 8}}
    zeros["bytes_crossing"] = {"before": 3400, "after": 20}
    write_json(sparse / "result.json", {"steps": 5, "test_accuracy": 0.75, **zeros})
    write_json(sparse / "changes.json", changes)
    digest = base_digest(load_model(sparse / "sparse.keras"), selection.to_json())
    config = {**CONFIG, "basemodel": str(sparse), "gather": False, "base_digest": digest}
    write_json(small / "config.json", {**config, "train_dir": str(small)})
    shrunk = sn.shrink_model(model).model
    for name in ("shrunk", "small"):
        save_model(shrunk, small / f"{name}.keras")
    selection.save(small / "selection.json")
    write_json(small / "changes.json", changes)
    write_lines(small / "metrics.jsonl", [{"step": 9, "train/accuracy": 0.4}])
    stages = {"before": 0.75, "shrunk": 0.75, "finetuned": 0.7}
    counted = [sn.cost(m) for m in (model, shrunk)]
    params, flops = (
        dict(zip(("before", "after"), (getattr(c, n) for c in counted), strict=True))
        for n in ("params", "flops")
    )
    result = {"steps": 10, "test_accuracy": stages, "params": params, "flops": flops}
    write_json(small / "result.json", result)
    measured = {"top1": 0.75, "top5": 0.9, "cross_entropy": 1.25, "seconds_per_image": 0.004}
    evaluation = {"images": "test", "whole": measured, "shrunk": {**measured, "top1": 0.7}}
    write_json(small / "evaluation.json", evaluation)
    return changes, params


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return folder, *make_sparse_run(folder)


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the run to break."""
    shutil.copytree(made[0], tmp_path / "run")
    config = read_json(tmp_path / "run" / "small" / "config.json")
    base = str(tmp_path / "run" / "sparse")
    write_json(tmp_path / "run" / "small" / "config.json", {**config, "basemodel": base})
    return tmp_path / "run"


def test_the_page_is_whole(made):
    folder, changes, params = made
    content = make_report([folder / "small"])
    page = Page(content)
    assert page.tags.count("svg") == 2 and 'class="missing"' not in content
    assert "small.keras on planted-2-2: 75.0% test accuracy before the shrink, 70.0%" in page.text
    assert f"Parameters {params['before']:,} {params['after']:,} −" in page.text
    assert "right after the shrink 75.00%, after finetuning 70.00%" in page.text
    first = changes["kernels"][0]
    shapes = ("x".join(map(str, first[when])) for when in ("before", "after"))
    assert f"first {' '.join(shapes)} {first['weights_after']:,} " in page.text
    assert "spaces/first 4 8" in page.text
    assert "Bytes between devices for one example: 3,400, 20 left." in page.text
    assert "planted-2-2 channels first:0.5; spaces 0.25 75.0%" in page.text  # no zero strengths
    assert "splitnet_tf.cli.sparsify --dataset" in page.text
    assert "splitnet_tf.cli.shrink --dataset" in page.text


def test_a_shrink_finds_its_training(made, folder, tmp_path):
    (run,) = read_runs([made[0] / "small"])
    assert isinstance(run, SparseRun) and run.trained.path == made[0] / "sparse" and not run.notes
    (run,) = read_runs([made[0] / "sparse"])
    assert run.shrink is None and run.trained is not None
    config = read_json(folder / "small" / "config.json")
    write_json(folder / "small" / "config.json", {**config, "basemodel": "none"})
    shutil.rmtree(folder / "sparse")
    (run,) = read_runs([folder / "small"])
    assert run.trained is None and "The training that this shrink was made of" in run.notes[0]


def test_trees_and_shrunk_models_on_one_page(made, tmp_path, no_pictures):  # noqa: F811
    make_run(tmp_path)
    page = Page(make_report([tmp_path / "split", made[0] / "small"]))
    assert "2 runs" in page.text and "The tree and its classes" in page.text
    assert "Layers before and after" in page.text


@pytest.mark.parametrize(
    "missing, sentence",
    [
        (["small"], "75.0% test accuracy"),
        (["small", "sparse/result.json", "sparse/changes.json", "sparse/sparse.keras"], "log ends"),
        (["small/evaluation.json"], "the run has not been evaluated"),
        (["small/small.keras", "small/result.json"], "the run has not come to its end"),
        (["sparse"], "has its log, is not there"),
    ],
)
def test_half_finished_runs(folder, missing, sentence, no_pictures):  # noqa: F811
    for name in missing:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(make_report([folder / ("sparse" if "small" in missing else "small")]))
    assert sentence in page.text


def test_numbers_of_another_model_are_told(folder, no_pictures):  # noqa: F811
    path = folder / "small" / "evaluation.json"
    evaluation = read_json(path)
    write_json(path, {**evaluation, "shrunk": {**evaluation["shrunk"], "top1": 0.9}})
    page = Page(make_report([folder / "small"]))
    assert "has 90.00% where result.json has 70.00%: it is of another model" in page.text
    result = read_json(folder / "small" / "result.json")
    write_json(folder / "small" / "result.json", {**result, "test_accuracy": {"before": 0.75}})
    assert "The shrink has no accuracy yet." in Page(make_report([folder / "small"])).text


def test_kernels_have_the_names_of_the_printed_table(folder, no_pictures):  # noqa: F811
    path = folder / "small" / "changes.json"
    changes = read_json(path)
    changes["kernels"][0]["kernel"] = "pointwise_kernel"
    write_json(path, changes)
    assert "first (pointwise_kernel) 3x3x3x8" in Page(make_report([folder / "small"])).text


VARIED = ("sparse/config", "sparse/result", "small/changes", "small/result", "small/evaluation")


@pytest.mark.parametrize("name", VARIED)
def test_numbers_of_any_kind_give_no_traceback(folder, name, no_pictures):  # noqa: F811
    path = folder / f"{name}.json"
    document = read_json(path)
    for first in range(len(NASTY)):
        values = itertools.cycle(NASTY[first:] + NASTY[:first])
        write_json(path, dict(zip(document, values, strict=False)))
        Page(make_report([folder / "sparse", folder / "small"]))
        if name == "small/changes":
            kernels = [dict(zip(k, values, strict=False)) for k in document["kernels"]]
            write_json(path, {**document, "kernels": kernels})
            Page(make_report([folder / "small"]))
