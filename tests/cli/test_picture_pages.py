"""Commands of the pages on pictures, run on stand-ins: a folder, and 1,000 classes by name."""

import itertools
import json
import re
import shlex

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from splitnet_tf.benchmarks.pictures import measure_pictures, resident_bytes
from splitnet_tf.data import load_folder
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.models import alexnet
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.runs import SplitResult
from splitnet_tf.storage.models import save_model
from tests.cli.forked import run
from tests.conftest import ROOT
from tests.data.small_pictures import make_folder, make_tfds

SHORT = ["--max_steps=2", "--batch_size=16", "--display=1"]


def commands(page, heading):
    """Arguments of the commands below a heading of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    block = re.search(r"```sh\n(.*?)```", text, re.S)[1]
    found = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    return [(words[0].removeprefix("splitnet-"), words[1:]) for words in found]


def shortened(program, arguments, *more):
    """Arguments of a short run."""
    if program == "evaluate":
        return [*arguments, "--batch_size=16"]
    more = [*SHORT, *more]
    # Two steps decide nothing.
    return [*arguments, *more, *(["--method=balanced"] if program == "group" else [])]


def carry_out(found, cwd):
    for program, arguments in found:
        code, printed = run(program, arguments, cwd / "printed", cwd=cwd)
        assert code == 0 and "Traceback" not in printed, (program, arguments, printed[-1500:])
    return printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_your_own_pictures(tmp_path):
    make_folder(tmp_path / "pictures", {"train": 30, "val": 6})
    found = []
    for program, arguments in commands("data.md", "Your own pictures"):
        more = []
        if program == "group":
            more = ["--image_size=32", "--model=resnet-18x0.1", "--warmup_epochs=0"]
        found.append((program, shortened(program, arguments, *more)))
    assert [program for program, _ in found] == ["group", "split", "evaluate"]
    assert "pictures, test images" in carry_out(found, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_row_of_the_tables_on_a_stand_in(tmp_path):
    """A thousand classes, read from JPEGs in the files of tensorflow-datasets."""
    counts = {"train": 2000, "validation": 1000, "blind": 10}
    real = tfds.builder("imagenet2012", data_dir=str(tmp_path)).info
    names = real.features["label"].names
    version = str(real.version)
    where = make_tfds(tmp_path / "data", counts, "imagenet2012", names=names, version=version)
    table = {"low": names[:500], "high": names[500:]}
    (tmp_path / "data" / "imagenet2012" / "superclasses.json").write_text(json.dumps(table))
    keras.utils.set_random_seed(0)
    save_model(alexnet(1000, (64, 64, 3), 0.05), tmp_path / "alexnet.keras", {})
    page = (ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [34] \| .*?, (\S+) \| `(.*)` \|$", page, re.M)
    assert [name for name, _ in rows] == [
        *("1-1-3", "1-2-5", "2-4-8", "2x5"),
        *("1-1-3", "1-2-2", "2-2-2"),
    ]
    plain, group, split, evaluate = commands("imagenet.md", "Four commands")
    small = ["--image_size=64", f"--data_dir={where}"]
    done = set()
    for name, flags in rows:
        flags = dict(flag.removeprefix("--").split("=") for flag in flags.split())
        model = "resnet-18x0.1" if "model" in flags else "alexnet.keras"
        sections = parse_splits(flags["splits"], flags.get("model", "alexnet"))
        splits = ",".join(f"{layer}:{count}" for layer, count in sections)
        runs = f"runs/{model}"
        base, made = f"{runs}/plain", f"{runs}/{name}"
        found = []
        if model not in done:
            unsplit = ",".join(f"{layer}:1" for layer, _ in sections)
            more = [f"--model={model}", f"--splits={unsplit}", *small, f"--train_dir={base}"]
            found.append(("group", shortened(*plain, *more)))
            done.add(model)
        more = [f"--model={model}", f"--splits={splits}", *small, f"--basemodel={base}"]
        found += [
            ("group", shortened(*group, *more, f"--train_dir={made}/group")),
            ("split", shortened(*split, f"--basemodel={made}/group", f"--train_dir={made}/split")),
        ]
        carry_out(found, tmp_path)
        result = SplitResult.read(tmp_path / made / "split")
        assert np.isfinite(result.valid_accuracy)
    more = [f"--basemodel={made}/split", "--output_file=evaluation.json"]
    printed = carry_out([("evaluate", [*shortened(*evaluate), *more])], tmp_path)
    assert "imagenet2012, test images" in printed and "superclasses" in printed
    carry_out([("report", [f"{made}/split", "--output_file=report.html"])], tmp_path)
    assert "superclasses" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_reading_pictures_is_timed(tmp_path):
    make_folder(tmp_path, {"": 8}, sizes=(60, 90))
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(5, name="logits")]
    )
    found = measure_pictures(model, tmp_path, batch_size=6)
    assert found.pictures == 24 and "Keras, training" in str(found)
    assert all(len(t.seconds) == 3 and t.median > 0 for t in found.timings.values())
    assert 2**25 < found.memory[0] <= found.memory[1]
    assert found.to_document()["timings"]["training step"]["images_per_second"] > 0


@pytest.mark.slow
def test_memory_does_not_grow_over_an_epoch(tmp_path):
    """Of pictures that would fill 1.8 GiB as images."""
    made = make_folder(tmp_path / "made", {"": 32}, sizes=(250, 400))
    folder = tmp_path / "many"
    for k, file in itertools.product(range(125), sorted(made.glob("*/*.jpg"))):
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / file.parent.name / f"{k:03d}-{file.name}").hardlink_to(file)
    found = load_folder(folder, 224)
    feed = SplitFeed(found.train, 32, augment="resized_crop", preprocessing=WHITEN)
    sizes = []
    for _ in itertools.islice(feed.training(), feed.steps_per_epoch):
        sizes.append(resident_bytes())
    assert len(sizes) > 250 and max(sizes) - sizes[40] < 2**26
    assert max(sizes) - sizes[0] < 2**28
