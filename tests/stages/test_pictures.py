"""The whole chain on pictures that stay on disk."""

import numpy as np

import splitnet_tf as sn
from splitnet_tf import data
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.stages.loop import Loop
from splitnet_tf.stages.run_data import data_file
from tests.data.small_pictures import make_folder
from tests.stages.conftest import SECTIONS, make_network


def test_groups_a_tree_and_its_accuracy_from_pictures(tmp_path):
    classes = tuple("abcdefgh")
    folder = make_folder(tmp_path / "mine", {"train": 8, "val": 3}, classes)
    found = data.load_dataset(str(folder), image_size=16)
    train, valid, test = (
        SplitFeed(split, 16, augment="resized_crop", preprocessing=WHITEN)
        for split in (found.train, found.valid, found.test)
    )
    grouped = sn.group_model(make_network(), SECTIONS)
    recipe, loop = sn.GroupingRecipe(warmup_epochs=0), Loop(max_steps=4)
    how = {"loop": loop, "test": test, "class_names": found.class_names, "method": "balanced"}
    learned = sn.learn_groups(grouped, train, valid, recipe, run=tmp_path / "run", **how)
    assert learned.grouping.class_names == classes
    tree = sn.split_model(grouped, learned.grouping)
    sn.recalibrate_batch_norm(tree.model, train.training(), 2)
    measured = sn.evaluate_model(tree, test, batch_size=5)
    answers = tree.model.predict(WHITEN(found.test.images[np.arange(24)]), verbose=0)
    right = np.argmax(answers, axis=-1) == found.test.labels
    assert measured.images == 24 and abs(measured.top1 - right.mean()) < 1e-6


def test_a_run_finds_its_pictures_again(tmp_path, monkeypatch):
    """Beside itself, where it was made, or moved with it; not a folder of runs of that name."""
    make_folder(tmp_path / "here" / "pictures", {"train": 2})
    run = tmp_path / "here" / "runs" / "pictures" / "group"
    run.mkdir(parents=True)
    for place in ("here", "there"):
        monkeypatch.chdir(tmp_path)
        found = data_file(tmp_path / place / "runs" / "pictures" / "group", "pictures")
        assert found == str(tmp_path / place / "pictures")
        if place == "here":
            (tmp_path / "here").rename(tmp_path / "there")
    assert data_file(tmp_path / "there" / "runs", "mnist") == "mnist"
    assert data_file(tmp_path / "there" / "runs", "oxford_flowers102") == "oxford_flowers102"
