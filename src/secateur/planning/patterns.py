"""Which weights may be zero together: single ones, N of M, or blocks.

A pattern turns scores into masks. It takes one array a kernel in the form (taps, inputs, outputs),
whatever the kernel's own axes are (see `Layout`), and gives back boolean arrays of the same shapes:
true where a weight stays. The lower a score, the sooner the weight goes. In each kernel at least
one weight stays. Everything here is NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, Protocol

import numpy as np

from secateur.errors import PlanError

Scope = Literal["global", "local"]


class Pattern(Protocol):
    """From scores to masks."""

    @property
    def fixed(self) -> float | None:
        """Return the only share of zeros that the pattern allows, if it allows one alone."""
        ...

    def masks(self, scores: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
        """Return masks by which `share` of the weights are zero."""
        ...


@dataclass(frozen=True)
class Unstructured:
    """Any weight may be zero (LeCun et al. 1990; Han et al. 2015).

    Args:
        scope: `global` ranks the weights of all kernels together, `local` takes the same share
            from each.
    """

    scope: Scope = "local"

    def __post_init__(self) -> None:
        _check_scope(self.scope)

    @property
    def fixed(self) -> float | None:
        """Return None: any share will do."""
        return None

    def masks(self, scores: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
        """Return masks by which `share` of the weights are zero, rounded to a whole weight."""
        return _ranked(scores, share, self.scope)


@dataclass(frozen=True)
class NofM:
    """Of every `m` weights in a row along the inputs, `n` stay (Mishra et al. 2021, for 2:4).

    Inputs left over after the last whole row of `m` stay dense, so a kernel with fewer than `m`
    inputs stays dense. On the way to the full pattern, the rows' weights of lowest score go first.

    Args:
        n: how many stay, from 1.
        m: the length of a row.
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in (self.n, self.m))
        if not whole or not 1 <= self.n < self.m:
            raise PlanError(
                f"of every m weights n stay, with 1 <= n < m; received {self.n!r}:{self.m!r}.",
                where="pattern",
                mend="Use NofM(2, 4).",
            )

    @property
    def fixed(self) -> float:
        """Return the share of zeros in a whole row."""
        return 1 - self.n / self.m

    def masks(self, scores: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
        """Return masks; `share` below that of the pattern gives a part of its zeros."""
        going = [self._going(array) for array in scores]
        if share < self.fixed:
            whole = [
                np.where(gone, array, np.inf) for gone, array in zip(going, scores, strict=True)
            ]
            ranks = np.concatenate([array.ravel() for array in whole])
            count = round(share / self.fixed * sum(int(gone.sum()) for gone in going))
            going = _split(_lowest(ranks, count), scores)
        return [~gone for gone in going]

    def _going(self, scores: np.ndarray) -> np.ndarray:
        """Return which weights the whole pattern makes zero."""
        taps, inputs, outputs = scores.shape
        rows = inputs // self.m
        cut = scores[:, : rows * self.m].reshape(taps, rows, self.m, outputs)
        order = np.argsort(cut, axis=2, kind="stable")
        going = np.zeros(cut.shape, bool)
        np.put_along_axis(going, order[:, :, : self.m - self.n], True, axis=2)
        rest = np.zeros((taps, inputs - rows * self.m, outputs), bool)
        return np.concatenate([going.reshape(taps, rows * self.m, outputs), rest], axis=1)


@dataclass(frozen=True)
class Block:
    """Weights are zero by whole blocks (Gray et al. 2017, "GPU Kernels for Block-Sparse Weights").

    A block is scored by the mean of its weights' scores. Blocks at the end of an axis that they do
    not divide are smaller.

    Args:
        inputs: the length of a block along the inputs.
        outputs: its length along the outputs.
        scope: `global` ranks the blocks of all kernels together, `local` takes the same share from
            each.
    """

    inputs: int = 1
    outputs: int = 4
    scope: Scope = "local"

    def __post_init__(self) -> None:
        _check_scope(self.scope)
        sides = (self.inputs, self.outputs)
        whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
        if not whole or min(sides) < 1 or max(sides) < 2:
            raise PlanError(
                f"a block has sides from 1, and more than one weight; received "
                f"{self.inputs!r}x{self.outputs!r}.",
                where="pattern",
                mend="Use Block(1, 4) or Block(4, 4).",
            )

    @property
    def fixed(self) -> float | None:
        """Return None: any share will do."""
        return None

    def masks(self, scores: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
        """Return masks by which `share` of the blocks are zero, rounded to a whole block."""
        blocks = _ranked([self._means(array) for array in scores], share, self.scope)
        return [
            np.repeat(np.repeat(mask, self.inputs, axis=1), self.outputs, axis=2)[
                :, : array.shape[1], : array.shape[2]
            ]
            for mask, array in zip(blocks, scores, strict=True)
        ]

    def _means(self, scores: np.ndarray) -> np.ndarray:
        total, count = scores, np.ones(scores.shape)
        for axis, side in ((1, self.inputs), (2, self.outputs)):
            starts = np.arange(0, scores.shape[axis], side)
            total = np.add.reduceat(total, starts, axis=axis)
            count = np.add.reduceat(count, starts, axis=axis)
        return total / count


@dataclass(frozen=True)
class Layout:
    """Which axes of a kernel are taps, inputs and outputs.

    Args:
        taps: the axes of space.
        inputs: the axes that the layer sums over, those of space aside.
        outputs: the axes of what it makes.
    """

    taps: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, name: str, roles: Sequence[str | None]) -> Layout:
        """Return the layout of a kernel.

        Args:
            name: the weight's own name, such as `kernel` or `recurrent_kernel`.
            roles: what each axis does, as in `graph.weights`.
        """
        axes = range(len(roles))
        reads = tuple(axis for axis in axes if roles[axis] == "read")
        writes = tuple(axis for axis in axes if roles[axis] in ("write", "pass"))
        if name == "recurrent_kernel":
            # It reads the very units that it writes.
            return cls((), (0,), tuple(axes[1:]))
        if reads and not writes:
            # A depthwise kernel sums over space alone.
            (first, *_) = reads
            return cls((), tuple(axes[:first]), tuple(axes[first:]))
        if not reads or not writes:
            return cls(tuple(axes[:-2]), tuple(axes[-2:-1]), tuple(axes[-1:]))
        return cls(tuple(axis for axis in axes if axis not in (*reads, *writes)), reads, writes)

    def unrolled(self, array: np.ndarray) -> np.ndarray:
        """Return an array in the form (taps, inputs, outputs)."""
        shape = [prod(array.shape[a] for a in axes) for axes in self._parts]
        return array.transpose(self._order).reshape(shape)

    def rolled(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Undo `unrolled`."""
        moved = array.reshape([shape[axis] for axis in self._order])
        return np.ascontiguousarray(moved.transpose(np.argsort(self._order)))

    @property
    def _parts(self) -> tuple[tuple[int, ...], ...]:
        return self.taps, self.inputs, self.outputs

    @property
    def _order(self) -> tuple[int, ...]:
        return (*self.taps, *self.inputs, *self.outputs)


def _check_scope(scope: str) -> None:
    if scope not in ("global", "local"):
        raise PlanError(
            f"scope must be 'global' or 'local', received {scope!r}.",
            where="pattern",
            mend="Use one.",
        )


def _ranked(scores: Sequence[np.ndarray], share: float, scope: Scope) -> list[np.ndarray]:
    """Return masks without the lowest share; the best of each array stays."""
    if scope == "local":
        return [_ranked([array], share, "global")[0] for array in scores]
    ranks = np.concatenate([array.ravel() for array in scores])
    start = 0
    for array in scores:
        ranks[start + int(array.argmax())] = np.inf
        start += array.size
    count = min(round(share * len(ranks)), len(ranks) - len(scores))
    return [~gone for gone in _split(_lowest(ranks, count), scores)]


def _lowest(ranks: np.ndarray, count: int) -> np.ndarray:
    """Return which are the `count` lowest."""
    low = np.zeros(len(ranks), bool)
    if count:
        low[np.argpartition(ranks, count - 1)[:count]] = True
    return low


def _split(flat: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return a flat array in the shapes of others."""
    bounds = np.cumsum([array.size for array in like])[:-1]
    parts = np.split(flat, bounds)
    return [part.reshape(array.shape) for part, array in zip(parts, like, strict=True)]
