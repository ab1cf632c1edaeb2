"""Batches are made by a few threads before they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Ahead:
    """What `make(index)` gives, made for the indices that come next as well.

    Args:
        make: a function that threads may call at the same time.
        workers: how many threads.
    """

    def __init__(self, make: Callable[[int], Any], workers: int):
        self._make = make
        self._depth = workers + 1
        self._pool = ThreadPoolExecutor(workers, "secateur-batch")
        self._made: dict[int, Future[Any]] = {}

    def reach(self, index: int, stop: int) -> int:
        """Return the last index that is made when `index` is asked for."""
        return min(index + self._depth, stop) - 1

    def get(self, index: int, stop: int) -> Any:
        """Return what is made for an index, and have those after it made, up to `stop`."""
        wanted = range(index, max(self.reach(index, stop), index) + 1)
        for other in [each for each in self._made if each not in wanted]:
            self._made.pop(other).cancel()
        for each in wanted:
            if each not in self._made:
                self._made[each] = self._pool.submit(self._make, each)
        return self._made.pop(index).result()

    def forget(self) -> None:
        """Forget what was made, as when the order has changed."""
        for each in self._made.values():
            each.cancel()
        self._made.clear()
