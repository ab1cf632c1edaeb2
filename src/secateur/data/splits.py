"""Which row goes to which split: decided by a hash of what the row is, never by chance or by order.

The same data and seed give the same splits. Equal rows lie side by side in hash order, so that
copies of a row stay together, unless most rows are copies. No group is in two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.lists import list_values
from secateur.data.values import pc
from secateur.errors import DataError

NAMES = ("train", "validation", "test")
LEFT_OUT = 255
_AT_A_TIME = 2**16
Shares = tuple[float, float, float]


def hash_rows(table: pa.Table) -> np.ndarray:
    """Hash the content of each row to uint64: equal for equal values, whatever their file."""
    hashes = np.zeros(table.num_rows, np.uint64)
    for column in table.columns:
        for part in _digits(column):
            hashes = mix(hashes * np.uint64(31) + part)
    return hashes


def hash_words(words: Sequence[str]) -> np.ndarray:
    """Hash texts to uint64, the same on every machine."""
    return np.array(
        [int.from_bytes(hashlib.blake2b(w.encode(), digest_size=8).digest(), "big") for w in words],
        np.uint64,
    )


def hash_column(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Hash each value of a column as text; what is missing has a hash of its own."""
    encoded = values.words(column).dictionary_encode()
    hashes = np.append(hash_words(encoded.dictionary.to_pylist()), np.uint64(0))
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary))
    return hashes[codes.to_numpy(zero_copy_only=False)]


def seeded(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Give hashes another order for each seed."""
    salt = np.array([seed % 2**64], np.uint64)
    return mix(hashes ^ mix(salt + np.uint64(0x9E3779B97F4A7C15)))


def apart(hashes: np.ndarray) -> tuple[np.ndarray, int]:
    """Give copies hashes of their own where most rows are copies, as in tables of a few categories.

    Returns:
        The hashes, and how many rows are copies of others.
    """
    order = np.argsort(hashes, kind="stable")
    first = np.diff(hashes[order], prepend=~hashes[order[:1]]) != 0
    copies = int(len(hashes) - first.sum())
    if 2 * copies <= len(hashes):
        return hashes, copies
    places = np.arange(len(hashes))
    number = np.empty_like(hashes)
    number[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    return mix(hashes ^ mix(number)), copies


def mix(hashes: np.ndarray) -> np.ndarray:
    """Scatter the bits of uint64 values (the finalizer of SplitMix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def assign(hashes: np.ndarray, shares: Shares, labels: np.ndarray | None = None) -> np.ndarray:
    """Assign rows to splits in exact shares, in hash order; with labels, within each class.

    A border between equal hashes moves to their nearer end, so that no copy of a training row is
    tested on; it stays where a split would lose more than half of its rows by that.

    Returns:
        uint8 (n,): 0, 1 or 2, a place in `NAMES`.
    """
    codes = np.zeros(len(hashes), np.uint8)
    if labels is None:
        labels = np.zeros(len(hashes), np.uint8)
    order = np.lexsort((hashes, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        bounds = np.floor(np.cumsum(shares) * (stop - start) + 0.5).astype(int)[:2]
        bounds = _between_copies(hashes[order[start:stop]], bounds)
        codes[order[start + bounds[0] : start + bounds[1]]] = 1
        codes[order[start + bounds[1] : stop]] = 2
    return codes


def _between_copies(ordered: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Move borders that part equal hashes, where the shares allow it."""
    hashes = ordered[np.minimum(bounds, len(ordered) - 1)]
    left, right = (np.searchsorted(ordered, hashes, side) for side in ("left", "right"))
    moved = np.where(bounds - left <= right - bounds, left, right)
    moved = np.where(bounds < len(ordered), moved, bounds)
    was, now = (np.diff([0, *each, len(ordered)]) for each in (bounds, moved))
    return moved if (2 * now >= was).all() else bounds


def assign_groups(hashes: np.ndarray, shares: Shares) -> np.ndarray:
    """Assign whole groups to splits, so that the shares of rows come near to what is asked.

    Args:
        hashes: the hash of each row's group.
        shares: the share of rows of each split.

    Raises:
        DataError: there are fewer groups than splits.
    """
    _, inverse, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    if len(sizes) < len(shares):
        raise DataError(
            f"there are {len(sizes)} groups, too few for {len(shares)} splits.",
            mend="Name a group column with more values, or leave `group` out.",
        )
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    codes = np.searchsorted(np.cumsum(shares)[:-1], middles, side="right")
    for split in range(len(shares)):
        if not (codes == split).any():
            counts = np.bincount(codes, minlength=len(shares))
            donors = np.flatnonzero(codes == counts.argmax())
            codes[donors[0] if split < counts.argmax() else donors[-1]] = split
    return codes.astype(np.uint8)[inverse]


def assign_loosely(hashes: np.ndarray, shares: Shares) -> np.ndarray:
    """Assign each row by its own hash alone: shares hold on average, and no other row is needed."""
    bounds = np.cumsum(shares)[:-1]
    return np.searchsorted(bounds, hashes / 2.0**64, side="right").astype(np.uint8)


def demand_rows(codes: np.ndarray) -> None:
    """Demand that no split is empty.

    Raises:
        DataError: a split has no row.
    """
    counts = np.zeros(LEFT_OUT + 1, np.int64)
    for start in range(0, len(codes), _AT_A_TIME):
        counts += np.bincount(codes[start : start + _AT_A_TIME], minlength=LEFT_OUT + 1)
    counts = counts[: len(NAMES)]
    for name, count in zip(NAMES, counts, strict=True):
        if not count:
            raise DataError(
                f"the {name} split is empty: {counts.sum():,} usable rows are too few.",
                mend="Give more rows, or a larger share.",
            )


def _digits(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Return the content of a column as uint64 arrays: one, or one a place of its lists."""
    array = values.flat(column)
    if values.is_text(array.type):
        return [hash_column(array)]
    if values.is_moment(array.type):
        return [values.moments(array)[0].view(np.uint64)]
    if pa.types.is_nested(array.type):
        there = array.is_valid().to_numpy(zero_copy_only=False)
        lists = list_values(array.drop_null()).astype(np.float64)
        matrix = np.zeros((len(array), lists.size // max(there.sum(), 1)))
        matrix[there] = lists.reshape(there.sum(), -1)
        return [_bits(place) for place in matrix.T]
    return [_bits(values.numbers(array)[0])]


def _bits(numbers: np.ndarray) -> np.ndarray:
    """Return the bits of numbers as float64, with one zero and one NaN."""
    numbers = numbers.astype(np.float64) + 0.0
    numbers[np.isnan(numbers)] = np.nan
    return np.ascontiguousarray(numbers).view(np.uint64)
