"""The cut as a whole: split a grouped model, check, re-estimate batch norm, finetune, count."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.data.feeds import feed_of
from splitnet_tf.data.mixing import mixed
from splitnet_tf.errors import RunError
from splitnet_tf.graph.copying import plain_copy
from splitnet_tf.grouping import Grouping, off_block_energy
from splitnet_tf.recipe import recalibrate_batch_norm
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import RunDirectory, base_digest
from splitnet_tf.runs.names import CUT, GROUPING, STAGES, TREE
from splitnet_tf.runs.results import SplitResult
from splitnet_tf.splitting import SplitTree, mask_off_blocks, split_model
from splitnet_tf.stages.accuracy import accuracy_of, at_start
from splitnet_tf.stages.agreement import APART, difference_on
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.costs import cost_on
from splitnet_tf.stages.finetune import check_placing, train_network
from splitnet_tf.stages.loop import Loop, check_kind, phase_settings, run_folder
from splitnet_tf.stages.preprocessing import notes_of, recorded
from splitnet_tf.stages.teaching import Teaching, taught, teaching_settings
from splitnet_tf.storage.models import save_model
from splitnet_tf.training.evaluation import evaluator


@dataclasses.dataclass(frozen=True)
class Split:
    """A finetuned tree and what was measured. Prints as a few lines.

    Attributes:
      tree: the tree, trained.
      grouping: the groups that it was cut by.
      result: accuracies at each stage, costs, energy cut away.
    """

    tree: SplitTree
    grouping: Grouping
    result: SplitResult

    def __str__(self) -> str:
        found = self.result
        lines = [
            f"test accuracy {STAGES[stage]:24s} {100 * accuracy:.2f}%"
            for stage, accuracy in found.test_accuracy.items()
        ]
        params, flops = found.params, found.flops
        lines.append(
            f"params {params['before'] / 1e6:.3f} -> {params['after'] / 1e6:.3f} million, FLOPs "
            f"{flops['before'] / 1e9:.3f} -> {flops['after'] / 1e9:.3f} billion"
        )
        return "\n".join(lines)


def check_split(
    grouped: keras.Model, grouping: Grouping, tree: SplitTree, data: Any, batch_size: int = 32
) -> float:
    """The largest difference between a tree and the model it was cut from, relatively.

    Both are run on the first batch; the grouped model with its off-block weights at zero.

    Args:
      grouped: the grouped model, as it was cut.
      grouping: the groups that it was cut by.
      tree: from ``split_model``, before it is trained.
      data: see ``learn_groups``.
      batch_size: int, examples that are compared.

    Raises:
      RunError: the difference is more than rounding explains.
    """
    masked = plain_copy(grouped)
    mask_off_blocks(masked, grouping)
    difference = difference_on(masked, tree.model, feed_of(data), batch_size)
    if not difference < APART:
        raise RunError(
            f"The tree differs from the masked model by {difference:.1e}; it is not written. This "
            "is a fault of the split: please report the model's layers."
        )
    return difference


def split(
    grouped: keras.Model,
    grouping: Grouping,
    train: Any,
    valid: Any,
    test: Any,
    phase: Phase = Phase(),  # noqa: B008, as it is frozen
    *,
    run: RunDirectory | str | Path | None = None,
    loop: Loop = Loop(),  # noqa: B008
    recalibrate: Any = None,
    recalibrate_batches: int = 100,
    dropout: float | None = None,
    loss: keras.losses.Loss | None = None,
    teacher: keras.Model | SplitTree | None = None,
    teaching: Teaching = Teaching(),  # noqa: B008
    class_weight: Mapping[int, float] | None = None,
    batch_size: int = 32,
    seed: int = 1,
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    measure_start: bool = False,
    preprocessing: Preprocessing | str | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> Split:
    """Cuts a grouped model into a tree, measures it at each stage and finetunes it.

    Args:
      grouped: the grouped model; it is left as it is.
      grouping: from ``read_grouping`` or ``Grouping.load``.
      train, valid, test: data, see ``learn_groups``.
      phase: how the tree is finetuned.
      run: folder for all that is made. Defaults to none: nothing is kept.
      loop: intervals, precision, patience.
      recalibrate: batches on which batch-norm statistics are re-estimated. Defaults to the first
        of ``train``.
      recalibrate_batches: int, how many of ``train``; 0 for none.
      dropout: float, rate of the tree's dropout layers. Defaults to that of the grouped model.
      measure_start: bool, whether to measure the validation accuracy before the cut.
      loss, teacher, teaching, class_weight, batch_size, seed, devices, trunk, preprocessing,
        settings: see ``finetune``.
      restart: bool, whether to remove what an earlier run left in the folder.

    Raises:
      PlanError, GroupingError: the grouping is that of another model.
      RunError: the tree differs from the masked model; nothing is written.
    """
    check_kind("phase", phase, Phase)
    check_placing(devices, trunk, loop)
    tree = split_model(grouped, grouping, dropout=dropout)
    plain, valid = feed_of(train, batch_size, seed, class_weight), feed_of(valid)
    feed, test = mixed(plain, phase, grouped, seed), feed_of(test)
    feed, loss = taught(feed, loss, grouped, phase, teacher, teaching, grouping)
    check_data(grouped, loss, train=feed, valid=valid, test=test)
    config = phase_settings(
        run,
        phase,
        loop,
        grouped,
        feed,
        loss,
        seed=seed,
        class_weight=class_weight,
        preprocessing=preprocessing,
        base_digest=base_digest(grouped, grouping.to_json()),
        **teaching_settings(teacher, teaching),
    )
    notes = notes_of(preprocessing)
    with run_folder(run, config, restart) as folder:
        apart = check_split(grouped, grouping, tree, valid)
        logging.info("The tree computes what the masked model computes: %.1e apart.", apart)
        if measure_start:
            at_start(grouped, valid, loss, preprocessing=preprocessing)
        of_tree = evaluator(tree.model, loss)  # traced once for three stages
        stages = {"before": accuracy_of(grouped, test, loss).top1}
        stages["cut"] = of_tree(test.evaluation()).top1
        if recalibrate_batches:
            batches = plain.training() if recalibrate is None else recalibrate
            recalibrate_batch_norm(tree.model, batches, recalibrate_batches)
            stages["recalibrated"] = of_tree(test.evaluation()).top1
        save_model(tree.model, folder.path / CUT, notes)
        done = train_network(
            tree.model,
            feed,
            valid,
            phase,
            folder,
            loop=loop,
            loss=loss,
            devices=devices,
            trunk=trunk,
            settings=settings or config,
        )
        stages["finetuned"] = of_tree(test.evaluation()).top1
        save_model(tree.model, folder.path / TREE, notes)
        grouping.save(folder.path / GROUPING)
        result = _result(grouped, grouping, tree, stages, done, feed)
        result = dataclasses.replace(result, **recorded(preprocessing))
        result.write(folder.path)
    return Split(tree, grouping, result)


def _result(grouped, grouping, tree, stages, finetuned, feed) -> SplitResult:
    whole, parts = cost_on(grouped, feed), cost_on(tree.model, feed)
    return SplitResult(
        **finetuned.to_document(),
        test_accuracy=stages,
        off_block_energy=off_block_energy(grouped, grouping),
        params={"before": whole.params, "after": parts.params},
        flops={"before": whole.flops, "after": parts.flops},
        group_sizes=[len(m) for m in grouping.classes.members],
    )
