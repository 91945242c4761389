"""The ``result.json`` of a finished run: its keys, and their check on reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from splitnet_tf.errors import RunError
from splitnet_tf.runs.names import RESULT
from splitnet_tf.storage.json_files import read_json, write_json


@dataclasses.dataclass(frozen=True)
class Result:
    """End of a training; a value that was not measured is None and has no key in the file.

    Attributes:
      steps: int, training steps done.
      epochs: float, the same in epochs.
      stopped: str, reason of the end: ``max_steps``, ``converged`` or ``patience``.
      rollbacks: int, times that training went back to a checkpoint at half the learning rate.
      valid_accuracy: float, share of the validation images that are right at the end, 0 to 1.
      preprocessing: str, how the inputs were prepared, as the flag has it; None where it is not
        known.
    """

    steps: int
    epochs: float | None = None
    stopped: str | None = None
    rollbacks: int | None = None
    valid_accuracy: float | None = None
    preprocessing: str | None = None

    def length(self) -> str:
        """The steps done, with the reason where training ended early."""
        early = "" if self.stopped == "max_steps" else f" ({self.stopped})"
        return f"Trained for {self.steps} steps{early}"

    def to_document(self) -> dict[str, Any]:
        """The keys and values of the file."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    def write(self, run_path: str | Path) -> None:
        """Writes ``result.json`` into a run folder."""
        write_json(Path(run_path) / RESULT, self.to_document())

    @classmethod
    def read(cls, run_path: str | Path) -> Result:
        """Reads ``result.json`` of a run folder; keys that are not known are passed over.

        Raises:
          FileNotFoundError: the folder has no such file: the run has not come to its end.
          RunError: the file is damaged, or a value is of another kind than it must be.
        """
        file = Path(run_path) / RESULT
        try:
            document = read_json(file)
            return cls(**dict(_checked(cls, document)))
        except FileNotFoundError:
            raise
        except ValueError as error:
            raise RunError(
                f"{file}: {error}; write it anew with the program that made it."
            ) from None


@dataclasses.dataclass(frozen=True)
class TestedResult(Result):
    """Result of a training whose model is tested at the end.

    Attributes:
      test_accuracy, test_top5: float, shares of the test images whose class is the first, or
        among the first five, 0 to 1.
      test_cross_entropy: float, mean over the test images in nats.
      valid_accuracy_at_start: float, before the first step of a training from a trained model.
    """

    test_accuracy: float | None = None
    test_top5: float | None = None
    test_cross_entropy: float | None = None
    valid_accuracy_at_start: float | None = None


@dataclasses.dataclass(frozen=True)
class GroupResult(TestedResult):
    """Result of learning the groups, or of a plain training.

    Attributes:
      off_block_energy: float, share of the split kernels' energy outside the blocks, 0 to 1: the
        mean over kernels.
      group_weight: float, R_W without its weight.
      moved: ``classes`` and ``features`` -> share that left the group of its start, 0 to 1.
      nmi: float, agreement of the groups of the classes with the superclasses, 0 to 1.
    """

    off_block_energy: float | None = None
    group_weight: float | None = None
    moved: dict[str, float] | None = None
    nmi: float | None = None


@dataclasses.dataclass(frozen=True)
class SparseResult(TestedResult):
    """Result of sparse training.

    Attributes:
      zero_groups, groups: ``<structure>/<layer or space>`` -> groups that are zero; all groups.
      weights, multiply_adds: ``before`` and ``after`` the shrink that the zeros allow -> weights of
        kernels; multiply-adds for one image. No key where they are not known.
      bytes_crossing: ``before`` and ``after``: bytes between devices for one example, with all
        blocks and with those that are left. No key for a plan without ``blocks``.
      strength: float, factor on all strengths at the end; above 1 where a target raised it.
      needed_factor: float, factor on all strengths with which one more group would be zero, at
        least.
    """

    zero_groups: dict[str, int] = dataclasses.field(default_factory=dict)
    groups: dict[str, int] = dataclasses.field(default_factory=dict)
    weights: dict[str, int] = dataclasses.field(default_factory=dict)
    multiply_adds: dict[str, int] = dataclasses.field(default_factory=dict)
    bytes_crossing: dict[str, int] = dataclasses.field(default_factory=dict)
    strength: float | None = None
    needed_factor: float | None = None


@dataclasses.dataclass(frozen=True)
class ShrinkResult(Result):
    """Result of a shrink and its finetuning.

    Attributes:
      test_accuracy: stage, a key of ``names.SHRINK_STAGES`` -> share of the test images, 0 to 1.
      params, flops: ``before`` and ``after`` the shrink -> parameters; FLOPs for one image.
    """

    test_accuracy: dict[str, float] = dataclasses.field(default_factory=dict)
    params: dict[str, int] = dataclasses.field(default_factory=dict)
    flops: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SplitResult(Result):
    """Result of a cut and its finetuning.

    Attributes:
      test_accuracy: stage, a key of ``names.STAGES`` -> share of the test images, 0 to 1.
      off_block_energy: kernel -> share of its energy outside the blocks, 0 to 1.
      params, flops: ``before`` and ``after`` the cut -> parameters; FLOPs for one image.
      group_sizes: classes in each group.
    """

    test_accuracy: dict[str, float] = dataclasses.field(default_factory=dict)
    off_block_energy: dict[str, float] = dataclasses.field(default_factory=dict)
    params: dict[str, int] = dataclasses.field(default_factory=dict)
    flops: dict[str, int] = dataclasses.field(default_factory=dict)
    group_sizes: list[int] = dataclasses.field(default_factory=list)


def _checked(cls: type, document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of a document that a result has, each of the type of its field."""
    kinds = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name in document:
            if not _is(document[field.name], kinds[field.name]):
                raise ValueError(
                    f"'{field.name}' must be of type {field.type}; got "
                    f"{repr(document[field.name])[:60]}"
                )
            yield field.name, document[field.name]
        elif field.name == "steps":
            raise ValueError("it has no 'steps'")


def _is(value: Any, kind: Any) -> bool:
    """True when a value of JSON is of a type; a whole number is a float too, a bool is neither."""
    parts = get_args(kind)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is(v, parts[1]) for v in value.values())
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is(v, parts[0]) for v in value)
    if parts:  # float | None
        return any(_is(value, part) for part in parts)
    if kind is int:
        return type(value) is int and 0 <= value < 2**63
    if kind is float:
        return type(value) is float or type(value) is int and abs(value) < 2**63
    return isinstance(value, kind)
