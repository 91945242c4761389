"""Several batches under way at once."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator


def stream(function: Callable, batches: Iterable, ahead: int = 2) -> Iterator:
    """Maps a function over batches with ``ahead`` calls under way at once.

    Args:
      function: takes a batch; safe to call from several threads, as a ``tf.function`` is.
      batches: arguments of the calls, taken from the iterable as the calls begin.
      ahead: int, 1 or more. Defaults to 2.

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
