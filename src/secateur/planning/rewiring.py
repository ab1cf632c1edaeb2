"""Dynamic sparse training: as many weights come back as go, so their number stays.

Everything here is NumPy, and takes and returns masks that are true where a weight stays.
"""

from __future__ import annotations

import math

import numpy as np

METHODS = ("set", "rigl")


def rewired(mask: np.ndarray, weights: np.ndarray, growth: np.ndarray, share: float) -> np.ndarray:
    """Return a mask that drops the smallest weights and grows as many where growth is highest.

    Args:
        mask: the mask as it is.
        weights: the kernel; of its active weights, the smallest go.
        growth: how much a weight is wanted, at every position: for RigL the size of its gradient
            (Evci et al. 2020, "Rigging the Lottery"), for SET chance (Mocanu et al. 2018,
            "Scalable training of artificial neural networks with adaptive sparse connectivity").
        share: how many of the active weights go.

    Example:
        >>> mask = np.array([True, True, False, False])
        >>> rewired(mask, np.array([0.1, 2, 0, 0]), np.array([0, 0, 1, 5]), 0.5).tolist()
        [False, True, False, True]
    """
    active, free = np.flatnonzero(mask), np.flatnonzero(~mask)
    count = min(round(share * len(active)), len(free), len(active) - 1)
    if count < 1:
        return mask.copy()
    sizes = np.abs(weights.ravel()[active])
    goes = active[np.argpartition(sizes, count - 1)[:count]]
    # What was just dropped may come back at once where its gradient is among the largest.
    open_to = np.concatenate([free, goes])
    comes = open_to[np.argpartition(growth.ravel()[open_to], -count)[-count:]]
    changed = mask.ravel().copy()
    changed[goes] = False
    changed[comes] = True
    return changed.reshape(mask.shape)


def annealed(drop: float, progress: float) -> float:
    """Return the share that is dropped: half a cosine from `drop` to nothing, as for RigL."""
    return drop * (1 + math.cos(math.pi * progress)) / 2
