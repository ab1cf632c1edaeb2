"""Samples that lie in blocks, as row groups of files do, each read as a whole before it is due.

To take the rows of a block one by one, in an order that is mixed, would read the same pages again
and again wherever memory does not hold them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from secateur.data.contract import Contract
from secateur.data.encode import Encoded
from secateur.data.stores import THREADS, lone_or_named, row_bytes

# The share of the memory for encoded rows that a window of blocks may take: there are up to three
# of them at a time, of which one is being read.
_WINDOWS = 4

Arrays = dict[str, np.ndarray]


class Blocks(Protocol):
    """Samples of three splits in blocks. `window` is how many rows are mixed with one another."""

    window: int

    def sizes(self, split: int) -> np.ndarray:
        """Return how many rows of a split each block has."""
        ...

    def decode(self, split: int, block: int, /) -> Arrays:
        """Return a block's rows of one split, encoded, and "y", their targets."""
        ...


class Feed:
    """The blocks of a split, read by a few threads before their rows are asked for.

    Args:
        blocks: reads them.
        split: the place of the split.
        workers: how many threads read.
    """

    def __init__(self, blocks: Blocks, split: int, workers: int = THREADS):
        self.sizes = blocks.sizes(split)
        self.window = blocks.window
        self._blocks, self._split = blocks, split
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self._pool = ThreadPoolExecutor(max(1, workers), "secateur-feed")
        self._read: dict[int, Future[Arrays]] = {}

    def expect(self, blocks: Iterable[int]) -> None:
        """Read blocks, in this order, and forget all others."""
        wanted = list(blocks)
        for block in set(self._read) - set(wanted):
            self._read.pop(block).cancel()
        for block in wanted:
            if block not in self._read:
                self._read[block] = self._pool.submit(self._blocks.decode, self._split, block)

    def samples(self, rows: np.ndarray) -> tuple[Encoded, np.ndarray]:
        """Return encoded rows and their targets."""
        return gathered(self._starts, rows, self._decoded)

    def _decoded(self, block: int) -> Arrays:
        known = self._read.get(block)
        return self._blocks.decode(self._split, block) if known is None else known.result()


def gathered(
    starts: np.ndarray, rows: np.ndarray, decoded: Callable[[int], Arrays]
) -> tuple[Encoded, np.ndarray]:
    """Return encoded rows and their targets from the blocks that they are in.

    Args:
        starts: (blocks + 1,): the number of the first row of each block, and of all rows.
        rows: the numbers of rows.
        decoded: gives a block's rows and "y", their targets.
    """
    places = np.searchsorted(starts, rows, side="right") - 1
    out: Arrays = {}
    for block in np.unique(places).tolist():
        arrays = decoded(block)
        here = np.flatnonzero(places == block)
        for name, array in arrays.items():
            if name not in out:
                out[name] = np.empty((len(rows), *array.shape[1:]), array.dtype)
            out[name][here] = array[rows[here] - starts[block]]
    y = out.pop("y")
    return lone_or_named(out), y


def window_rows(contract: Contract, cache_bytes: int) -> int:
    """Return how many encoded rows a window of blocks may hold."""
    return max(1, cache_bytes // _WINDOWS // row_bytes(contract))
