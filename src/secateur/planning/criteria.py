"""How much each unit matters.

All functions here take `(group, stats)` and return one score a unit, in the order of
`group.units`: the lower, the sooner the unit goes. A criterion on more than weights says so with
`@needs(...)`. A function of one's own serves as well as these.

A residual block is scored by the weights that switch it off when they are zero, those of the last
operations in it. `taylor` sums their gradient-weight products as for any unit. A magnitude is set
against the mean over the blocks of the stream, and counted once for each unit of the stream, since
so many does the block write. The slices of a block lie on an axis of length one after the axes of
the weight itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from secateur.errors import PlanError


class GroupLike(Protocol):
    """What a criterion sees of a group."""

    name: str
    units: np.ndarray
    slices: tuple
    kind: str
    breadth: int

    def __len__(self) -> int: ...


class StatsLike(Protocol):
    """What a criterion sees of the statistics."""

    weights: Mapping[str, np.ndarray]
    taylor: Mapping[str, np.ndarray]


Criterion = Callable[[GroupLike, StatsLike], np.ndarray]


def needs(*names: str) -> Callable[[Criterion], Criterion]:
    """Declare what of `Stats` a criterion reads beside the weights."""

    def decorate(criterion: Criterion) -> Criterion:
        criterion.needs = frozenset(names)  # type: ignore[attr-defined]
        return criterion

    return decorate


def needed(criterion: Criterion) -> frozenset[str]:
    """Return what of `Stats` a criterion reads."""
    return getattr(criterion, "needs", frozenset()) | {"weights"}


def l1(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Sum of absolute weights (Li et al. 2017, "Pruning Filters for Efficient ConvNets")."""
    return group.breadth * _relative(group, stats, np.abs)


def l2(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Euclidean norm of the weights (Han et al. 2015; grouped as in Fang et al. 2023, DepGraph)."""
    return group.breadth * np.sqrt(_relative(group, stats, np.square))


def lamp(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Squared norm of a unit, as a share of that of all units that are no smaller.

    Lee et al. 2021, "Layer-Adaptive Sparsity for the Magnitude-Based Pruning", of units instead of
    weights. The largest unit of every group has the score one, so the last units of a group are
    never cheaper than the first of another.
    """
    square = _relative(group, stats, np.square)
    order = np.argsort(square, kind="stable")
    larger = np.cumsum(square[order][::-1])[::-1]
    scores = np.empty(len(group))
    scores[order] = square[order] / np.maximum(larger, np.finfo(float).tiny)
    return group.breadth * scores


def bn_scale(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Size of the scales (`gamma`) that a normalisation multiplies the unit by.

    Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming". Scores
    are one on average over a group; a group without such scales is ranked by `l2`, and so are
    blocks.

    Raises:
        PlanError: no normalisation of the model has a scale.
    """
    if not any(_is_scale(key) for key in stats.weights):
        raise PlanError(
            "no normalisation of this model has a scale (gamma) to rank by.",
            where="by",
            mend="Use by='l2', or by='taylor' with data.",
        )
    total = np.zeros(len(group))
    for part in group.slices:
        if part.role == "pass" and _is_scale(part.weight):
            total += _per_unit(group, part, np.abs(stats.weights[part.weight]))
    if group.kind == "block" or not total.any():
        return l2(group, stats)
    return total / total.mean()


def fpgm(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Summed distance to all other units of the group: what lies amid the others can go.

    He et al. 2019, "Filter Pruning via Geometric Median". Distances are those of the kernels that
    write the units, and one on average over the group. Blocks, and units that are not made of
    equally many weights, are ranked by `l2`.
    """
    rows = [
        _by_unit(group, part, stats.weights[part.weight])
        for part in group.slices
        if part.role == "write" and stats.weights[part.weight].ndim > 1
    ]
    if group.kind == "block" or not rows or any(each is None for each in rows):
        return l2(group, stats)
    total = np.zeros(len(group))
    for each in rows:
        assert each is not None
        square = np.square(each).sum(axis=1)
        apart = square[:, None] + square - 2 * each @ each.T
        line = np.sqrt(np.maximum(apart, 0)).sum(axis=1)
        total += line / line.mean() if line.any() else line
    return total / len(rows)


@needs("taylor")
def taylor(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """First-order loss change when the unit goes: the squared gradient-weight products, summed.

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning". Scores of different
    groups are in the same unit, that of the squared loss.
    """
    total = np.zeros(len(group))
    for part in group.slices:
        if part.role in ("write", "pass") and part.weight in stats.taylor:
            np.add(total, _per_unit(group, part, stats.taylor[part.weight]), out=total)
    return total


def random(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Chance, seeded by the group's name: what every other criterion has to beat."""
    rng = np.random.default_rng(zlib.crc32(group.name.encode()))
    return group.breadth * rng.random(len(group))


CRITERIA: Mapping[str, Criterion] = {
    "l1": l1,
    "l2": l2,
    "lamp": lamp,
    "bn_scale": bn_scale,
    "fpgm": fpgm,
    "taylor": taylor,
    "random": random,
}


def criterion(by: str | Criterion) -> Criterion:
    """Return a criterion by its name, or the function itself.

    Raises:
        PlanError: no criterion has that name.
    """
    if callable(by):
        return by
    if by not in CRITERIA:
        raise PlanError(
            f"there is no criterion {by!r}.",
            mend=f"Use one of {', '.join(CRITERIA)}, or pass a function (group, stats) -> scores.",
        )
    return CRITERIA[by]


def _relative(
    group: GroupLike, stats: StatsLike, size: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return sizes that are one on average over the group."""
    if group.kind != "block":
        return _mean_over_kernels(group, stats, size)
    # Each block has weights of its own, which together make what it adds to the stream.
    total = np.zeros(len(group))
    for part in group.slices:
        if part.role == "write" and part.weight in stats.weights:
            total += _per_unit(group, part, size(stats.weights[part.weight]))
    return total / total.mean() if total.any() else total


def _mean_over_kernels(
    group: GroupLike, stats: StatsLike, size: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Average over the kernels that write or read the units, each scaled to a mean of one.

    Kernels of different fan-in have weights of different size; unscaled, one would drown the rest.
    """
    total, parts = np.zeros(len(group)), 0
    for part in group.slices:
        array = stats.weights.get(part.weight)
        if part.role in ("write", "read") and array is not None and array.ndim > 1:
            line = _per_unit(group, part, size(array))
            mean = line.mean()
            if mean > 0:
                total += line / mean
                parts += 1
    return total / max(parts, 1)


def _per_unit(group: GroupLike, part: object, array: np.ndarray) -> np.ndarray:
    """Sum an array over everything but one of its axes, and that by unit."""
    axis, unit = part.axis, part.unit  # type: ignore[attr-defined]
    array = array.reshape(*array.shape, *(1 for _ in range(axis + 1 - array.ndim)))
    line = array.sum(axis=tuple(a for a in range(array.ndim) if a != axis), dtype=np.float64)
    mine = unit >= 0
    return np.bincount(unit[mine], weights=line[mine], minlength=len(group))


def _by_unit(group: GroupLike, part: object, array: np.ndarray) -> np.ndarray | None:
    """Return an array as one row a unit, `None` where units hold different numbers of weights."""
    axis, unit = part.axis, part.unit  # type: ignore[attr-defined]
    counts = np.bincount(unit[unit >= 0], minlength=len(group))
    if axis >= array.ndim or counts.min() == 0 or counts.min() != counts.max():
        return None
    order = np.argsort(unit, kind="stable")[np.count_nonzero(unit < 0) :]
    lines = np.moveaxis(array, axis, 0)[order].astype(np.float64)
    return lines.reshape(len(group), -1)


def _is_scale(key: str) -> bool:
    return key.rpartition("/")[2].partition("#")[0] == "gamma"
