"""SIGTERM and SIGINT: noted while training, so that it can save and then stop."""

from __future__ import annotations

import signal
import threading


class StopSignals:
    """Notes the signals that end a program in place of ending it, in a ``with`` block.

    The handlers from before are back after the block. Only the main thread can set handlers; in
    another the block changes nothing.

    Attributes:
      number: of the signal that came last; 0: none came.
    """

    def __init__(self):
        self.number = 0
        self._before = {}

    @property
    def name(self) -> str:
        """Name of the signal that came, such as SIGTERM."""
        return signal.Signals(self.number).name

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for s in (signal.SIGTERM, signal.SIGINT):
                self._before[s] = signal.signal(s, self._note)
        return self

    def __exit__(self, *error) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number, frame) -> None:
        self.number = number
