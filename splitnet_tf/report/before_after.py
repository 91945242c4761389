"""Parameters, FLOPs, accuracy and time of a run, before and after the cut or the shrink."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from splitnet_tf.report.run_folder import RunFolder, number
from splitnet_tf.report.runs import Run, SparseRun
from splitnet_tf.runs.names import EVALUATION, RESULT

Pair = tuple[float | None, float | None]  # before and after


@dataclasses.dataclass(frozen=True)
class Measured:
    """Numbers of a run; None stands for a number that is not known.

    Attributes:
      params, flops, seconds, top5, cross_entropy: values before and after the cut or the shrink.
      accuracy: test accuracy by stage, in order, see ``runs.names``.
      problems: sentences, one for each thing that is missing.
    """

    params: Pair
    flops: Pair
    seconds: Pair
    top5: Pair
    cross_entropy: Pair
    accuracy: dict[str, float]
    problems: tuple[str, ...]

    @property
    def before(self) -> float | None:
        """Test accuracy before the cut."""
        return self.accuracy.get("before")

    @property
    def after(self) -> float | None:
        """Test accuracy at the last stage after the cut or the shrink."""
        later = [value for stage, value in self.accuracy.items() if stage != "before"]
        return later[-1] if later else None

    @property
    def fewer_params(self) -> float | None:
        """Share of the parameters that are saved."""
        return _saved(self.params)

    @property
    def fewer_flops(self) -> float | None:
        """Share of the FLOPs that are saved."""
        return _saved(self.flops)


def measure(run: Run | SparseRun, params: Pair, flops: Pair, problems: Sequence[str]) -> Measured:
    """Gathers the numbers of a run.

    Args:
      run: the run.
      params, flops: counted before and after the cut or the shrink.
      problems: sentences on what could not be counted.
    """
    before, after = evaluations(run)
    accuracy = _accuracy(run)
    problems = [*problems]
    if not accuracy:
        problems.append(run.problem(RESULT) or f"{RESULT} has no test accuracy.")
    if run.later and not any(stage != "before" for stage in accuracy):
        yet = f"The {run.later.kind} has no accuracy yet."
        problems.append(run.later.problems.get(RESULT, yet))
    stale = _stale(run, accuracy, before, after)
    if stale:
        problems.append(stale)

    def pair(name: str) -> Pair:
        return number(before, name), number(after, name)

    return Measured(
        params,
        flops,
        pair("seconds_per_image"),
        pair("top5"),
        pair("cross_entropy"),
        accuracy,
        tuple(dict.fromkeys(problems)),
    )


def evaluations(run: Run | SparseRun) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of ``evaluation.json`` before and after the cut or shrink; empty where none is."""
    before: Any = None
    after: Any = None
    if run.later:
        before, after = (run.later.evaluation.get(k) for k in run.evaluated)
    if run.earlier and not isinstance(before, dict):
        before = run.earlier.evaluation.get("model")
    return tuple(e if isinstance(e, dict) else {} for e in (before, after))


def _accuracy(run: Run | SparseRun) -> dict[str, float]:
    found = {}
    if run.earlier and run.earlier.result and run.earlier.result.test_accuracy is not None:
        found["before"] = run.earlier.result.test_accuracy
    if run.later and run.later.result:
        found |= run.later.result.test_accuracy
    return {stage: found[stage] for stage in run.stages if stage in found}


def counted_by(folder: RunFolder | None, name: str) -> Pair:
    """``params`` or ``flops`` before and after, as the result of a cut or a shrink has them."""
    known = getattr(folder.result, name) if folder and folder.result else {}
    return known.get("before"), known.get("after")


def _stale(run: Run | SparseRun, accuracy: dict[str, float], before: dict, after: dict) -> str:
    """Writes a sentence when the evaluation is that of other models than the results."""
    for entry, stage in ((before, "before"), (after, "finetuned")):
        found, expected = number(entry, "top1"), accuracy.get(stage)
        owner = next((f for f in run.folders if f.evaluation), None)
        if found is None or expected is None:
            continue
        if abs(found - expected) > 1e-3:
            return (
                f"{owner.path / EVALUATION} has {100 * found:.2f}% where {RESULT} has "
                f"{100 * expected:.2f}%: it is of another model; evaluate again."
            )
    return ""


def _saved(pair: Pair) -> float | None:
    before, after = pair
    return 1 - after / before if before and after is not None else None
