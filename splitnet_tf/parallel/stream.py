"""Several batches under way at once."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator


def stream(function: Callable, batches: Iterable, ahead: int = 2) -> Iterator:
    """``map(function, batches)`` with ``ahead`` calls under way at once.

    Args:
      function: safe to call from several threads, as a ``tf.function`` is.
      batches: its arguments; taken from the iterable as calls begin.
      ahead: 1 or more.

    Yields:
      The results, in the order of the batches.
    """
    with concurrent.futures.ThreadPoolExecutor(ahead) as pool:
        running = collections.deque()
        try:
            for batch in batches:
                running.append(pool.submit(function, batch))
                if len(running) >= ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for call in running:
                call.cancel()
