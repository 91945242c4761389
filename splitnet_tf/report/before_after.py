"""Parameters, FLOPs, accuracy and time of a run, before and after the cut."""

from __future__ import annotations

import dataclasses
from typing import Any

from splitnet_tf.report.models import Counted
from splitnet_tf.report.run_folder import number
from splitnet_tf.report.runs import Run
from splitnet_tf.runs.names import EVALUATION, RESULT, STAGES


@dataclasses.dataclass(frozen=True)
class Measured:
    """Numbers of a run; None stands for a number that is not known.

    Attributes:
      params, flops, seconds, top5, cross_entropy: values before and after the cut or the shrink.
      accuracy: test accuracy by stage, in order, see ``runs.names``.
      problems: sentences, one for each thing that is missing.
    """

    params: tuple[float | None, float | None]
    flops: tuple[float | None, float | None]
    seconds: tuple[float | None, float | None]
    top5: tuple[float | None, float | None]
    cross_entropy: tuple[float | None, float | None]
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


def measure(run: Run, counted: Counted) -> Measured:
    """Gathers the numbers of a run."""
    before, after = evaluations(run)
    problems = [*counted.problems]
    accuracy = _accuracy(run)
    if not accuracy:
        problems.append(run.problem(RESULT) or f"{RESULT} has no test accuracy.")
    if run.split and not any(stage in accuracy for stage in STAGES if stage != "before"):
        problems.append(run.split.problems.get(RESULT, "The split has no accuracy yet."))
    stale = _stale(run, accuracy, before, after)
    if stale:
        problems.append(stale)

    def pair(name: str) -> tuple[float | None, float | None]:
        return number(before, name), number(after, name)

    return Measured(
        _counts(run, counted, "params"),
        _counts(run, counted, "flops"),
        pair("seconds_per_image"),
        pair("top5"),
        pair("cross_entropy"),
        accuracy,
        tuple(dict.fromkeys(problems)),
    )


def evaluations(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of ``evaluation.json`` on the unsplit model and on the tree; empty where none is."""
    before: Any = None
    after: Any = None
    if run.split:
        before, after = (run.split.evaluation.get(k) for k in ("unsplit", "split"))
    if run.group and not isinstance(before, dict):
        before = run.group.evaluation.get("model")
    return tuple(e if isinstance(e, dict) else {} for e in (before, after))


def _accuracy(run: Run) -> dict[str, float]:
    found = {}
    if run.group and run.group.result and run.group.result.test_accuracy is not None:
        found["before"] = run.group.result.test_accuracy
    if run.split and run.split.result:
        found |= run.split.result.test_accuracy
    return {stage: found[stage] for stage in STAGES if stage in found}


def _counts(run: Run, counted: Counted, name: str) -> tuple[float | None, float | None]:
    """Costs as counted, or else as the split's result has them."""
    result = run.split.result if run.split else None
    known = getattr(result, name) if result else {}
    return tuple(
        getattr(cost, name) if cost else known.get(when)
        for cost, when in ((counted.before, "before"), (counted.after, "after"))
    )


def _stale(run: Run, accuracy: dict[str, float], before: dict, after: dict) -> str:
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


def _saved(pair: tuple[float | None, float | None]) -> float | None:
    before, after = pair
    return 1 - after / before if before and after is not None else None
