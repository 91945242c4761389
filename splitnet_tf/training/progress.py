"""Progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm


class Progress:
    """Shows how far a run is.

    Args:
      total: steps of the run.
      done: steps done before.
    """

    def __init__(self, total: int, done: int):
        self._total = total
        self._done = done
        self._start = time.perf_counter()
        self._bar = tqdm(total=total, initial=done, unit="step") if sys.stderr.isatty() else None

    def update(self, step: int) -> None:
        """Moves the bar."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def show(
        self, step: int, *, loss: float, accuracy: float, images_per_second: float, note: str = ""
    ) -> None:
        """Shows the values of a display interval."""
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"loss {loss:.3f}, accuracy {100 * accuracy:.1f}%, "
                f"{images_per_second:.0f} images/s {note}"
            )
            return
        spent = time.perf_counter() - self._start
        left = spent / max(1, step - self._done) * (self._total - step)
        logging.info(
            "step %d/%d  loss %.3f  accuracy %.1f%%  %.0f images/s  %s left%s",
            step,
            self._total,
            loss,
            100 * accuracy,
            images_per_second,
            _clock(left),
            f"  {note}" if note else "",
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
