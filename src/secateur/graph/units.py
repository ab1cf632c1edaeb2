"""Arithmetic on unit ids: an axis of a tensor is an integer array, one id a position.

All functions here take and return NumPy arrays; nothing here knows Keras. An axis whose positions
cannot be removed one by one (batch, height, time) carries no ids and is `None`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

Ids = np.ndarray
Axes = tuple["Ids | None", ...]


@dataclass
class Ledger:
    """Mints ids, and remembers which ids were joined and which were pinned, and why."""

    size: int = 0
    blocks: list[tuple[int, int, str]] = field(default_factory=list)
    pairs: list[tuple[Ids, Ids]] = field(default_factory=list)
    pins: list[tuple[Ids, str]] = field(default_factory=list)

    def mint(self, count: int, owner: str) -> Ids:
        """Return `count` fresh ids, made by `owner`."""
        ids = np.arange(self.size, self.size + count)
        self.blocks.append((self.size, self.size + count, owner))
        self.size += count
        return ids

    def join(self, one: Ids, other: Ids) -> None:
        """Make two axes one, position by position."""
        if one is not other:
            self.pairs.append((one, other))

    def pin(self, ids: Ids | None, reason: str) -> None:
        """Forbid the removal of `ids`."""
        if ids is not None and len(ids):
            self.pins.append((ids, reason))

    def settle(self) -> Settled:
        """Resolve every join at once."""
        label = components(self.size, self.pairs)
        _, unit = np.unique(label, return_inverse=True)
        starts = np.array([start for start, _, _ in self.blocks], dtype=int)
        block = np.searchsorted(starts, np.arange(self.size), side="right") - 1
        together = components(
            len(self.blocks), [(block[one], block[other]) for one, other in self.pairs]
        )
        return Settled(unit=unit.astype(int), group=together[block], block=block)


@dataclass(frozen=True)
class Settled:
    """For every id: its unit, the group that the unit competes in, and the block that minted it."""

    unit: Ids
    group: Ids
    block: Ids


def components(count: int, pairs: Iterable[tuple[Ids, Ids]]) -> Ids:
    """Return for each of `count` nodes the smallest node that `pairs` connect it with.

    Labels are propagated over all edges at once and shortened by pointer jumping, so the number of
    rounds grows with the logarithm of the longest chain.

    Example:
        >>> components(5, [(np.array([3, 1]), np.array([4, 3]))]).tolist()
        [0, 1, 2, 1, 1]
    """
    label = np.arange(count)
    edges = [np.stack([one, other]) for one, other in pairs]
    if not edges:
        return label
    one, other = np.unique(np.concatenate(edges, axis=1), axis=1)
    while True:
        low = np.minimum(label[one], label[other])
        # Hooking the roots, not only the nodes, merges two trees in one round.
        roots = np.concatenate([label[one], label[other]])
        new = label.copy()
        np.minimum.at(new, roots, np.concatenate([low, low]))
        np.minimum.at(new, one, low)
        np.minimum.at(new, other, low)
        while not np.array_equal(new, new[new]):
            new = new[new]
        if np.array_equal(new, label):
            return label
        label = new


def spread(ids: Ids | None, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of `shape` whose value at each position is the id along `axis`, plus one.

    Zero stands for no id: for an axis without, and for positions that an operation adds (padding).
    """
    if ids is None:
        return np.zeros(shape, np.int32)
    view = [1] * len(shape)
    view[axis] = len(ids)
    return np.ascontiguousarray(np.broadcast_to((ids + 1).reshape(view), shape)).astype(np.int32)


def gather(array: np.ndarray) -> tuple[int, Ids] | None:
    """Undo `spread`: the axis along which `array` varies and the ids on it, zero for no id.

    Returns:
        `None` when the values vary along more than one axis, or along none.
    """
    axes = varying(array)
    if len(axes) != 1:
        return None
    line = tuple(slice(None) if a == axes[0] else 0 for a in range(array.ndim))
    return axes[0], array[line].astype(int)


def varying(array: np.ndarray) -> list[int]:
    """Return the axes along which the values of an array are not all the same."""
    return [
        axis
        for axis, length in enumerate(array.shape)
        if length > 1
        and not np.array_equal(array, np.broadcast_to(_head(array, axis), array.shape))
    ]


def _head(array: np.ndarray, axis: int) -> np.ndarray:
    return array[tuple(slice(0, 1) if a == axis else slice(None) for a in range(array.ndim))]
