"""Samples that are read from their files anew each time, so that memory does not grow with them.

What is held is a few numbers a row group; which split a row is in stands in a mapped file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from secateur.data.contract import Contract
from secateur.data.encode import Encoded, encode, encode_target
from secateur.data.feed import Arrays, gathered, window_rows
from secateur.data.frames import Frames
from secateur.data.kinds import Kind, conform
from secateur.data.learn import Moments
from secateur.data.rowgroups import RowGroups
from secateur.data.stores import numbers_as_numbers
from secateur.errors import ContractError, DataError

# A sample is drawn from at most so many row groups: one from all would read all files.
SAMPLED_GROUPS = 64


class StreamedStore:
    """Rows of files, encoded a row group at a time.

    Args:
        contract: how rows are encoded.
        frames: the rows.
        groups: the row groups that they lie in.
        codes: the split of each row.
        kinds: the kind of each input column and of the target.
        lengths: how many numbers the lists of a column of kind "list" have.
        cache_bytes: the most memory that encoded rows may take.

    Attributes:
        window: how many rows are mixed with one another.
    """

    def __init__(
        self,
        contract: Contract,
        frames: Frames,
        groups: RowGroups,
        codes: np.ndarray,
        kinds: Mapping[str, Kind],
        lengths: Mapping[str, int],
        cache_bytes: int,
    ):
        self.contract, self.frames, self.groups, self.codes = contract, frames, groups, codes
        self.kinds, self.lengths = kinds, lengths
        self.window = window_rows(contract, cache_bytes)
        sizes = np.zeros((3, len(groups)), np.int64)
        for group in range(len(groups)):
            sizes[:, group] = np.bincount(self._codes(group), minlength=256)[:3]
        self._sizes = sizes
        zero = np.zeros((3, 1), np.int64)
        self._starts = np.concatenate([zero, np.cumsum(sizes, axis=1)], axis=1)
        self._seen: dict[int, tuple[np.ndarray, Moments]] = {}

    def count(self, split: int) -> int:
        """Return how many rows a split has."""
        return int(self._starts[split, -1])

    def sizes(self, split: int) -> np.ndarray:
        """Return how many rows of a split each row group has."""
        return self._sizes[split]

    def labels(self, split: int) -> np.ndarray:
        """Return the targets of a split, all at once: four bytes a row."""
        targets = [self._targets(split, group) for group in range(len(self.groups))]
        return np.concatenate(targets)

    def class_counts(self, split: int) -> np.ndarray:
        """Return how many rows of each class a split has."""
        return self._look(split)[0]

    def moments(self, split: int) -> tuple[float, float]:
        """Return the mean and the standard deviation of the targets of a split."""
        found = self._look(split)[1]
        return float(found.mean), float(found.std)

    def take(self, split: int, rows: np.ndarray) -> Encoded:
        """Return encoded rows."""
        return self.samples(split, rows)[0]

    def samples(self, split: int, rows: np.ndarray) -> tuple[Encoded, np.ndarray]:
        """Return encoded rows and their targets."""
        return gathered(self._starts[split], rows, lambda group: self.decode(split, group))

    def raw(self, split: int, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return rows as they stand in the source, by column."""
        target = self.contract.target
        columns = [*self.contract.reads, *([target.name] if target else [])]
        columns = list(dict.fromkeys(columns))
        places = np.searchsorted(self._starts[split], rows, side="right") - 1
        told: list[dict[str, Any]] = [{} for _ in rows]
        for group in np.unique(places).tolist():
            table = self.groups.read(group, columns)
            inside = np.flatnonzero(self._codes(group) == split)
            here = np.flatnonzero(places == group)
            chosen = table.take(pa.array(inside[rows[here] - self._starts[split, group]]))
            found = numbers_as_numbers(chosen, self.kinds).to_pylist()
            for place, row in zip(here.tolist(), found, strict=True):
                told[place] = row
        return told

    def draw(self, split: int, count: int, seed: int) -> np.ndarray:
        """Return the numbers of some rows, drawn without replacement from a few row groups."""
        random = np.random.default_rng(seed)
        sizes = self._sizes[split]
        chosen, found = [], 0
        for group in random.permutation(np.flatnonzero(sizes)).tolist():
            if len(chosen) >= SAMPLED_GROUPS and found >= count:
                break
            chosen.append(group)
            found += int(sizes[group])
        rows = [np.arange(*self._starts[split, group : group + 2]) for group in sorted(chosen)]
        return random.choice(np.concatenate(rows), count, replace=False)

    def decode(self, split: int, group: int) -> Arrays:
        """Read a row group, and return its rows of one split, encoded, and "y", their targets.

        Raises:
            DataError: the file is gone, is not what it was, or cannot be read.
        """
        table = conform(self.groups.read(group, list(self.kinds)), self.kinds, self.lengths)[0]
        table = table.filter(pa.array(self._codes(group) == split))
        try:
            x = encode(self.contract, table)
            y = encode_target(self.contract, table)
        except ContractError as error:
            raise DataError(error.what, where=self.groups.file(group), mend=error.mend) from error
        named = x if isinstance(x, dict) else {next(iter(self.contract.inputs())): x}
        return {**named, "y": y}

    def _codes(self, group: int) -> np.ndarray:
        first, last = self.groups.starts[group : group + 2]
        return np.asarray(self.codes[first:last])

    def _targets(self, split: int, group: int) -> np.ndarray:
        assert self.contract.target is not None
        name = self.contract.target.name
        table = conform(self.groups.read(group, [name]), {name: self.kinds[name]})[0]
        return encode_target(self.contract, table.filter(pa.array(self._codes(group) == split)))

    def _look(self, split: int) -> tuple[np.ndarray, Moments]:
        """Count the targets of a split, once."""
        if split not in self._seen:
            counts, moments = np.zeros(len(self.contract.classes), np.int64), Moments()
            for group in range(len(self.groups)):
                y = self._targets(split, group)
                if len(counts):
                    counts += np.bincount(y, minlength=len(counts))
                moments.add(y)
            self._seen[split] = counts, moments
        return self._seen[split]


def too_large(groups: RowGroups, window: int) -> str:
    """Say which row group is larger than a window, if one is."""
    sizes = np.diff(groups.starts)
    if sizes.max(initial=0) <= window:
        return ""
    group = int(sizes.argmax())
    return (
        f"a row group of {groups.file(group).name} has {sizes[group]:,} rows, and {window:,} can "
        "be held at a time"
    )
