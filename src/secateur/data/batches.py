"""A split as batches for `model.fit`: each epoch another order, and each order decided by the seed.

Where samples are read in blocks (rows in files), the blocks are shuffled, and then the rows within
a window of them; else all samples are. Any batch can be had without those before it, so that a
training goes on where it was broken off.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.data.ahead import Ahead
from secateur.data.order import Order
from secateur.errors import DataError, SecateurError

if TYPE_CHECKING:
    from secateur.data.contract import Contract
    from secateur.data.dataset import Split


class Batches(keras.utils.PyDataset):
    """Batches of (x, y), or (x, y, weight). Give it to `fit` with `shuffle=False`.

    Args:
        split: the samples.
        batch_size: samples a batch.
        shuffle: whether each epoch has an order of its own, from the seed and the epoch's number.
        seed: decides the orders.
        augment: a function x -> x, as `augmentation` makes it; one that has `mixes` is asked for
            mixed samples and labels as well.
        class_weights: True to weigh classes by how rare they are, or a weight by class name.
        repeat_last: whether the last batch is filled up with the first samples of the epoch.
        one_hot: whether a class is given as one number a class, float32, instead of its code.
        workers: how many threads make batches before they are asked for; 0 for none.

    Attributes:
        epoch: the number of the epoch, from 0, whose order the batches have.
        skip: how many batches of each epoch are left out at its beginning.
        failure: what went wrong in making a batch, if something did.
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
        one_hot: bool = False,
        workers: int = 0,
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
        self.one_hot = one_hot
        self.epoch = 0
        self.skip = 0
        self.failure: SecateurError | None = None
        self._feed = split.feed()
        self._labels = None if self._feed is not None else split.labels()
        self.weights = _weights(split, class_weights)
        self._ahead = Ahead(self._made, workers) if workers else None
        self._order: Order = self._new_order()

    def __len__(self) -> int:
        """Return the number of batches of an epoch, without those that are left out."""
        return self.count - self.skip

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return one batch."""
        index += self.skip
        try:
            self._expect(index)
            if self._ahead is None:
                return self._made(index)
            return self._ahead.get(index, self.count)
        except SecateurError as error:
            # Some backends make an error of their own of what is raised here.
            self.failure = error
            raise

    def part(self, index: int, number: int, parts: int) -> tuple[Any, ...]:
        """Return one of the equal parts of a batch; no other rows of it are made ready.

        Args:
            index: which batch.
            number: which part, from 0.
            parts: into how many it is divided. Where it does not divide, as the last one may not,
                it is filled up with the rows that follow, those after the last being the first.
        """
        index += self.skip
        start = index * self.batch_size
        size = -(-min(self.batch_size, self.split.rows - start) // parts)
        places = np.arange(start + number * size, start + (number + 1) * size) % self.split.rows
        try:
            self._expect(index)
            return self._taken(places, (self.seed, self.epoch, index, number), self._order)
        except SecateurError as error:
            self.failure = error
            raise

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order."""
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch, as when training is resumed."""
        if self._ahead is not None:
            self._ahead.forget()
        self.epoch = epoch
        self._order = self._new_order()

    @property
    def layout(self) -> tuple[Any, ...]:
        """What the order depends on beside seed and epoch; empty where all samples are held."""
        if self._feed is not None:
            return (zlib.crc32(self._feed.sizes.tobytes()), self._feed.window)
        return ()

    @property
    def count(self) -> int:
        """The number of batches of an epoch, those that are left out included."""
        return -(-self.split.rows // self.batch_size)

    def _new_order(self) -> Order:
        seed, rows = (self.seed, self.epoch), self.split.rows
        if self._feed is not None:
            return Order(self._feed.sizes, self._feed.window, seed, self.shuffle)
        return Order(np.array([rows]), rows, seed, self.shuffle)

    def _places(self, first: int, last: int) -> tuple[int, int]:
        """Return the first place of a batch, and the last one of another."""
        return first * self.batch_size, min((last + 1) * self.batch_size, self.split.rows) - 1

    def _expect(self, index: int) -> None:
        """Have the blocks read that a batch, and those made with it, need."""
        if self._feed is not None:
            last = index if self._ahead is None else self._ahead.reach(index, self.count)
            self._feed.expect(self._order.blocks(*self._places(index, max(last, index))))

    def _made(self, index: int) -> tuple[Any, ...]:
        key, order = (self.seed, self.epoch, index), self._order
        first, last = self._places(index, index)
        places = np.arange(first, last + 1)
        if self.repeat_last:
            places = np.arange(first, first + self.batch_size) % self.split.rows
        return self._taken(places, key, order)

    def _taken(self, places: np.ndarray, key: tuple[int, ...], order: Order) -> tuple[Any, ...]:
        x, y = self._samples(order(places))
        weights = None if self.weights is None else self.weights[y]
        if self.one_hot:
            y = np.eye(len(self.split.contract.classes), dtype=np.float32)[y]
        if self.augment is not None:
            x, y, weights = self._augmented(x, y, weights, key)
        return (x, y) if weights is None else (x, y, weights)

    def _samples(self, rows: np.ndarray) -> tuple[Any, np.ndarray]:
        if self._feed is not None:
            return self._feed.samples(rows)
        assert self._labels is not None
        return self.split.take(rows), self._labels[rows]

    def _augmented(self, x: Any, y: Any, weights: Any, key: tuple[int, ...]) -> tuple[Any, ...]:
        augment: Any = self.augment
        x = augment(x, key=key) if getattr(augment, "keyed", False) else augment(x)
        if getattr(augment, "mixes", False):
            return augment.mixed(x, y, weights, key=key)
        return x, y, weights


def check_class_weights(
    contract: Contract,
    wanted: bool | Mapping[str, float] | None,
    *,
    where: str = "class_weights",
) -> None:
    """Refuse weights of classes that are not there.

    Raises:
        DataError: naming one.
    """
    if wanted is None or wanted is False:
        return
    if not contract.classes:
        raise DataError(
            "class weights were asked for, and the target is a number.",
            where=where,
            mend="Leave them out.",
        )
    for name in wanted if isinstance(wanted, Mapping) else ():
        if name not in contract.classes:
            raise DataError(
                f"there is no class {name!r} to weigh.",
                where=where,
                mend=f"Name some of: {', '.join(contract.classes)}.",
            )


def _weights(split: Split, wanted: bool | Mapping[str, float] | None) -> np.ndarray | None:
    """Return a weight for each class, averaging 1 over the samples where they are balanced."""
    check_class_weights(split.contract, wanted)
    if wanted is None or wanted is False:
        return None
    classes = split.contract.classes
    if isinstance(wanted, Mapping):
        return np.array([wanted.get(name, 1.0) for name in classes], np.float32)
    counts = np.maximum(list(split.class_counts().values()), 1)
    return (split.rows / (len(classes) * counts)).astype(np.float32)
