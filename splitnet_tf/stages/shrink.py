"""The shrink as a whole: take out what a model can do without, check, finetune, count."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.data.feeds import feed_of
from splitnet_tf.data.mixing import mixed
from splitnet_tf.errors import RunError
from splitnet_tf.graph.copying import plain_copy
from splitnet_tf.grouping import Grouping
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import RunDirectory, base_digest
from splitnet_tf.runs.names import CHANGES, SELECTION, SHRINK_STAGES, SHRUNK, SMALL
from splitnet_tf.runs.results import ShrinkResult
from splitnet_tf.sparsity import (
    Changes,
    Selection,
    apply_selection,
    check_selection,
    keep_zeros,
    read_selection,
    shrink_model,
)
from splitnet_tf.stages.accuracy import accuracy_of, at_start
from splitnet_tf.stages.agreement import APART, difference_on
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.costs import cost_on
from splitnet_tf.stages.finetune import train_network
from splitnet_tf.stages.loop import Loop, check_kind, phase_settings, run_folder
from splitnet_tf.stages.preprocessing import notes_of, recorded
from splitnet_tf.stages.teaching import Teaching, taught, teaching_settings
from splitnet_tf.storage.json_files import write_json
from splitnet_tf.storage.models import save_model
from splitnet_tf.training.evaluation import evaluator


@dataclasses.dataclass(frozen=True)
class Shrink:
    """A shrunk and finetuned model and what was measured. Prints as a few lines.

    Attributes:
      model: functional ``keras.Model`` of stock layers, trained.
      selection: what was kept.
      changes: the difference layer by layer, and what was left in place.
      result: accuracies at each stage, costs.
    """

    model: keras.Model
    selection: Selection
    changes: Changes
    result: ShrinkResult

    def __str__(self) -> str:
        found = self.result
        params, flops = found.params, found.flops
        return "\n".join(
            [
                str(self.changes),
                *(
                    f"test accuracy {SHRINK_STAGES[stage]:24s} {100 * accuracy:.2f}%"
                    for stage, accuracy in found.test_accuracy.items()
                ),
                f"params {params['before']:,} -> {params['after']:,}, "
                f"FLOPs {flops['before']:,} -> {flops['after']:,}",
            ]
        )


def shrink(
    model: keras.Model,
    train: Any,
    valid: Any,
    test: Any,
    phase: Phase = Phase(),  # noqa: B008, as it is frozen
    *,
    selection: Selection | None = None,
    gather: bool = False,
    run: RunDirectory | str | Path | None = None,
    loop: Loop = Loop(),  # noqa: B008
    loss: keras.losses.Loss | None = None,
    teacher: keras.Model | None = None,
    teaching: Teaching = Teaching(),  # noqa: B008
    grouping: Grouping | None = None,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int = 32,
    seed: int = 1,
    measure_start: bool = False,
    preprocessing: Preprocessing | str | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> Shrink:
    """Shrinks a model, checks that the smaller one computes the same, and finetunes it.

    Weights of kernels that are zero in the smaller model stay zero.

    Args:
      model: the model with zeros; it is left as it is.
      train, valid, test: data, see ``learn_groups``.
      phase: how the smaller model is finetuned.
      selection: what to keep. Defaults to ``read_selection(model)``, all that can go. What any
        other selection than one read from zeros gives up is set to zero first.
      gather: see ``shrink_model``.
      run: folder for all that is made. Defaults to none: nothing is kept.
      loop: intervals, precision, patience.
      measure_start: bool, whether to measure the validation accuracy before the shrink.
      loss, teacher, teaching, grouping, class_weight, batch_size, seed, preprocessing, settings:
        see ``finetune``.
      restart: bool, whether to remove what an earlier run left in the folder.

    Raises:
      SelectionError: the selection was made for another model.
      RunError: the smaller model computes something else; nothing is written.
    """
    check_kind("phase", phase, Phase)
    selection = check_selection(selection or read_selection(model))
    zeros = plain_copy(model)
    if selection.method != "zeros":
        apply_selection(zeros, selection)
    shrunk = shrink_model(zeros, selection, gather)
    small = shrunk.model
    feed, valid = feed_of(train, batch_size, seed, class_weight), feed_of(valid)
    feed, test = mixed(feed, phase, small, seed), feed_of(test)
    feed, loss = taught(feed, loss, small, phase, teacher, teaching, grouping)
    check_data(small, loss, train=feed, valid=valid, test=test)
    before, after = cost_on(model, feed), cost_on(small, feed)
    config = phase_settings(
        run,
        phase,
        loop,
        model,
        feed,
        loss,
        seed=seed,
        class_weight=class_weight,
        preprocessing=preprocessing,
        gather=gather,
        base_digest=base_digest(model, selection.to_json()),
        **teaching_settings(teacher, teaching),
    )
    notes = notes_of(preprocessing)
    with run_folder(run, config, restart) as folder:
        apart = difference_on(zeros, small, valid)
        if not apart < APART:
            raise RunError(
                f"The shrunk model differs from the one with zeros by {apart:.1e}; it is not "
                "written. This is a fault of the shrink: please report the model's layers."
            )
        logging.info("The shrunk model computes what the one with zeros does: %.1e apart.", apart)
        if measure_start:
            at_start(model, valid, loss, preprocessing=preprocessing)
        of_small = evaluator(small, loss)
        stages = {"before": accuracy_of(model, test, loss).top1}
        stages["shrunk"] = of_small(test.evaluation()).top1
        save_model(small, folder.path / SHRUNK, notes)
        write_json(folder.path / CHANGES, shrunk.changes.to_json())
        selection.save(folder.path / SELECTION)
        done = train_network(
            small,
            feed,
            valid,
            phase,
            folder,
            loop=loop,
            loss=loss,
            devices=(),
            trunk="replicate",
            settings=settings or config,
            after_step=keep_zeros(small),
        )
        stages["finetuned"] = of_small(test.evaluation()).top1
        save_model(small, folder.path / SMALL, notes)
        result = ShrinkResult(
            **done.to_document(),
            **recorded(preprocessing),
            test_accuracy=stages,
            params={"before": before.params, "after": after.params},
            flops={"before": before.flops, "after": after.flops},
        )
        result.write(folder.path)
    return Shrink(small, shrunk.selection, shrunk.changes, result)
