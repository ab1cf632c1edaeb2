"""A `Dataset`: three splits of samples, the contract they keep, and notes on what was left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from secateur.data.contract import Contract
from secateur.data.encode import Encoded
from secateur.data.feed import Feed
from secateur.data.mapped import MappedStore
from secateur.data.splits import NAMES
from secateur.data.stores import Store
from secateur.data.streamed import StreamedStore
from secateur.errors import DataError

if TYPE_CHECKING:
    from secateur.data.batches import Batches

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Split:
    """Some of the samples: those to train on, to decide with, or to measure with.

    Attributes:
        name: "train", "validation" or "test".
        contract: what the samples keep.
    """

    name: SplitName
    contract: Contract
    _store: Store = field(repr=False)

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return self._store.count(self._place)

    def __len__(self) -> int:
        return self.rows

    @property
    def streamed(self) -> bool:
        """Whether samples are read from their files anew each time."""
        return isinstance(self._store, StreamedStore)

    def labels(self) -> np.ndarray:
        """Return the target of every sample in order: int32 codes, or float32 values."""
        return self._store.labels(self._place)

    def moments(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of the target's values."""
        if isinstance(self._store, StreamedStore):
            return self._store.moments(self._place)
        labels = self.labels()
        return float(labels.mean()), float(labels.std())

    def class_counts(self) -> dict[str, int]:
        """Return how many samples each class has; empty for regression."""
        classes = self.contract.classes
        if not classes:
            return {}
        if isinstance(self._store, StreamedStore):
            counts = self._store.class_counts(self._place)
        else:
            counts = np.bincount(self.labels(), minlength=len(classes))
        return dict(zip(classes, counts.tolist(), strict=True))

    def take(self, rows: np.ndarray) -> Encoded:
        """Return the model's inputs for the samples of these numbers, in this order."""
        return self._store.take(self._place, np.asarray(rows))

    def feed(self) -> Feed | None:
        """Return what reads blocks of rows before they are due; None where all are in memory."""
        store = self._store
        if isinstance(store, MappedStore | StreamedStore):
            return Feed(store, self._place)
        return None

    def batches(
        self,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        seed: int = 0,
        augment: Callable[..., Any] | None = None,
        class_weights: bool | Mapping[str, float] | None = None,
        repeat_last: bool = False,
        one_hot: bool = False,
        workers: int = 0,
    ) -> Batches:
        """Return the samples as batches of (x, y), or (x, y, weight), for `model.fit`.

        Give them to `fit` with `shuffle=False`: they shuffle themselves, by the seed and the epoch.

        Args:
            batch_size: samples a batch.
            shuffle: whether each epoch has an order of its own.
            seed: decides the orders.
            augment: a function x -> x, as `augmentation` makes it.
            class_weights: True to weigh classes by how rare they are, or a weight by class name.
            repeat_last: whether the last batch is filled up with the first samples of the epoch.
            one_hot: whether a class is given as one number a class instead of its code.
            workers: how many threads make batches before they are asked for; 0 for none.
        """
        from secateur.data.batches import Batches

        return Batches(
            self,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            augment=augment,
            class_weights=class_weights,
            repeat_last=repeat_last,
            one_hot=one_hot,
            workers=workers,
        )

    def sample(self, count: int, *, seed: int = 0) -> tuple[Encoded, np.ndarray]:
        """Return (x, y) of some samples, drawn without replacement, or of all there are."""
        rows = self.sample_rows(count, seed=seed)
        if isinstance(self._store, StreamedStore):
            return self._store.samples(self._place, rows)
        return self.take(rows), self.labels()[rows]

    def sample_rows(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Return the numbers of the samples that `sample` draws."""
        if count >= self.rows:
            return np.arange(self.rows)
        if isinstance(self._store, StreamedStore):
            return self._store.draw(self._place, count, seed)
        return np.random.default_rng(seed).choice(self.rows, count, replace=False)

    def rows_as_dicts(self, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Return some samples as they were read: a row by column, {"file": path} of an image."""
        return self._store.raw(self._place, np.asarray(indices, np.int64))

    def raw(self, index: int) -> np.ndarray | dict[str, Any]:
        """Return one sample for a person to look at: an image's or array's values, or a row."""
        if self.contract.kind in ("image", "array"):
            x = self.take(np.array([index]))
            assert isinstance(x, np.ndarray)
            return x[0]
        return self.rows_as_dicts([index])[0]

    @property
    def _place(self) -> int:
        return NAMES.index(self.name)


@dataclass(frozen=True)
class Dataset:
    """Raw data, made ready: what `read` returns.

    Attributes:
        contract: what a valid sample is.
        train: the samples to train on.
        validation: the samples to decide with.
        test: the samples to measure with.
        notes: what was left out or taken in a certain way, and why.
        source: where the data came from.
        digest: a hash of the data's content.
        splitting: what decided on the splits.
    """

    contract: Contract
    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...]
    source: str
    digest: str
    splitting: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content of the data, the contract and the splits, in hex."""
        facts = [self.digest, self.contract.fingerprint(), dict(self.splitting)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def rows(self) -> int:
        """How many samples there are in all splits."""
        return self.train.rows + self.validation.rows + self.test.rows

    def split(self, name: str) -> Split:
        """Return a split by name.

        Raises:
            DataError: there is no such split.
        """
        if name not in NAMES:
            raise DataError(f"there is no split {name!r}; there are {', '.join(NAMES)}.")
        return getattr(self, name)

    @classmethod
    def of(
        cls,
        store: Store,
        contract: Contract,
        *,
        notes: Sequence[str],
        source: str,
        digest: str,
        splitting: Mapping[str, Any],
    ) -> Dataset:
        """Make a dataset of the samples of a store."""
        train, validation, test = (Split(name, contract, store) for name in NAMES)
        return cls(contract, train, validation, test, tuple(notes), source, digest, splitting)
