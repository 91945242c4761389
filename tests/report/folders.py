"""Run folders as the programs leave them, made by the library in a moment."""

import dataclasses
import json

import keras
import numpy as np
from keras import layers

import splitnet_tf as sn
from splitnet_tf.runs import base_digest
from splitnet_tf.storage.json_files import write_json
from splitnet_tf.storage.models import load_model, save_model
from tests.conftest import random_grouping, scramble

SECTIONS = [("second", 2), ("logits", 4)]
CLASSES = tuple(f"group{g}.{s}-{k}" for g in range(2) for s in range(2) for k in range(3))
CONFIG = {"dataset": "planted-2-2", "seed": 3, "batch_size": 32, "restart": False}


def small_model(num_classes, seed=0):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, use_bias=False, name="first")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(16, 3, use_bias=False, name="second")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    outputs = layers.Dense(num_classes, name="logits")(x)
    return scramble(keras.Model(inputs, outputs, name="small"), seed)


def write_lines(path, entries):
    path.write_text("".join(json.dumps(e) + "\n" for e in entries))


def log_entries(grouping, steps):
    """What the watch of a grouping logs, with numbers that move."""
    for i, step in enumerate(steps):
        share = i / max(len(steps) - 1, 1)
        entry = {"step": step, "train/accuracy": 0.5 * share, "split/group_weight": 1 - share}
        entry |= {"split/disjointness": 1 - share, "split/balance": 1.0}
        entry["split/off_block_energy"] = 0.5 * 0.01**share
        for space in grouping.spaces:
            entry[f"largest_p/{space.name}"] = 0.5 + 0.5 * share
            for g, members in enumerate(space.members):
                entry[f"group_size/{space.name}/{g}"] = len(members)
        yield entry


def confusion(num_classes, seed, images=20):
    """(classes, classes) counts: half of the answers are right."""
    rng = np.random.default_rng(seed)
    matrix = rng.multinomial(images // 2, np.full(num_classes, 1 / num_classes), num_classes)
    return matrix + np.diag(np.full(num_classes, images - images // 2))


def measured(matrix, seconds):
    return {
        "top1": float(np.trace(matrix) / matrix.sum()),
        "top5": 0.9,
        "cross_entropy": 1.25,
        "seconds_per_image": seconds,
        "confusion": matrix.tolist(),
    }


def make_run(folder, model=None, sections=SECTIONS, names=CLASSES, gamma3=10.0, steps=(5, 10, 15)):
    """``group`` and ``split`` in a folder; returns the grouped model, the grouping, the tree."""
    plain = model or small_model(len(names))
    plan = sn.SplitPlan.from_sections(plain, sections)
    grouped = sn.group_model(plain, plan, 1.0, 1.0, gamma3)
    grouping = random_grouping(plan, np.random.default_rng(1))
    grouping = dataclasses.replace(grouping, class_names=tuple(names))
    tree = sn.split_model(grouped, grouping)
    group, split = folder / "group", folder / "split"
    for path in (group, split):
        path.mkdir(parents=True)
        grouping.save(path / "grouping.json")
        write_lines(path / "timing.jsonl", [{"step": 5, "images_per_second": 321.0}])
    config = {**CONFIG, "model": "small.keras", "gamma3": gamma3, "lr_step_epoch": ["80", "120"]}
    write_json(group / "config.json", {**config, "train_dir": str(group)})
    save_model(grouped, group / "grouped.keras")
    write_lines(group / "metrics.jsonl", log_entries(grouping, steps))
    before, after = confusion(len(names), 0), confusion(len(names), 1)
    evaluation = {
        "images": "test",
        "unsplit": measured(before, 0.004),
        "split": measured(after, 0.003),
    }
    first, last = (evaluation[k]["top1"] for k in ("unsplit", "split"))
    result = {"steps": 15, "epochs": 1.5, "stopped": "converged", "test_accuracy": first}
    write_json(group / "result.json", result)
    digest = base_digest(load_model(group / "grouped.keras"), grouping.to_json())
    config = {**CONFIG, "basemodel": str(group), "recalibrate_batches": 7, "base_digest": digest}
    write_json(split / "config.json", {**config, "train_dir": str(split)})
    save_model(tree.model, split / "cut.keras")
    save_model(tree.model, split / "tree.keras")
    entries = [{"step": 9, "train/accuracy": 0.4}, {"step": 10, "valid/accuracy": 0.3}]
    write_lines(split / "metrics.jsonl", entries)
    stages = {"before": first, "cut": 0.21, "recalibrated": 0.31, "finetuned": last}
    write_json(split / "result.json", {"steps": 10, "epochs": 1.0, "test_accuracy": stages})
    (split / "evaluation.json").write_text(json.dumps(evaluation))
    return grouped, grouping, tree
