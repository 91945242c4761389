"""Search for the smallest tree within a loss of accuracy: cuts from shallow to deep, each tried."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.analysis import suggest_cuts, text_table
from splitnet_tf.analysis.budget import Budget
from splitnet_tf.analysis.search_figure import search_figure
from splitnet_tf.data.feeds import Feed, feed_of
from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import GroupingRecipe, group_model
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs.names import CONFIG
from splitnet_tf.splitting import SplitTree
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.evaluate import ModelEvaluation, evaluate_model
from splitnet_tf.stages.learn_groups import learn_groups
from splitnet_tf.stages.loop import Loop, classifier_loss
from splitnet_tf.stages.split import split

# One epoch of grouping from trained weights.
LEARNING = GroupingRecipe(epochs=1, warmup_epochs=0, rate=0.02, final_rate=0.02)
FINETUNING = Phase(epochs=2, rate=0.02, final_rate=0.0)
HEADER = ("cut from", "groups", "accuracy", "drop", "params (M)", "GFLOPs", "ms/image", "")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One cut that was tried, or the whole network.

    Attributes:
      start: layer or block that the cut begins at; ``"whole"`` for the network.
      num_groups: int, groups.
      accuracy: float from 0 to 1, of the validation data after a short finetuning.
      params, flops: ints, counted as the paper does.
      seconds_per_image: float, median over batches; None for a single batch.
      run: folder of the tree's run; None where nothing is kept.
    """

    start: str
    num_groups: int
    accuracy: float
    params: int
    flops: int
    seconds_per_image: float | None
    run: str | None = None

    @classmethod
    def of(cls, found: ModelEvaluation, start: str, groups: int, run: Path | None = None) -> Trial:
        """A trial from the evaluation of its model."""
        own = (found.top1, found.params, found.flops, found.seconds_per_image)
        return cls(start, groups, *own, None if run is None else str(run))


@dataclasses.dataclass(frozen=True)
class Search:
    """Cuts that were tried. Prints as a table.

    Attributes:
      whole: the network before any cut, as it was given.
      trials: cuts, from shallow to deep.
      max_accuracy_drop: float from 0 to 1, see ``search_cuts``.
      tree: tree of the best trial, trained; None where there is none.
    """

    whole: Trial
    trials: tuple[Trial, ...]
    max_accuracy_drop: float
    tree: SplitTree | None = dataclasses.field(default=None, repr=False)

    def drop(self, trial: Trial) -> float:
        """Accuracy that a trial has less than the whole network."""
        return self.whole.accuracy - trial.accuracy

    def is_within(self, trial: Trial) -> bool:
        """True for a trial that loses no more than allowed."""
        return self.drop(trial) <= self.max_accuracy_drop + 1e-9  # accuracies are quotients

    @property
    def best(self) -> Trial | None:
        """The trial with the fewest parameters among those within the drop."""
        within = [trial for trial in self.trials if self.is_within(trial)]
        return min(within, key=lambda t: (t.params, t.flops), default=None)

    def draw(self, figure: str | Path) -> None:
        """Draws accuracy against parameters, FLOPs and time; the suffix chooses the format."""
        search_figure(self.whole, self.trials, self.max_accuracy_drop, self.best, figure)

    def to_document(self) -> dict[str, Any]:
        """Everything but the tree for a JSON document."""
        return {
            "whole": dataclasses.asdict(self.whole),
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "max_accuracy_drop": self.max_accuracy_drop,
            "best": None if self.best is None else self.best.start,
        }

    def __str__(self) -> str:
        rows = [self._row(trial) for trial in (self.whole, *self.trials)]
        best = "No tree is within the drop; allow a larger one, or finetune for longer."
        if self.best is not None:
            kept = f" ({self.best.run})" if self.best.run else ""
            best = f"The smallest tree within the drop is cut from {self.best.start}{kept}."
        return f"{text_table(HEADER, rows)}\n\n{best}"

    def _row(self, trial: Trial) -> tuple[str, ...]:
        seconds, drop = trial.seconds_per_image, 100 * self.drop(trial)
        return (
            trial.start,
            str(trial.num_groups),
            f"{100 * trial.accuracy:.2f}%",
            "" if trial is self.whole else f"{drop:.2f}",
            f"{trial.params / 1e6:.3f}",
            f"{trial.flops / 1e9:.4f}",
            "-" if seconds is None else f"{1000 * seconds:.3f}",
            "best" if trial is self.best else "",
        )


def search_cuts(
    model: keras.Model,
    train: Any,
    valid: Any,
    *,
    max_accuracy_drop: float = 0.01,
    max_params: Budget | str | None = None,
    max_flops: Budget | str | None = None,
    num_groups: int = 2,
    gammas: tuple[float, float, float] = (1.0, 1.0, 10.0),
    recipe: GroupingRecipe = LEARNING,
    phase: Phase = FINETUNING,
    run: str | Path | None = None,
    loop: Loop = Loop(),  # noqa: B008, as it is frozen
    exhaustive: bool = False,
    loss: keras.losses.Loss | None = None,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    preprocessing: Preprocessing | str | None = None,
    restart: bool = False,
) -> Search:
    """Tries the cuts of a trained network from shallow to deep, each with a short finetuning.

    Args:
      model: trained functional model that returns logits; it is left as it is.
      train, valid: data, see ``learn_groups``. The validation data decide.
      max_accuracy_drop: float from 0 to 1, accuracy that a tree may lose. The search ends with
        the first cut that loses more.
      max_params, max_flops: only trees with at most so many parameters and FLOPs are tried, a
        number or a share of the model's, such as ``"0.5x"``. Default to no limit.
      num_groups: int, groups of each cut.
      gammas: three floats of 0 or more, gamma1, gamma2 and gamma3 of ``group_model``.
      recipe, phase: how the groups of each cut are learned, and its tree finetuned.
      run: folder with the runs of all cuts, which is not a run's own; the same call goes on where
        an earlier one stopped. Defaults to none: nothing is kept but the best tree.
      loop: see ``learn_groups``.
      exhaustive: bool, whether all cuts are tried, whatever they lose. Defaults to False.
      loss, class_weight, batch_size, seed, preprocessing, restart: see ``learn_groups``.

    Raises:
      ArgumentError: a drop out of its range, or no cut within the budget.
      RunError: the folder is that of another run.
    """
    if not 0 <= max_accuracy_drop <= 1:
        raise ArgumentError(f"`max_accuracy_drop` must be from 0 to 1; got {max_accuracy_drop!r}.")
    if run and (Path(run) / CONFIG).is_file():
        raise RunError(
            f"`run={run}` is the folder of another run; give a folder for the search alone."
        )
    cuts = suggest_cuts(model, num_groups).within(max_params, max_flops).cuts
    feeds = feed_of(train, batch_size, seed), feed_of(valid)
    check_data(model, loss or classifier_loss(model, 0.0), train=feeds[0], valid=feeds[1])
    whole = Trial.of(evaluate_model(model, feeds[1], loss=loss), "whole", 1)
    logging.info("The whole network: validation accuracy %.2f%%.", 100 * whole.accuracy)
    found = Search(whole, (), max_accuracy_drop)
    for i, cut in enumerate(cuts):
        logging.info("Cut %d of %d, from %s.", i + 1, len(cuts), cut.start)
        folder = Path(run) / f"{cut.start}-{num_groups}" if run else None
        sections = [(cut.start, num_groups)]
        common = {"loop": loop, "seed": seed, "restart": restart}
        common |= {"preprocessing": preprocessing, "class_weight": class_weight, "loss": loss}
        grouped = group_model(plain_copy(model), sections, *gammas, seed=seed)
        tree = _try(grouped, feeds, recipe, phase, folder, common)
        kept = folder / "split" if folder else None
        trial = Trial.of(evaluate_model(tree, feeds[1], loss=loss), cut.start, num_groups, kept)
        found = dataclasses.replace(found, trials=(*found.trials, trial))
        if found.best is trial:
            found = dataclasses.replace(found, tree=tree)
        logging.info("%s: %.2f points lost.", cut.start, 100 * found.drop(trial))
        if not found.is_within(trial) and not exhaustive:
            break
    return found


def _try(
    grouped: keras.Model,
    feeds: tuple[Feed, Feed],
    recipe: GroupingRecipe,
    phase: Phase,
    folder: Path | None,
    common: dict[str, Any],
) -> SplitTree:
    """A tree of a grouped model, its groups learned and finetuned."""
    train, valid = feeds
    runs = {n: folder and folder / n for n in ("group", "split")}
    groups = learn_groups(
        grouped, train, valid, recipe, run=runs["group"], method="balanced", **common
    ).grouping
    # The validation data in the place of the test's, which decide nothing and are not touched.
    return split(grouped, groups, train, valid, valid, phase, run=runs["split"], **common).tree
