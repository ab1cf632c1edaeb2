"""How much each unit matters, by the weights alone.

All functions here take `(group, stats)` and return one score a unit, the lower, the sooner it goes.
The size of weights says only how the units of one group stand to each other, so these scores are
scaled within a group; each function says how.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from secateur.errors import PlanError
from secateur.planning.scoring import (
    GroupLike,
    StatsLike,
    averaged,
    kernels,
    normalised,
    of_units,
    per_unit,
)

# Distances are taken between so many units at a time.
CHUNK = 1024
SCALES = ("gamma", "scale")


def l1(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Sum of absolute weights (Li et al. 2017, "Pruning Filters for Efficient ConvNets").

    Averaged over the kernels that write or read the units, each scaled to a mean of one.
    """
    return group.breadth * _sizes(group, stats, np.abs)


def l2(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Euclidean norm of the weights (Han et al. 2015; grouped as in Fang et al. 2023, DepGraph).

    The squares are averaged over the kernels, each scaled to a mean of one.
    """
    return group.breadth * np.sqrt(_sizes(group, stats, np.square))


def lamp(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Layer-adaptive magnitude, of units in place of weights.

    Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning". The squared size of
    a unit as a share of its own and those of all larger units in the group. It is not scaled:
    whatever the size of its weights, the largest unit of every group has a score of one, so that no
    group is emptied, and that of the others says what would be left without them.
    """
    size = _sizes(group, stats, np.square)
    order = np.argsort(size, kind="stable")
    left = np.cumsum(size[order][::-1])[::-1]
    scores = np.zeros(len(group))
    scores[order] = np.divide(size[order], left, out=np.zeros(len(group)), where=left > 0)
    return group.breadth * scores


def bn_scale(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Size of the scales (`gamma`) that a normalisation multiplies the unit by.

    Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming". Scores
    are one on average over a group, so that a group without such scales, and a block, which are
    ranked by `l2`, can compete with it. Units of a group that pass none, where others do, count as
    units of average scale.

    Raises:
        PlanError: no normalisation of the model has a scale.
    """
    if not any(_is_scale(key, array) for key, array in stats.weights.items()):
        raise PlanError(
            "no normalisation of this model has a scale (gamma) to rank by.",
            where="by",
            mend="Use by='l2', or by='taylor' with data.",
        )
    total, count = np.zeros(len(group)), np.zeros(len(group))
    for part in group.slices:
        array = stats.weights.get(part.weight)
        if part.role == "pass" and array is not None and _is_scale(part.weight, array):
            total += per_unit(group, part, np.abs(array))
            count += per_unit(group, part, np.ones_like(array))
    if group.kind == "block" or not total.any():
        return l2(group, stats)
    scale = total / np.maximum(count, 1)
    return normalised(np.where(count > 0, scale, scale[count > 0].mean()))


def fpgm(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Distance from the geometric median (He et al. 2019, "Filter Pruning via Geometric Median").

    The summed distances of what writes a unit to what writes the others: what lies amid the others
    can be made up for by them. Averaged over the kernels that write the units, or if there are
    none those that read them, each scaled to a mean of one. Blocks have weights of different
    shapes, between which there is no distance: they are ranked by `l2`.
    """
    if group.kind == "block":
        return l2(group, stats)
    parts = list(kernels(group, stats, "write")) or list(kernels(group, stats, "read"))
    total, count = np.zeros(len(group)), np.zeros(len(group))
    for part, array in parts:
        there, vectors = of_units(group, part, array)
        total[there] += normalised(_distances(vectors))
        count[there] += 1
    return total / np.maximum(count, 1)


def _sizes(
    group: GroupLike, stats: StatsLike, size: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return sizes that are one on average over the group."""
    if group.kind != "block":
        # Kernels of different fan-in have weights of different size.
        found = kernels(group, stats, "write", "read")
        lines = [per_unit(group, part, size(array)) for part, array in found]
        return averaged(group, [line for line in lines if line.any()])
    # Each block has weights of its own, which together make what it adds to the stream.
    total = np.zeros(len(group))
    for part in group.slices:
        if part.role == "write" and part.weight in stats.weights:
            total += per_unit(group, part, size(stats.weights[part.weight]))
    return normalised(total)


def _is_scale(key: str, array: np.ndarray) -> bool:
    name = key.rpartition("/")[2].partition("#")[0]
    return name in SCALES and array.ndim == 1


def _distances(vectors: np.ndarray) -> np.ndarray:
    """Return the summed Euclidean distances of each row to all others."""
    squares = np.square(vectors).sum(1)
    found = np.zeros(len(vectors))
    for start in range(0, len(vectors), CHUNK):
        some = slice(start, start + CHUNK)
        between = squares[some, None] + squares - 2 * vectors[some] @ vectors.T
        # What rounding leaves between two that are the same.
        between[between < 1e-12 * squares.max()] = 0
        found[some] = np.sqrt(between).sum(1)
    return found
