"""Picture of a search: accuracy of the cuts against what they save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

AXES = (("params", "million parameters", 1e-6), ("flops", "GFLOPs", 1e-9))
TIME = ("seconds_per_image", "ms an image", 1e3)


def search_figure(
    whole, trials: Sequence, max_accuracy_drop: float, best, path: str | Path
) -> None:
    """Writes a picture with a panel each for parameters, FLOPs and measured time.

    Args:
      whole: the network before any cut; has ``start``, ``accuracy`` (0 to 1), ``params``,
        ``flops`` and ``seconds_per_image`` (None where it was not measured).
      trials: the same of each cut.
      max_accuracy_drop: float from 0 to 1, accuracy that a cut may lose; a line shows it.
      best: the trial that was chosen, or None.
      path: path of the image; the suffix chooses the format.
    """
    shown = (whole, *trials)
    timed = all(t.seconds_per_image is not None for t in shown)
    panels = (*AXES, TIME) if timed else AXES
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axis, (name, label, scale) in zip(
        figure.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        axis.axhline(100 * (whole.accuracy - max_accuracy_drop), color="0.6", lw=1, ls="--")
        for trial in shown:
            colour = "tab:red" if trial is best else "0.2" if trial is whole else "tab:blue"
            x, y = scale * getattr(trial, name), 100 * trial.accuracy
            axis.plot(x, y, "s" if trial is whole else "o", color=colour)
            axis.annotate(
                trial.start, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7
            )
        axis.set_xlabel(label)
        axis.margins(0.15)
    figure.axes[0].set_ylabel("validation accuracy (%)")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
