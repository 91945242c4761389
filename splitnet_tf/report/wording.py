"""Sentences of the report on a run."""

from __future__ import annotations

from splitnet_tf.models import wide_resnet_name
from splitnet_tf.report.before_after import Measured
from splitnet_tf.report.run_folder import GROUP, SHRINK, SPARSIFY, SPLIT, RunFolder, number
from splitnet_tf.report.runs import Run, SparseRun

NAMES = {GROUP: "Grouping", SPLIT: "Split", SPARSIFY: "Sparse training", SHRINK: "Shrink"}


def title(run: Run | SparseRun) -> str:
    """Names model and data of a run."""
    model = run.setting("model") or _wide(run)
    model = model or (run.grouping.model if run.grouping else "unknown model")
    data = run.setting("dataset") or "unknown data"
    return f"{model} on {data}"


def _wide(run: Run) -> str:
    """Names the model by its units and width; empty for a run without these settings."""
    units, width = (number(run.setting(name)) for name in ("num_residual_units", "k"))
    return wide_resnet_name(units, width) if units is not None and width is not None else ""


def summary(run: Run, measured: Measured, predicted: bool) -> str:
    """Describes the run in one sentence.

    Args:
      run: the run.
      measured: its numbers.
      predicted: bool, the costs are those of a tree that is not cut yet.
    """
    grouping = run.grouping
    text = title(run)
    if run.plain:
        text += ", nothing split"
    elif grouping:
        splits = "-".join(str(groups) for _, groups in grouping.sections)
        text += f", split {splits} into {_sizes([len(m) for m in grouping.classes.members])}"
    if measured.before is not None:
        text += f": {100 * measured.before:.1f}% test accuracy"
        text += "" if run.plain else " before the cut"
        if measured.after is not None:
            text += f", {100 * measured.after:.1f}% after it"
    if measured.fewer_params is not None and measured.fewer_flops is not None:
        text += (
            f"; {100 * measured.fewer_params:.1f}% fewer parameters and "
            f"{100 * measured.fewer_flops:.1f}% fewer FLOPs"
        )
        text += " (predicted: it is not cut yet)" if predicted else ""
    return f"{text}."


def sparse_summary(run: SparseRun, measured: Measured) -> str:
    """Describes a run of structured sparsity in one sentence."""
    text = title(run)
    if measured.before is not None:
        text += f": {100 * measured.before:.1f}% test accuracy"
        if measured.after is not None:
            text += f" before the shrink, {100 * measured.after:.1f}% after it"
    if measured.fewer_params is not None and measured.fewer_flops is not None:
        text += (
            f"; {100 * measured.fewer_params:.1f}% fewer parameters and "
            f"{100 * measured.fewer_flops:.1f}% fewer FLOPs"
        )
    return f"{text}."


def _sizes(sizes: list[int]) -> str:
    """Describes the sizes of the class groups."""
    if len(sizes) == 1:
        return f"one group of {sizes[0]} classes"
    if len(sizes) > 8:
        return f"{len(sizes)} groups of {min(sizes)} to {max(sizes)} classes"
    listed = ", ".join(str(s) for s in sizes[:-1])
    return f"{len(sizes)} groups of {listed} and {sizes[-1]} classes"


def state(run: Run | SparseRun) -> tuple[str, ...]:
    """Says how far each phase has come, and what the model was fed."""
    sentences = []
    for folder in run.folders[::-1]:
        name = "Training" if _is_plain(run, folder) else NAMES[folder.kind]
        done = folder.result
        if done:
            length = f" ({done.epochs:.3g} epochs)" if done.epochs is not None else ""
            why = f", stopped by {done.stopped}" if done.stopped else ""
            sentences.append(
                f"{name} ({folder.path}): finished at step {done.steps:,}{length}{why}."
            )
        else:
            last = max((e["step"] for e in folder.metrics), default=None)
            so_far = f"the log ends at step {last:,}" if last is not None else "nothing is logged"
            sentences.append(f"{name} ({folder.path}): not finished, {so_far}.")
    fed = run.setting("preprocessing")
    if isinstance(fed, str):
        sentences.append(f"Preprocessing of the inputs: {fed}.")
    return tuple(sentences)


def damaged(run: Run | SparseRun) -> tuple[str, ...]:
    """Lists the problems of files that are there."""
    return tuple(
        sentence
        for folder in run.folders
        for name, sentence in folder.problems.items()
        if (folder.path / name).exists() and "is empty" not in sentence
    )


def phase(run: Run | SparseRun, folder: RunFolder) -> str:
    """Names the purpose of a folder's training."""
    if folder.kind in (SPLIT, SHRINK):
        return "finetuning"
    if folder.kind == SPARSIFY:
        return "sparse training"
    return "training" if _is_plain(run, folder) else "grouping"


def _is_plain(run: Run | SparseRun, folder: RunFolder) -> bool:
    """True for an ordinary training, by itself or before a shrink."""
    return folder.kind == GROUP and (isinstance(run, SparseRun) or run.plain)
