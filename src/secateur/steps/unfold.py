"""Convolutions as matrix products: the inputs that each output position sees, as rows.

All functions here take and return NumPy arrays with channels last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np


def unfold(
    x: np.ndarray,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    outputs: Sequence[int],
    places: np.ndarray,
) -> np.ndarray:
    """Return what a convolution sees at some of its output positions.

    Args:
        x: inputs (rows, *space, channels).
        kernel: the kernel's size along each axis of space.
        strides: the step along each axis of space.
        dilation: the distance of the kernel's taps along each axis of space.
        padding: `valid`, `same` or `causal`, as Keras means them.
        outputs: the output's size along each axis of space.
        places: for each row, the flat output positions to look at, (rows, count).

    Returns:
        An array (rows, count, taps, channels); taps in the order of a Keras kernel.
    """
    x = _padded(x, kernel, strides, dilation, padding, outputs)
    corner = np.unravel_index(places, tuple(outputs))
    rows = np.arange(len(x))[:, None]
    taps = []
    for tap in product(*(range(size) for size in kernel)):
        index = [c * s + t * d for c, s, t, d in zip(corner, strides, tap, dilation, strict=True)]
        taps.append(x[(rows, *index)])
    return np.stack(taps, axis=2)


def unfold_transposed(
    x: np.ndarray,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    outputs: Sequence[int],
    places: np.ndarray,
) -> np.ndarray:
    """Return what a transposed convolution sees at some of its output positions.

    Input position `i` is added by tap `t` to output position `i * stride + t * dilation - before`;
    at each output position that is read backwards. A tap that no input position meets sees zeros.

    Args:
        x: inputs (rows, *space, channels).
        kernel: the kernel's size along each axis of space.
        strides: the output's step for one of the input along each axis of space.
        dilation: the distance of the kernel's taps along each axis of space.
        padding: `valid` or `same`, as Keras means them.
        outputs: the output's size along each axis of space.
        places: for each row, the flat output positions to look at, (rows, count).

    Returns:
        An array (rows, count, taps, channels); taps in the order of a Keras kernel.
    """
    space = x.shape[1:-1]
    x = np.pad(x, [(0, 0), *((0, 1) for _ in space), (0, 0)])
    lines = []
    for out, size, k, s, d, place in zip(
        outputs,
        space,
        kernel,
        strides,
        dilation,
        np.unravel_index(places, tuple(outputs)),
        strict=True,
    ):
        missing = max((size - 1) * s + (k - 1) * d + 1 - out, 0)
        before = missing // 2 if padding == "same" else 0
        reached = place[..., None] + before - d * np.arange(k)
        met = (reached % s == 0) & (reached >= 0) & (reached < size * s)
        lines.append(np.where(met, reached // s, size))
    rows = np.arange(len(x))[:, None]
    taps = []
    for tap in product(*(range(k) for k in kernel)):
        index = [line[..., t] for line, t in zip(lines, tap, strict=True)]
        taps.append(x[(rows, *index)])
    return np.stack(taps, axis=2)


def places_for(
    rows: int, outputs: Sequence[int], count: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose `count` output positions for each row, without repetition."""
    total = prod(outputs)
    if count >= total:
        return np.broadcast_to(np.arange(total), (rows, total))
    return np.argpartition(rng.random((rows, total)), count, axis=1)[:, :count]


def _padded(
    x: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    outputs: Sequence[int],
) -> np.ndarray:
    if padding == "valid":
        return x
    widths = [(0, 0)]
    for size, k, s, d, out in zip(x.shape[1:-1], kernel, strides, dilation, outputs, strict=True):
        missing = max((out - 1) * s + (k - 1) * d + 1 - size, 0)
        before = (k - 1) * d if padding == "causal" else missing // 2
        widths.append((before, missing - before if padding == "same" else 0))
    return np.pad(x, [*widths, (0, 0)])
