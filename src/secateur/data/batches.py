"""A split as batches for `model.fit`: each epoch another order, and each order decided by the seed.

Where samples far apart are slow to take (rows mapped from a file), blocks of neighbouring rows are
shuffled, and then the rows within a window of blocks; else all samples are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.errors import DataError

if TYPE_CHECKING:
    from secateur.data.dataset import Split

BLOCK = 4096
WINDOW = 16


class Batches(keras.utils.PyDataset):
    """Batches of (x, y), or (x, y, weight). Give it to `fit` with `shuffle=False`.

    Args:
        split: the samples.
        batch_size: samples a batch.
        shuffle: whether each epoch has an order of its own, from the seed and the epoch's number.
        seed: decides the orders.
        augment: a function x -> x, as `augmentation` makes it.
        class_weights: True to weigh classes by how rare they are, or a weight by class name.
        repeat_last: whether the last batch is filled up with the first samples of the epoch.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        seed: int = 0,
        augment: Callable[..., Any] | None = None,
        class_weights: bool | Mapping[str, float] | None = None,
        repeat_last: bool = False,
    ):
        super().__init__()
        if batch_size < 1:
            raise DataError(f"a batch has at least one sample, not {batch_size}.")
        self.split = split
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.repeat_last = repeat_last
        self.epoch = 0
        self.labels = split.labels()
        self.weights = _weights(split, self.labels, class_weights)
        self._order: _Order = self._new_order()

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.split.rows // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return one batch."""
        start = index * self.batch_size
        places = np.arange(start, min(start + self.batch_size, self.split.rows))
        if self.repeat_last:
            places = np.arange(start, start + self.batch_size) % self.split.rows
        return self._taken(places, (index,))

    def part(self, index: int, number: int, parts: int) -> tuple[Any, ...]:
        """Return one of the equal parts of a batch; no other rows of it are read.

        Args:
            index: which batch.
            number: which part, from 0.
            parts: into how many it is divided. Where it does not divide, as the last one may not,
                it is filled up with the rows that follow, those after the last being the first.
        """
        start = index * self.batch_size
        size = -(-min(self.batch_size, self.split.rows - start) // parts)
        places = np.arange(start + number * size, start + (number + 1) * size) % self.split.rows
        return self._taken(places, (index, number))

    def _taken(self, places: np.ndarray, key: tuple[int, ...]) -> tuple[Any, ...]:
        rows = self._order(places)
        x = self.split.take(rows)
        if self.augment is not None:
            x = self._augmented(x, key)
        y = self.labels[rows]
        return (x, y) if self.weights is None else (x, y, self.weights[y])

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order."""
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch, as when training is resumed."""
        self.epoch = epoch
        self._order = self._new_order()

    def _new_order(self) -> _Order:
        block = self.split.rows if self.split.scattered else BLOCK
        return _Order(self.split.rows, block, (self.seed, self.epoch), self.shuffle)

    def _augmented(self, x: Any, key: tuple[int, ...]) -> Any:
        assert self.augment is not None
        if getattr(self.augment, "keyed", False):
            return self.augment(x, key=(self.seed, self.epoch, *key))
        return self.augment(x)


class _Order:
    """The order of rows of one epoch: place -> row."""

    def __init__(self, rows: int, block: int, seed: tuple[int, ...], shuffle: bool):
        self.rows, self.block, self.seed, self.shuffle = rows, max(block, 1), seed, shuffle
        self.starts = np.arange(0, rows, self.block)
        if shuffle:
            np.random.default_rng(seed).shuffle(self.starts)
        sizes = np.minimum(self.starts + self.block, rows) - self.starts
        # Where each window of blocks begins in the order.
        self.bounds = np.concatenate([[0], np.cumsum(sizes)])[::WINDOW]
        self._window: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Return the rows at some places of the order."""
        if not self.shuffle:
            return places
        windows = np.searchsorted(self.bounds, places, side="right") - 1
        rows = np.empty(len(places), np.int64)
        for window in np.unique(windows):
            here = windows == window
            rows[here] = self._rows_of(int(window))[places[here] - self.bounds[window]]
        return rows

    def _rows_of(self, window: int) -> np.ndarray:
        known, rows = self._window
        if known == window:
            return rows
        starts = self.starts[window * WINDOW : (window + 1) * WINDOW]
        rows = np.concatenate([np.arange(s, min(s + self.block, self.rows)) for s in starts])
        np.random.default_rng((*self.seed, window)).shuffle(rows)
        self._window = (window, rows)
        return rows


def _weights(
    split: Split, labels: np.ndarray, wanted: bool | Mapping[str, float] | None
) -> np.ndarray | None:
    """Return a weight for each class, averaging 1 over the samples where they are balanced."""
    if wanted is None or wanted is False:
        return None
    classes = split.contract.classes
    if not classes:
        raise DataError("class weights were asked for, and the target is a number.")
    if isinstance(wanted, Mapping):
        for name in wanted:
            if name not in classes:
                raise DataError(f"there is no class {name!r} to weigh; there are {classes}.")
        return np.array([wanted.get(name, 1.0) for name in classes], np.float32)
    counts = np.maximum(np.bincount(labels, minlength=len(classes)), 1)
    return (len(labels) / (len(classes) * counts)).astype(np.float32)
