"""The order of rows in an epoch: a pure function of the seed and the epoch.

Blocks of neighbouring rows are shuffled, and then the rows within a window of blocks.
"""

from __future__ import annotations

import numpy as np


class Order:
    """The order of rows of one epoch: place -> row.

    Args:
        sizes: the rows of each block, in the order of rows.
        window: how many rows a window holds, or as many as its last block makes it hold.
        seed: decides the order.
        shuffle: whether the order is another one than that of the rows.
    """

    def __init__(self, sizes: np.ndarray, window: int, seed: tuple[int, ...], shuffle: bool):
        self.seed, self.shuffle = seed, shuffle
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._blocks = np.flatnonzero(np.asarray(sizes) > 0)
        if shuffle:
            np.random.default_rng(seed).shuffle(self._blocks)
        before = np.cumsum(sizes[self._blocks]) - sizes[self._blocks]
        windows = before // max(window, 1)
        # The first block of each window, and where each window begins in the order.
        self._firsts = np.flatnonzero(np.diff(windows, prepend=-1))
        self._bounds = before[self._firsts]
        self._known: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Return the rows at some places of the order."""
        if not self.shuffle:
            return places
        windows = self._windows(places)
        rows = np.empty(len(places), np.int64)
        for window in np.unique(windows):
            here = windows == window
            rows[here] = self._rows_of(int(window))[places[here] - self._bounds[window]]
        return rows

    def blocks(self, first: int, last: int) -> list[int]:
        """Return the blocks of the windows of two places and what is between, and of the next."""
        start, stop = (int(each) for each in self._windows(np.array([first, last])))
        return self._blocks_of(start, stop + 2).tolist()

    def _windows(self, places: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._bounds, places, side="right") - 1

    def _blocks_of(self, first: int, stop: int) -> np.ndarray:
        end = self._firsts[stop] if stop < len(self._firsts) else len(self._blocks)
        return self._blocks[self._firsts[first] : end]

    def _rows_of(self, window: int) -> np.ndarray:
        known, rows = self._known
        if known == window:
            return rows
        blocks = self._blocks_of(window, window + 1)
        rows = np.concatenate([np.arange(*self._starts[block : block + 2]) for block in blocks])
        np.random.default_rng((*self.seed, window)).shuffle(rows)
        self._known = (window, rows)
        return rows
