"""Learning the groups of a grouped model: warm-up, start, split losses, convergence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from splitnet_tf.analysis.agreement import agreement
from splitnet_tf.data.feeds import feed_of
from splitnet_tf.data.mixing import mixed
from splitnet_tf.errors import ArgumentError, EmptyGroupError, GroupingError
from splitnet_tf.grouping import Grouping, off_block_energy, plan_of, read_grouping, split_losses
from splitnet_tf.grouping.gates import fold_gates
from splitnet_tf.grouping.paces import paces
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.grouping.start import given_assignments
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.names import GROUPED, GROUPING
from splitnet_tf.runs.results import GroupResult
from splitnet_tf.stages.accuracy import accuracy_of, at_start, tested
from splitnet_tf.stages.averages import settle_averages
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.given import GivenClasses
from splitnet_tf.stages.grouping_hook import GroupingHook
from splitnet_tf.stages.loop import (
    Loop,
    check_kind,
    classifier_loss,
    length_argument,
    phase_settings,
    run_folder,
    total_steps,
    train_phase,
    training_values,
)
from splitnet_tf.stages.preprocessing import notes_of, recorded
from splitnet_tf.stages.run_hook import RunHook
from splitnet_tf.storage.digests import digest_arrays
from splitnet_tf.storage.models import save_model


@dataclasses.dataclass(frozen=True)
class LearnedGroups:
    """Groups as they were learned. Prints as a few lines.

    Attributes:
      grouping: the hard groups, as ``method`` reads them.
      result: steps, accuracies and energy off the blocks.
    """

    grouping: Grouping
    result: GroupResult

    @property
    def off_block_energy(self) -> float:
        """The share of the split kernels' energy that a cut takes away."""
        return self.result.off_block_energy

    def __str__(self) -> str:
        lines = [
            f"group {g} ({len(names)} classes): {', '.join(map(str, names))}"
            for g, names in enumerate(self.grouping.class_groups())
        ]
        found = self.result
        lines.append(
            f"{found.length()}: validation accuracy "
            f"{100 * found.valid_accuracy:.2f}%, {100 * found.off_block_energy:.2f}% of the energy "
            f"off the blocks, R_W {found.group_weight:.3f}."
        )
        if found.moved:
            shares = (f"{100 * share:.0f}% of the {kind}" for kind, share in found.moved.items())
            lines.append(f"{' and '.join(shares)} left the group of their start.")
        if found.nmi is not None:
            lines.append(f"NMI of the groups with the superclasses: {found.nmi:.3f}.")
        return "\n".join(lines)


def learn_groups(
    grouped: keras.Model,
    train: Any,
    valid: Any,
    recipe: GroupingRecipe = GroupingRecipe(),  # noqa: B008, as it is frozen
    *,
    run: RunDirectory | str | Path | None = None,
    test: Any = None,
    loop: Loop = Loop(),  # noqa: B008
    loss: keras.losses.Loss | None = None,
    method: str = "argmax",
    given: GivenClasses | None = None,
    class_names: Sequence[str] | None = None,
    superclasses: np.ndarray | None = None,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    split_pace: float = 1.0,
    picture_interval: int = 0,
    measure_start: bool = False,
    trained: keras.Model | None = None,
    preprocessing: Preprocessing | str | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> LearnedGroups:
    """Trains a grouped model until its groups have converged; the model is trained in place.

    Args:
      grouped: from ``group_model``; returns logits.
      train, valid: arrays (x, y[, sample weight]), a ``tf.data.Dataset`` or a
        ``keras.utils.PyDataset`` of such batches. Labels are integers or one-hot.
      recipe: how the groups are learned.
      run: folder for checkpoints, logs, ``grouped.keras``, ``grouping.json`` and ``result.json``;
        the same call goes on where an earlier one stopped. Defaults to none: nothing is kept.
      test: data on which the result is tested. Defaults to none.
      loop: intervals, precision, patience.
      loss: in place of softmax cross entropy: ``BinaryCrossEntropy`` for several labels an
        example, ``HeadLosses`` for several outputs.
      method: ``"argmax"`` or ``"balanced"``, see ``read_grouping``.
      given: groups of the classes that are not learned. Defaults to none.
      class_names: names kept in the grouping. Defaults to none.
      superclasses: int (classes,), superclass of each class, with which the groups are compared at
        the end. Defaults to none.
      class_weight: weight of each class in the loss, by its number. Defaults to none.
      batch_size: int, examples in a batch of arrays; data in batches keep theirs.
      seed: int, seed of the order of arrays and of the clusters.
      split_pace: float, factor on the learning rate of the split kernels.
      picture_interval: int, steps between pictures in TensorBoard; 0 for every fifth evaluation.
      measure_start: bool, whether to measure the validation accuracy before the first step.
      trained: the model that was grouped, to compare that accuracy with. Defaults to ``grouped``.
      preprocessing: how the data given here were prepared, such as ``"scale01"``; it is kept with
        the model for the programs. Nothing is prepared. Defaults to None: not known.
      settings: what TensorBoard shows as the run's settings. Defaults to the recipe.
      restart: bool, whether to remove what an earlier run left in the folder.

    Returns:
      The groups and what was measured.

    Raises:
      ArgumentError: a recipe that leaves no step to learn in.
      GroupingError: a group came out empty; the trained model is in the run folder.
      RunError, CheckpointError, DataError, TrainingError: see ``Trainer``.
    """
    check_kind("recipe", recipe, GroupingRecipe)
    plan, losses = plan_of(grouped), split_losses(grouped)
    feed = mixed(feed_of(train, batch_size, seed, class_weight), recipe, grouped, seed)
    valid, test = feed_of(valid), None if test is None else feed_of(test)
    names = class_names or [str(c) for c in range(plan.classes.size)]
    loss = loss or classifier_loss(grouped, recipe.label_smoothing)
    check_data(grouped, loss, train=feed, valid=valid, test=test)
    warmup = warmup_steps(recipe, loop, feed.steps_per_epoch)
    labels = given.labels if given else None
    noise = [id(a.logits) for a in losses.assignments()]
    config = phase_settings(
        run,
        recipe,
        loop,
        grouped,
        feed,
        loss,
        seed=seed,
        class_weight=class_weight,
        preprocessing=preprocessing,
        noise=noise,
        method=method,
        given=given.method("") if given else None,
        given_digest=digest_arrays([labels]) if labels is not None else None,
        split_pace=split_pace,
        **{name: getattr(losses, name) for name in ("gamma1", "gamma2", "gamma3", "scaling")},
        **({"gates": True} if losses.gates else {}),
    )
    with run_folder(run, config, restart) as folder:
        still, classes, features = (), None, "learned"
        if given is not None:
            features, still = given.features, given_assignments(losses, plan, given.features)

            def classes():
                return given.classes(
                    losses, plan, seed, lambda: accuracy_of(grouped, valid, loss).confusion
                )

        hook = GroupingHook(
            grouped,
            plan,
            recipe,
            warmup,
            total_steps(recipe, loop, feed.steps_per_epoch),
            val_interval=loop.val_interval or feed.steps_per_epoch,
            class_names=names,
            classes=classes,
            features=features,
            seed=seed,
            picture_interval=picture_interval,
        )
        more = {}
        if measure_start:
            more = at_start(grouped, valid, loss, trained=trained, preprocessing=preprocessing)
        found, _ = train_phase(
            grouped,
            recipe,
            loop,
            feed,
            valid,
            folder,
            loss=loss,
            hold=warmup,
            paces=paces(losses, recipe.pace, still, split_pace),
            hooks=[hook, RunHook(grouped, settings or config)],
        )
        fold_gates(losses)
        settled = settle_averages(grouped, recipe, feed, valid, loss)
        if settled is not None:
            found = dataclasses.replace(found, valid_accuracy=settled)
        notes = notes_of(preprocessing)
        save_model(grouped, folder.path / GROUPED, notes)  # first, as a group may be empty
        grouping = _read(grouped, method, class_names, given, folder.path if run else None)
        grouping.save(folder.path / GROUPING)
        result = GroupResult(
            **training_values(found, feed),
            **recorded(preprocessing),
            # Of the groups that are written, which may be read otherwise than training did.
            off_block_energy=float(np.mean(list(off_block_energy(grouped, grouping).values()))),
            group_weight=float(losses.terms()["group_weight"]),
            moved=hook.moved() or None,
            nmi=None if superclasses is None else _nmi(grouping, superclasses),
            **tested(grouped, test, loss),
            **more,
        )
        result.write(folder.path)
    return LearnedGroups(grouping, result)


def warmup_steps(recipe: GroupingRecipe, loop: Loop, per_epoch: int) -> int:
    """Steps before the split losses set in.

    Raises:
      ArgumentError: no step is left after them.
    """
    warmup, total = round(recipe.warmup_epochs * per_epoch), total_steps(recipe, loop, per_epoch)
    if warmup >= total:
        raise ArgumentError(
            f"`warmup_epochs={recipe.warmup_epochs:g}` leaves no step of {total} to group in; "
            f"lower it or raise {length_argument(loop)}."
        )
    return warmup


def _nmi(grouping: Grouping, superclasses: np.ndarray) -> float:
    return agreement(grouping.classes.labels(), superclasses, draws=1).nmi


def _read(
    grouped: keras.Model,
    method: str,
    class_names: Sequence[str] | None,
    given: GivenClasses | None,
    folder: Path | None,
) -> Grouping:
    """The grouping that was learned; the sentence on an empty group says how to go on."""
    try:
        grouping = read_grouping(grouped, method, class_names)
    except EmptyGroupError as error:
        now = ""
        if folder and given is None:  # balanced would change given groups
            now = f"run again with `method=balanced` and `run={folder}` for groups of equal size "
            now += "from this training, or "
        raise GroupingError(
            f"{error.what}; {now}train anew with a larger `gamma3` in another `run`."
        ) from None
    if given is None:
        return grouping
    return dataclasses.replace(grouping, method=given.method(method))
