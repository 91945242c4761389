"""Times of parts of the work on one device, each against what it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis import cost, text_table
from splitnet_tf.benchmarks.machine import describe_machine
from splitnet_tf.data import Split, training_batches
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import Grouping, SplitPlan, group_model
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.parallel import Timing, interleave, ratio
from splitnet_tf.recipe import CrossEntropy, Phase, optimizer_for
from splitnet_tf.recipe.optimizers import AfterStep
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.sparsity import SparsityPlan, sparse_model, step_of
from splitnet_tf.splitting import split_model
from splitnet_tf.training import TrainStep

PIPELINE_BATCHES = 40  # timed at once, or prefetching would hide their cost
HEADER = ("case", "first", "other", "spread", "time ratio", "speed", "by FLOPs")


@dataclasses.dataclass(frozen=True)
class PartTiming:
    """Times of one case.

    Attributes:
      case: string, name of the case.
      timings: name -> times of the work that is compared with, then of the work that is measured.
      flops_ratio: float, FLOPs of the second over the first; None where they do not bound it.
      more: other numbers of the case, by name.
    """

    case: str
    timings: Mapping[str, Timing]
    flops_ratio: float | None = None
    more: Mapping[str, int | None] = dataclasses.field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Time of the second over that of the first, the median over the rounds."""
        first, second = self.timings.values()
        return ratio(second, first)

    def to_document(self) -> dict[str, Any]:
        """Ratios and times for a JSON document."""
        times = {
            name: {
                "median_seconds": t.median,
                "spread": t.quartile_deviation,
                "seconds": list(t.seconds),
            }
            for name, t in self.timings.items()
        }
        head = {"case": self.case, "ratio": self.ratio, "flops_ratio": self.flops_ratio}
        return {**head, **times, **self.more}

    def cells(self) -> tuple[str, ...]:
        """The numbers under ``HEADER``."""
        (base, first), (name, second) = self.timings.items()
        deviation = max(first.quartile_deviation, second.quartile_deviation)
        return (
            f"{self.case}: {name} against {base}",
            f"{1000 * first.median:.1f} ms",
            f"{1000 * second.median:.1f} ms",
            f"{100 * deviation:.1f}%",
            f"{self.ratio:.3f}",
            f"{1 / self.ratio:.2f}x",
            "-" if self.flops_ratio is None else f"{1 / self.flops_ratio:.2f}x",
        )


@dataclasses.dataclass(frozen=True)
class PartTimings:
    """Times of several cases on one machine. Prints as a table.

    Attributes:
      model: string, name of the model.
      splits: string, groups of the cases that split; None where none does.
      batch_size: int, images in a batch; None where no case has one.
      repeats: int, timed rounds.
      machine: see ``describe_machine``.
      cases: times of each case.
    """

    model: str
    splits: str | None
    batch_size: int | None
    repeats: int
    machine: Mapping[str, Any]
    cases: tuple[PartTiming, ...]

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document."""
        return {**vars(self), "cases": [part.to_document() for part in self.cases]}

    def __str__(self) -> str:
        measured = (
            self.model,
            self.splits,
            self.batch_size and f"batch {self.batch_size}",
            f"{self.repeats} interleaved rounds on {self.machine['processor']}",
            f"TensorFlow {self.machine['tensorflow']}",
            f"Keras {self.machine['keras']}",
        )
        table = text_table(HEADER, [part.cells() for part in self.cases])
        return f"{', '.join(filter(None, measured))}\n\n{table}"


class Parts:
    """Work that can be timed on one device.

    Args:
      model: functional; takes images and returns logits.
      sections: (first layer, number of groups) from the bottom up, for the cases that split.
      batch_size: int, images in a batch.
      repeats: int, timed rounds, interleaved.
    """

    def __init__(
        self,
        model: keras.Model,
        sections: Sequence[tuple[str, int]] = (),
        batch_size: int = 100,
        repeats: int = 3,
    ):
        self.model, self.sections = model, sections
        self.batch_size, self.repeats = batch_size, repeats
        rng = np.random.default_rng(0)
        self._classes = model.output_shape[-1]
        shape = (batch_size, *model.input_shape[1:])
        self._images = tf.constant(rng.normal(size=shape), tf.float32)
        self._labels = tf.constant(rng.integers(0, self._classes, batch_size), tf.int32)

    def conversion(self) -> PartTiming:
        """Times tracing, planning and cutting the model against making an equal one."""

        def convert():
            plan = SplitPlan.from_sections(self.model, self.sections)
            return split_model(self.model, Grouping.even(plan))

        grown = memory_growth(convert)
        more = {"peak_bytes_more": grown, "model_bytes": 4 * self.model.count_params()}
        work = {"clone": lambda: plain_copy(self.model), "convert": convert}
        return PartTiming("conversion", interleave(work, self.repeats), more=more)

    def grouping_step(self) -> PartTiming:
        """Times a training step of the grouped model against one of the plain model."""
        grouped = group_model(self.model, self.sections)
        steps = {"plain": training_step(self.model), "grouped": training_step(grouped)}
        return self._steps("grouping_step", steps)

    def sparse_step(self) -> PartTiming:
        """Times a training step with a penalty on all spaces against one of the plain model."""
        plan = SparsityPlan(spaces=1e-5)
        sparse = sparse_model(self.model, plan)
        steps = {
            "plain": training_step(plain_copy(self.model)),
            "sparse": training_step(sparse, after_step=step_of(sparse, plan)),
        }
        return self._steps("sparse_step", steps)

    def bfloat16_step(self) -> PartTiming:
        """Times a training step whose layers compute in bfloat16 against one in float32."""
        return self._steps("bfloat16_step", precision_steps(self.model))

    def split_forward(self) -> PartTiming:
        """Times a forward pass of the tree against one of the whole, in one process."""
        plan = SplitPlan.from_sections(self.model, self.sections)
        tree = split_model(self.model, Grouping.even(plan)).model
        timings = self._forward({"plain": self.model, "split": tree})
        bound = cost(tree).flops / cost(self.model).flops
        return PartTiming("split_forward", timings, bound)

    def take_forward(self) -> PartTiming:
        """Times a tree whose branches take their channels against one whose trunk sorts them.

        Both are cut by the same groups, of channels drawn at random. A trunk whose last layers
        need their channels in order, such as a recurrent one, leaves the first way alone.
        """
        plan = SplitPlan.from_sections(self.model, self.sections)
        takes = dataclasses.replace(plan, unsorted=frozenset(s.name for s in plan.spaces))
        grouping = shuffled_grouping(plan)
        trees = {
            name: split_model(self.model, grouping, own).model
            for name, own in (("sorted", plan), ("taken", takes))
        }
        return PartTiming("take_forward", self._forward(trees))

    def _forward(self, models: Mapping[str, keras.Model]) -> dict[str, Timing]:
        work = {}
        for name, net in models.items():
            forward = tf.function(lambda x, net=net: net(x, training=False))
            work[name] = lambda forward=forward: forward(self._images).numpy()
        return interleave(work, self.repeats)

    def input_pipeline(self) -> PartTiming:
        """Times making a batch (crop, flip, whitening) against a training step on one."""
        rng, count = np.random.default_rng(1), 20 * self.batch_size
        pictures = rng.integers(0, 256, (count, *self._images.shape[1:]), np.uint8)
        split = Split(pictures, rng.integers(0, self._classes, count).astype(np.int32))
        batches = iter(training_batches(split, self.batch_size, seed=0, preprocessing=WHITEN))
        work = {
            "step": self._once(training_step(self.model)),
            "batch": lambda: [next(batches) for _ in range(PIPELINE_BATCHES)],
        }
        found = interleave(work, self.repeats)
        found["batch"] = Timing(tuple(s / PIPELINE_BATCHES for s in found["batch"].seconds))
        return PartTiming("input_pipeline", found)

    def _steps(self, case: str, steps: Mapping[str, TrainStep]) -> PartTiming:
        work = {name: self._once(step) for name, step in steps.items()}
        return PartTiming(case, interleave(work, self.repeats))

    def _once(self, step: TrainStep) -> Callable[[], float]:
        return lambda: float(step(self._images, self._labels, 1e-3)["cross_entropy"])


# The first is timed first, while memory holds nothing but the model.
CASES = (
    *("conversion", "grouping_step", "sparse_step", "bfloat16_step", "split_forward"),
    "take_forward",
    "input_pipeline",
)


def measure_parts(
    model: keras.Model,
    cases: Sequence[str] = CASES,
    splits: str | None = None,
    *,
    batch_size: int | None = 100,
    repeats: int = 3,
    name: str | None = None,
) -> PartTimings:
    """Times parts of the work on one device.

    Args:
      model: functional; takes images and returns logits.
      cases: names among ``CASES``.
      splits: text such as ``2-2-2``, see ``parse_splits``; None where no case splits.
      batch_size: int, images in a batch. None where no case has one; defaults to 100.
      repeats: int, timed rounds, interleaved. Defaults to 3.
      name: name of the model. Defaults to its own.

    Raises:
      ArgumentError, PlanError: splits that the model cannot have.
    """
    name = name or model.name
    sections = parse_splits(splits, name) if splits else ()
    if sections:
        SplitPlan.from_sections(model, sections)  # what cannot be split is found before timing
    parts = Parts(model, sections, batch_size or 1, repeats)
    found = tuple(getattr(parts, case)() for case in CASES if case in cases)
    return PartTimings(name, splits, batch_size, repeats, describe_machine(), found)


def training_step(model: keras.Model, after_step: AfterStep | None = None, **more) -> TrainStep:
    """Makes a training step with the defaults of a phase."""
    optimizer = optimizer_for(Phase(), after_step=after_step)
    return TrainStep(model, CrossEntropy(), optimizer, l2=Phase.l2, **more)


def precision_steps(model: keras.Model) -> dict[str, TrainStep]:
    """Makes training steps of copies of a model, ``float32`` and ``bfloat16``."""
    return {
        name: training_step(plain_copy(model), bfloat16=name == "bfloat16")
        for name in ("float32", "bfloat16")
    }


def shuffled_grouping(plan: SplitPlan) -> Grouping:
    """Makes equal groups of members drawn at random."""
    rng, even = np.random.default_rng(0), Grouping.even(plan)
    spaces = tuple(
        SpaceGroups.from_labels(s.name, rng.permutation(s.labels()), s.num_groups)
        for s in even.spaces
    )
    return dataclasses.replace(even, spaces=spaces)


def memory_growth(work: Callable[[], object]) -> int | None:
    """Returns the most bytes that the process holds beyond those before, on Linux."""

    def held(field):
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = held("VmRSS")
    except OSError:
        return None
    work()
    return held("VmHWM") - before
