"""Evaluation of a run folder on a data set: its model beside what the model was made of."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.analysis import text_table
from splitnet_tf.analysis.confusions import most_frequent
from splitnet_tf.analysis.figures import block_figure
from splitnet_tf.data import Dataset
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.errors import RunError
from splitnet_tf.graph import logits_model
from splitnet_tf.grouping import Grouping
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import (
    ShrinkResult,
    SplitResult,
    base_places,
    is_shrink,
    may_be_base,
    read_config,
)
from splitnet_tf.runs.names import (
    CONFIG,
    GROUPED,
    GROUPING,
    SHRINK_STAGES,
    SMALLER,
    STAGES,
    TREES,
    WHOLE,
)
from splitnet_tf.stages.accuracy import warn_of_chance
from splitnet_tf.stages.class_groups import ClassGroups, describe_groups
from splitnet_tf.stages.data_loss import data_loss
from splitnet_tf.stages.evaluate import Comparison, evaluate_model, in_precisions
from splitnet_tf.stages.networks import check_classes, check_fits
from splitnet_tf.stages.preprocessing import known_of, preprocessing_for
from splitnet_tf.stages.run_files import model_file
from splitnet_tf.storage.models import load_model

# File of a model to its name in a comparison, and the name of what it was made of.
KINDS = {
    **dict.fromkeys(TREES, ("split", "unsplit")),
    **dict.fromkeys(SMALLER, ("shrunk", "whole")),
}
MOST_CONFUSED = 5
SPEED_BATCHES = 10


@dataclasses.dataclass(frozen=True)
class RunEvaluation:
    """Evaluation of a run folder. Prints as tables.

    Attributes:
      dataset: name of the data set.
      images: the split that was seen: ``train``, ``valid`` or ``test``.
      comparison: the model of the run as ``split`` (a tree), ``shrunk`` or ``model``, before it
        ``unsplit`` or ``whole`` where that is known, and ``placed`` where devices are given.
      class_names: one a class.
      groups: groups of the classes, or None where the folder has none.
      stages: stage, see ``STAGES`` and ``SHRINK_STAGES`` of ``runs.names`` -> test accuracy; empty
        where nothing was cut or shrunk.
    """

    dataset: str
    images: str
    comparison: Comparison
    class_names: Sequence[str]
    groups: ClassGroups | None = None
    stages: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Name of the run's own model in the comparison."""
        names = (name for name, _ in KINDS.values())
        return next((name for name in names if name in self.comparison.models), "model")

    def most_confused(self) -> list[tuple[str, str, int]]:
        """(class, answer, times) of the answers that are most often wrong."""
        confusion = self.comparison.models[self.kind].confusion
        if confusion is None:  # of several classes an example
            return []
        return [
            (self.class_names[i], self.class_names[j], times)
            for i, j, times in most_frequent(confusion, MOST_CONFUSED)
        ]

    def draw(self, figure: str | Path) -> None:
        """Draws the split kernels of the unsplit model, sorted by group.

        Args:
          figure: path of the image; the suffix chooses the format.

        Raises:
          RunError: the folder has no groups to sort by.
        """
        file, unsplit = Path(self.comparison.models[self.kind].model), None
        if self.groups is None:
            raise RunError(f"`figure` needs a grouping; {file.parent / GROUPING} does not exist.")
        if file.name in TREES and "unsplit" in self.comparison.models:
            unsplit = self.comparison.models["unsplit"].model
        block_figure(load_model(unsplit or file), Grouping.load(file.parent / GROUPING), figure)

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document, such as ``evaluation.json`` of a run folder."""
        found = {
            "dataset": self.dataset,
            "images": self.images,
            **self.comparison.to_document(),
            "most_confused": [
                {"class": a, "answer": b, "times": n} for a, b, n in self.most_confused()
            ],
        }
        if self.groups is not None:
            found["groups"] = self.groups.to_document()
        if self.stages:
            found["stages"] = dict(self.stages)
        return found

    def __str__(self) -> str:
        parts = [f"{self.dataset}, {self.images} images", str(self.comparison)]
        if self.most_confused():
            pairs = (f"{a} as {b} ({times})" for a, b, times in self.most_confused())
            which = "tree" if self.kind == "split" else "model"
            parts.append(f"most often confused by the {which}: {', '.join(pairs)}")
        if self.stages:
            words = SHRINK_STAGES if self.kind == "shrunk" else STAGES
            rows = [(words[k], f"{100 * v:.2f}%") for k, v in self.stages.items()]
            parts.append(text_table(("test accuracy", ""), rows))
        if self.groups is not None:
            parts.append(str(self.groups))
        return "\n\n".join(parts)


def evaluate_run(
    base: str | Path,
    dataset: Dataset,
    *,
    images: str = "test",
    compare: str | Path | None = None,
    form: str = "none",
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    batch_size: int = 90,
    speed_batches: int = SPEED_BATCHES,
    preprocessing: Preprocessing | None = None,
    bfloat16: bool = False,
) -> RunEvaluation:
    """Evaluates the model of a run folder.

    Args:
      base: run folder of a split, a grouping, a shrink or a sparse training, or a ``.keras`` file.
      dataset: data that the run was made with.
      images: ``"train"``, ``"valid"`` or ``"test"``, the images to evaluate on.
      compare: run folder or file of an unsplit model to show beside it. Defaults to what a tree
        or a shrunk model was made of, where it is to be found.
      form, devices, trunk: see ``evaluate_model``.
      batch_size: int, images in a batch.
      speed_batches: int, the batch is made smaller so that at least so many are timed.
      preprocessing: preparation of the inputs. Defaults to what each model was trained with, see
        ``choose_preprocessing``.
      bfloat16: bool, whether each model is measured in bfloat16 as well. Defaults to False.

    Raises:
      ArgumentError: nothing says how the inputs are prepared, or another preprocessing is given.
      RunError: a folder that is missing or not finished, or a model or groups of other data.
    """
    file = model_file("base", Path(base))
    groups = _groups(file, dataset)
    split = getattr(dataset, images)
    batch = min(batch_size, max(1, len(split) // speed_batches))
    unsplit = _unsplit(file, compare)

    @functools.cache  # a model may be measured in two precisions, and placed
    def loaded(argument: str, path: Path) -> tuple[keras.Model, Preprocessing]:
        known, given = known_of(argument, path), preprocessing
        made_of = path == unsplit and compare is None
        if made_of and given is None and known.record is None and not known.former:
            given = loaded("base", file)[1]  # what a run was made of was fed as the run was
        return _fitting(path, dataset), preprocessing_for(known, given, dataset)

    def measure(argument: str, path: Path, **how):
        model, fed = loaded(argument, path)
        feed = SplitFeed(split, batch, preprocessing=fed)
        loss = data_loss(dataset, model)
        more = {"loss": loss, "batch_size": batch, "name": str(path), "preprocessing": str(fed)}
        found = evaluate_model(model, feed, **more, **how)
        if not {"devices", "bfloat16"} & set(how):  # it has been said of the same model
            warn_of_chance(found, str(path), fed)
        return found

    kind, before = KINDS.get(file.name, ("model", "unsplit"))
    measures = {kind: functools.partial(measure, "base", file, form=form)}
    if unsplit:
        measures = {before: functools.partial(measure, "compare", unsplit), **measures}
    if devices:
        more = {"devices": devices, "trunk": trunk}
        measures["placed"] = functools.partial(measure, "base", file, **more)
    return RunEvaluation(
        dataset.name,
        images,
        in_precisions(measures, bfloat16),
        dataset.class_names,
        groups,
        stages_of(file.parent) if file.name in KINDS else {},
    )


def _fitting(path: Path, dataset: Dataset) -> keras.Model:
    model = load_model(path)
    check_fits(str(path), model, dataset)
    return logits_model(model, dataset.multi_label, dataset.classifiers)


def _groups(file: Path, dataset: Dataset) -> ClassGroups | None:
    """The groups beside a model file, or None."""
    path = file.parent / GROUPING
    if not path.is_file():
        return None
    grouping = Grouping.load(path)
    check_classes(path, grouping, dataset)
    return describe_groups(grouping, dataset.superclasses, dataset.groups)


def _unsplit(file: Path, compare: str | Path | None) -> Path | None:
    """The model to show beside a model file: the one given, or what it was made of."""
    if compare is not None:
        return model_file("compare", Path(compare))
    # A grouping was made of something, too, but is itself unsplit.
    return unsplit_of(file.parent) if file.name in KINDS else None


def unsplit_of(folder: Path) -> Path | None:
    """The model that a split or a shrink was made of, if its folder says so and it is there."""
    if not (folder / CONFIG).is_file():
        return None
    base = read_config(folder).get("basemodel")
    if not isinstance(base, str) or not base:
        return None
    places = base_places(folder, Path(base))
    names = WHOLE if is_shrink(folder) else (GROUPED,)
    files = (f for p in places for f in ([p] if p.is_file() else [p / name for name in names]))
    there = [file for file in files if file.is_file()]
    found = next((p for p in there if may_be_base(folder, p)), None)
    if found is None:
        what = "which is not there to compare with"
        if there:
            what = "but what is there now is another model; it is not compared"
        logging.warning("%s was made of %s, %s.", folder, base, what)
    return found


def stages_of(folder: Path) -> dict[str, float]:
    """Test accuracy at each stage of a split or a shrink; empty for other folders."""
    kind, stages = (ShrinkResult, SHRINK_STAGES) if is_shrink(folder) else (SplitResult, STAGES)
    if kind is SplitResult and not any((folder / name).is_file() for name in TREES):
        return {}
    try:
        found = kind.read(folder).test_accuracy
    except FileNotFoundError:
        return {}
    return {stage: found[stage] for stage in stages if stage in found}
