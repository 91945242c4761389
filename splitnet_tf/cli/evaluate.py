"""Evaluate: accuracy, cost and speed of a split model, beside the unsplit one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags, logging

from splitnet_tf.analysis import agreement, cost, text_table
from splitnet_tf.analysis.confusions import most_frequent
from splitnet_tf.analysis.figures import block_figure
from splitnet_tf.cli.define import PICTURES, define_integer, define_new_file, define_text
from splitnet_tf.cli.device_flags import chosen_devices, define_device_flags, run_on_devices
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.training_flags import define_data_flags, load_data
from splitnet_tf.data import evaluation_batches
from splitnet_tf.errors import RunError
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.hierarchy import merge_map
from splitnet_tf.parallel import FORMS, one_device_forward, place, stream
from splitnet_tf.runs import base_places, may_be_base, read_config
from splitnet_tf.splitting import SplitTree
from splitnet_tf.stages.networks import check_classes, check_fits, check_run_folder
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model
from splitnet_tf.training import compiled_forward, evaluate

FLAGS = flags.FLAGS
MOST_CONFUSED = 5
TREES = ("tree.keras", "cut.keras")


def define_flags() -> None:
    define_data_flags()
    define_text(
        "basemodel", None, "Run folder of a split or grouping, or a .keras file.", required=True
    )
    define_text("compare", None, "Unsplit model beside it; default: what a split was made of.")
    define_new_file(
        "figure", "Draw the split kernels of the unsplit model, sorted by group, here.", *PICTURES
    )
    flags.DEFINE_enum("images", "test", ["train", "valid", "test"], "Images to evaluate on.")
    flags.DEFINE_enum(
        "fuse",
        "none",
        [*FORMS, "auto"],
        "Form of a split model on one device: each branch by itself, the branches of a level as "
        "one (grouped), compiled by XLA, or the fastest of these here.",
    )
    define_device_flags("Also evaluate")
    define_integer("speed_batches", 10, "At least so many batches are timed.", 3, 1_000_000)
    define_output_flags()


def model_file(flag: str, path: Path) -> Path:
    """The model of the run folder that a flag names, or the file itself."""
    check_run_folder(flag, path)
    if not path.is_dir():
        return path
    file = finished_in(path)
    if file is None:
        raise RunError(f"Run folder {path} holds no finished model; run its program to the end.")
    return file


def finished_in(folder: Path) -> Path | None:
    """The model that a run folder's program has made, if it has come to its end."""
    files = (folder / f"{name}.keras" for name in ("tree", "grouped", "model"))
    return next(filter(Path.is_file, files), None)


def measure(path: Path, dataset, form: str = "none", devices: Sequence[str] = ()) -> dict:
    """Accuracy, cost and speed of one model file; of a tree in a form, or placed on devices."""
    model = plain_copy(load_model(path)) if path.name == "grouped.keras" else load_model(path)
    check_fits(str(path), model, dataset)
    split = getattr(dataset, FLAGS.images)
    batch = min(FLAGS.batch_size, max(1, len(split) // FLAGS.speed_batches))
    forward, placement, over = compiled_forward(model), {}, map
    if form != "none":
        images = next(iter(evaluation_batches(split, batch)))[0]
        form, forward, timings = one_device_forward(SplitTree(model), form, images)
        placement = {"form": form, "forms": {n: t.median / batch for n, t in timings.items()}}
    if devices:
        forward = place(SplitTree(model), devices, FLAGS.trunk)
        over = stream
        placement = {"trunk": FLAGS.trunk, "placement": str(forward.placement)}
    found = evaluate(forward, evaluation_batches(split, batch), over)
    counted = cost(model)
    return {
        **placement,
        "model": str(path),
        "images": found.images,
        "top1": found.top1,
        "top5": found.top5,
        "cross_entropy": found.cross_entropy,
        "seconds_per_image": found.seconds_per_image,
        "batch_size": batch,
        "params": counted.params,
        "flops": counted.flops,
        "confusion": found.confusion.tolist(),
    }


def main() -> None:
    devices = chosen_devices()
    path = Path(FLAGS.basemodel)
    dataset = load_data()
    file = model_file("basemodel", path)
    is_tree = file.name in TREES  # a grouping was made of something, too, but is itself unsplit
    compare = FLAGS.compare
    if compare is None and is_tree:
        compare = unsplit_of(file.parent)
    kind = "split" if file.name == "tree.keras" else "model"
    entries = [(kind, measure(file, dataset, FLAGS.fuse))]
    if compare:
        entries.insert(0, ("unsplit", measure(model_file("compare", Path(compare)), dataset)))
    if devices:
        entries.append(("placed", measure(file, dataset, devices=devices)))
    document = {"dataset": dataset.name, "images": FLAGS.images, **dict(entries)}
    document["most_confused"] = [
        {"class": dataset.class_names[i], "answer": dataset.class_names[j], "times": times}
        for i, j, times in most_frequent(np.array(document[kind]["confusion"]), MOST_CONFUSED)
    ]
    grouping_file = file.parent / "grouping.json"
    if grouping_file.is_file():
        check_classes(grouping_file, Grouping.load(grouping_file), dataset)
        document["groups"] = describe_groups(Grouping.load(grouping_file), dataset)
    elif FLAGS.figure:
        raise RunError(f"--figure needs a grouping, but {grouping_file} does not exist.")
    stages = stages_of(file.parent)
    if stages:
        document["stages"] = stages
    show(document, as_text)
    if FLAGS.figure:  # last: what was found is seen though the file cannot be written
        source = model_file("compare", Path(compare)) if compare and is_tree else file
        block_figure(load_model(source), Grouping.load(grouping_file), FLAGS.figure)


def unsplit_of(folder: Path) -> Path | None:
    """The model that a split's run folder was made of, if it says so and it is to be found."""
    if not (folder / "config.json").is_file():
        return None
    base = read_config(folder).get("basemodel")
    if not isinstance(base, str) or not base:
        return None
    places = base_places(folder, Path(base))
    there = [p for p in (p if p.is_file() else p / "grouped.keras" for p in places) if p.is_file()]
    found = next((p for p in there if may_be_base(folder, p)), None)
    if found is None:
        what = "which is not there to compare with"
        if there:
            what = "but what is there now is another model; it is not compared"
        logging.warning("%s was made of %s, %s.", folder, base, what)
    return found


def stages_of(folder: Path) -> dict | None:
    """Test accuracy before the cut, right after it, and after finetuning."""
    file = folder / "result.json"
    try:
        found = read_json(file).get("test_accuracy")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{file}: {error}; write it anew with the program that made it.") from None
    return found if isinstance(found, dict) else None


def describe_groups(grouping: Grouping, dataset) -> dict:
    """The groups of classes, and how they agree with what is known of the data."""
    found = {"sizes": [len(m) for m in grouping.classes.members], "names": grouping.class_groups()}
    labels = grouping.classes.labels()
    if dataset.groups:
        found["planted_levels"] = compare_levels(grouping, dataset.groups)
        found["planted_agreement"] = found["planted_levels"][-1]["agreement"]
    elif dataset.superclasses is not None:
        scores = agreement(labels, dataset.superclasses)
        found["superclass_nmi"] = scores.nmi
        found["random_nmi"] = scores.random_nmi
        found["random_nmi_std"] = scores.random_nmi_std
        found["together"] = scores.together
    return found


def compare_levels(grouping: Grouping, planted: Sequence[np.ndarray]) -> list[dict]:
    """NMI of the tree's groups with those planted, level by level from the coarsest.

    Each planted level with as many groups as a level of the tree; if there is none, the one
    nearest to the tree's finest.
    """
    counts = (1, *(groups for _, groups in grouping.sections))
    top, labels = len(counts) - 1, grouping.classes.labels()
    pairs = [(level, counts.index(n)) for level in planted if (n := level.max() + 1) in counts[1:]]
    nearest = min(planted, key=lambda level: abs(level.max() + 1 - counts[-1]))
    return [
        {
            "planted": int(level.max()) + 1,
            "found": counts[at],
            "agreement": agreement(np.asarray(merge_map(counts, top, at))[labels], level).nmi,
        }
        for level, at in pairs or [(nearest, top)]
    ]


def describe_forms(entry: dict) -> str:
    """Which form a split model had on one device, and what the others took."""
    others = [f"{name} {1000 * s:.3f}" for name, s in entry["forms"].items()]
    measured = f" (ms/image: {', '.join(others)})" if others else ""
    return f"form on one device: {entry['form']}{measured}"


def as_text(document: dict) -> str:
    """The document as tables."""
    rows = []
    for name in ("unsplit", "split", "model", "placed"):
        if name in document:
            e = document[name]
            time = e["seconds_per_image"]
            rows.append(
                (
                    name,
                    f"{100 * e['top1']:.2f}%",
                    f"{100 * e['top5']:.2f}%",
                    f"{e['cross_entropy']:.3f}",
                    f"{1000 * time:.3f}" if time is not None and math.isfinite(time) else "-",
                    f"{e['params'] / 1e6:.3f}",
                    f"{e['flops'] / 1e9:.4f}",
                )
            )
    header = ("", "top-1", "top-5", "cross entropy", "ms/image", "params (M)", "GFLOPs")
    parts = [f"{document['dataset']}, {document['images']} images", text_table(header, rows)]
    if "unsplit" in document and "split" in document:
        a, b = document["unsplit"], document["split"]
        parts.append(
            f"{100 * (1 - b['params'] / a['params']):.1f}% fewer parameters, "
            f"{100 * (1 - b['flops'] / a['flops']):.1f}% fewer FLOPs"
        )
    if document["most_confused"]:
        pairs = (f"{c['class']} as {c['answer']} ({c['times']})" for c in document["most_confused"])
        which = "tree" if "split" in document else "model"
        parts.append(f"most often confused by the {which}: {', '.join(pairs)}")
    if "placed" in document:
        parts.append(document["placed"]["placement"])
    for name in ("split", "model"):
        if "form" in document.get(name, {}):
            parts.append(describe_forms(document[name]))
    if "stages" in document:
        names = {
            "before": "before the split",
            "cut": "right after",
            "recalibrated": "batch norm re-estimated",
            "finetuned": "after finetuning",
        }
        parts.append(
            text_table(
                ("test accuracy", ""),
                [(names[k], f"{100 * v:.2f}%") for k, v in document["stages"].items()],
            )
        )
    if "groups" in document:
        groups = document["groups"]
        lines = [
            f"group {g} ({len(names)}): {', '.join(names)}"
            for g, names in enumerate(groups["names"])
        ]
        for level in groups.get("planted_levels", ()):
            planted, found, score = level["planted"], level["found"], level["agreement"]
            lines.append(f"{found} groups against the {planted} planted: agreement {score:.3f}")
        if "superclass_nmi" in groups:
            lines.append(
                f"NMI with the superclasses: {groups['superclass_nmi']:.3f} (random groups "
                f"{groups['random_nmi']:.3f} +- {groups['random_nmi_std']:.3f})"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def cli() -> None:
    """Entry point of ``splitnet-evaluate``."""
    define_flags()
    run_on_devices(main)


if __name__ == "__main__":
    cli()
