"""Sparse training: a plain model learns what it can do without."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.data.feeds import feed_of
from splitnet_tf.data.mixing import mixed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.copying import return_weights
from splitnet_tf.recipe.losses import CrossEntropy
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.names import CHANGES, SELECTION, SPARSE
from splitnet_tf.runs.results import SparseResult
from splitnet_tf.sparsity import (
    Changes,
    Selection,
    SparsityRecipe,
    bytes_crossing,
    predict_changes,
    read_selection,
    sparse_model,
    step_of,
    weights_by_path,
    zero_counts,
)
from splitnet_tf.stages.accuracy import at_start, tested
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.loop import (
    Loop,
    check_kind,
    classifier_loss,
    length_argument,
    phase_settings,
    rate_schedule,
    run_folder,
    total_steps,
    train_phase,
    training_values,
)
from splitnet_tf.stages.preprocessing import notes_of, recorded
from splitnet_tf.stages.run_hook import RunHook
from splitnet_tf.stages.sparsity_hook import TARGET_OF, SparsityHook, shares_left
from splitnet_tf.storage.json_files import write_json
from splitnet_tf.storage.models import save_model


@dataclasses.dataclass(frozen=True)
class Sparsified:
    """Result of sparse training. Prints as a few lines.

    Attributes:
      selection: what is left of each space, kernel and layer.
      changes: what ``shrink_model`` will change, layer by layer.
      result: steps, accuracies, groups at zero.
      notes: sentences on what was not reached and what to do.
    """

    selection: Selection
    changes: Changes
    result: SparseResult
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        found = self.result
        text = f"{found.length()}: validation accuracy {100 * found.valid_accuracy:.2f}%"
        if found.test_accuracy is not None:
            text += f", test accuracy {100 * found.test_accuracy:.2f}%"
        counts: dict[str, list[int]] = {}
        for name, zero in found.zero_groups.items():
            count = counts.setdefault(name.partition("/")[0], [0, 0])
            count[0], count[1] = count[0] + zero, count[1] + found.groups[name]
        zeros = (f"{zero} of {groups} {structure}" for structure, (zero, groups) in counts.items())
        text += f".\nGroups at zero: {', '.join(zeros)}."
        if found.bytes_crossing:
            text += "\nBytes between devices for an example: {before:,}, {after:,} left.".format(
                **found.bytes_crossing
            )
        return f"{text}\n{self.changes}"


def sparsify(
    model: keras.Model,
    train: Any,
    valid: Any,
    recipe: SparsityRecipe,
    *,
    run: RunDirectory | str | Path | None = None,
    test: Any = None,
    loop: Loop = Loop(),  # noqa: B008, as it is frozen
    loss: keras.losses.Loss | None = None,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    measure_start: bool = False,
    preprocessing: Preprocessing | str | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> Sparsified:
    """Trains a model with group lasso on its structures; the model is trained in place.

    Args:
      model: functional; returns logits.
      train, valid: data, see ``learn_groups``.
      recipe: strengths of the structures, and how training goes.
      run: folder for checkpoints, logs, ``sparse.keras``, ``selection.json``, ``changes.json`` and
        ``result.json``; the same call goes on where an earlier one stopped. Defaults to none:
        nothing is kept.
      test: data on which the result is tested. Defaults to none.
      loop: intervals, precision, patience. A target is looked at after each evaluation.
      loss: in place of softmax cross entropy, see ``learn_groups``.
      class_weight: weight of each class in the loss, by its number. Defaults to none.
      batch_size: int, examples in a batch of arrays; data in batches keep theirs.
      seed: int, seed of the order of arrays.
      measure_start: bool, whether to measure the validation accuracy before the first step.
      preprocessing: see ``learn_groups``.
      settings: what TensorBoard shows as the run's settings. Defaults to the recipe.
      restart: bool, whether to remove what an earlier run left in the folder.

    Raises:
      ArgumentError: a structure or layer that the model does not have, a recipe that leaves no
        step with a penalty, or a target that cannot be counted.
      RunError, CheckpointError, DataError, TrainingError: see ``Trainer``.
    """
    check_kind("recipe", recipe, SparsityRecipe)
    feed = mixed(feed_of(train, batch_size, seed, class_weight), recipe, model, seed)
    valid, test = feed_of(valid), None if test is None else feed_of(test)
    loss = loss or classifier_loss(model, recipe.label_smoothing)
    check_data(model, loss, train=feed, valid=valid, test=test)
    sparse = sparse_model(model, recipe)
    terms, after = recipe.terms(sparse), step_of(sparse, recipe)
    warmup, ramp = strength_steps(recipe, loop, feed.steps_per_epoch)
    check_targets(sparse, recipe)
    config = phase_settings(
        run,
        recipe,
        loop,
        model,
        feed,
        loss,
        seed=seed,
        class_weight=class_weight,
        preprocessing=preprocessing,
        **_strengths(recipe),
    )
    hook = SparsityHook(
        sparse,
        recipe,
        terms,
        getattr(after, "strength", None),
        rate_schedule(recipe, loop, feed.steps_per_epoch, warmup),
        warmup,
        ramp,
        total_steps(recipe, loop, feed.steps_per_epoch),
    )
    with run_folder(run, config, restart) as folder:
        more = {}
        if measure_start:
            more = at_start(sparse, valid, loss, trained=model, preprocessing=preprocessing)
        found, _ = train_phase(
            sparse,
            recipe,
            loop,
            feed,
            valid,
            folder,
            loss=loss,
            hold=warmup,
            after_step=after,
            hooks=[hook, RunHook(model, settings or config)],
        )
        return_weights(sparse, model)
        save_model(model, folder.path / SPARSE, notes_of(preprocessing))
        selection, changes = read_selection(model), predict_changes(model)
        devices = recipe.devices(model)
        selection.save(folder.path / SELECTION)
        write_json(folder.path / CHANGES, changes.to_json())
        counts = zero_counts(terms, weights_by_path(sparse.trainable_variables))
        result = SparseResult(
            **training_values(found, feed),
            **recorded(preprocessing),
            zero_groups={f"{c.structure}/{c.name}": c.zero for c in counts},
            groups={f"{c.structure}/{c.name}": c.count for c in counts},
            weights=_sums(changes.totals("weights")),
            multiply_adds=_sums(changes.totals("multiply_adds")),
            bytes_crossing=_sums(devices and bytes_crossing(model, devices)),
            strength=hook.factor,
            needed_factor=hook.needed_factor(),
            **tested(model, test, loss),
            **more,
        )
        result.write(folder.path)
    notes = _notes(recipe, hook, result, chance(model, loss))
    for note in notes:
        logging.warning("%s", note)
    return Sparsified(selection, changes, result, notes)


def strength_steps(recipe: SparsityRecipe, loop: Loop, per_epoch: int) -> tuple[int, int]:
    """Steps before the penalty sets in, and over which it then grows.

    Raises:
      ArgumentError: no step with the whole penalty is left after them.
    """
    warmup, ramp = (round(e * per_epoch) for e in (recipe.warmup_epochs, recipe.ramp_epochs))
    total = total_steps(recipe, loop, per_epoch)
    if warmup + ramp >= total:
        raise ArgumentError(
            f"`warmup_epochs={recipe.warmup_epochs:g}` and `ramp_epochs={recipe.ramp_epochs:g}` "
            f"leave no step of {total} with the whole penalty; lower them or raise "
            f"{length_argument(loop)}."
        )
    return warmup, ramp


def check_targets(model: keras.Model, recipe: SparsityRecipe) -> None:
    """Raises ArgumentError for a target that cannot be counted, before anything is written."""
    known = shares_left(model, recipe) if recipe.targets else {}
    for target in recipe.targets:
        if target not in known:
            raise ArgumentError(
                f"`{target}` cannot be counted: the {TARGET_OF[target][1]} depend on the size of "
                "the inputs; give the model a keras.Input of fixed shape."
            )


def _sums(found: tuple[int, int] | None) -> dict[str, int]:
    """Sums before and after for ``result.json``; empty where they are not known."""
    return dict(zip(("before", "after"), found or (), strict=False))


def _strengths(recipe: SparsityRecipe) -> dict[str, Any]:
    """Strengths by layer, and the placement, as lists, which settings may be."""
    found = {
        name: [f"{layer}: {s:g}" for layer, s in value.items()]
        for name in recipe.structures
        if isinstance(value := getattr(recipe, name), Mapping)
    }
    if recipe.placement is not None:
        parts = (
            (s, " | ".join(" ".join(map(str, c)) for c in p)) for s, p in recipe.placement.items()
        )
        found["placement"] = [f"{space}: {channels}" for space, channels in parts]
    return found


def chance(model: keras.Model, loss: keras.losses.Loss) -> float:
    """Accuracy of a model with one class an example that guesses; 0 for others."""
    return 1 / model.outputs[0].shape[-1] if isinstance(loss, CrossEntropy) else 0.0


def _notes(
    recipe: SparsityRecipe, hook: SparsityHook, result: SparseResult, chance: float
) -> tuple[str, ...]:
    notes = []
    if not any(result.zero_groups.values()):
        notes.append(
            f"No group became zero; train for longer or with {_stronger(recipe, result)} at least."
        )
        if "depth" in recipe.structures:
            notes[-1] += (
                " Where norms follow the kernels, take `layers` in place of `depth`: a norm undoes "
                "a smaller kernel."
            )
    names = " and ".join(f"`{name}`" for name in recipe.structures)
    zeros, groups = (sum(counts.values()) for counts in (result.zero_groups, result.groups))
    if 2 * zeros > groups and result.valid_accuracy < 1.5 * chance:
        notes.append(
            f"{zeros} of {groups} groups are zero, and a validation accuracy of "
            f"{100 * result.valid_accuracy:.2f}% is little more than chance: too much was taken "
            f"away; lower {names}."
        )
    for target in hook.missed():
        notes.append(
            f"Target missed: {hook.describe(target)}, though the strength was raised to "
            f"{hook.factor:.3g} times its value; raise {names} or `growth`, evaluate more often by "
            "`val_interval`, or train for longer."
        )
    for target in hook.passed():
        notes.append(
            f"Target passed: {hook.describe(target)}. The penalty pulls on after a target is met; "
            "train for fewer epochs, or lower `growth`."
        )
    return tuple(notes)


def _stronger(recipe: SparsityRecipe, result: SparseResult) -> str:
    """Strengths with which one more group might have become zero, in words."""
    factor = result.needed_factor
    if factor is None:
        return "larger strengths"
    found = []
    for name in recipe.structures:
        value = getattr(recipe, name)
        if isinstance(value, Mapping):
            found.append(f"`{name}` {factor:.3g} times as large")
        else:
            found.append(f"`{name}={value * factor:.2g}`")
    return " and ".join(found)
