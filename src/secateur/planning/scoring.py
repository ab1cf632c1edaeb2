"""What criteria share: what they see of groups and statistics, and sums by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from secateur.errors import PlanError


class PartLike(Protocol):
    """An axis of a weight that a group lives on: for each position, the unit or -1."""

    weight: str
    axis: int
    unit: np.ndarray
    role: str


class GroupLike(Protocol):
    """What a criterion sees of a group."""

    name: str
    units: np.ndarray
    slices: tuple
    kind: str
    breadth: int

    def __len__(self) -> int: ...


class StatsLike(Protocol):
    """What a criterion sees of the statistics: what it needs beside weights is there."""

    weights: Mapping[str, np.ndarray]
    taylor: Mapping[str, np.ndarray]
    fisher: Mapping[str, np.ndarray]
    # Of `secateur.graph.activations` and `secateur.graph.moments`.
    activations: Any
    moments: Any
    seed: int


Criterion = Callable[[GroupLike, StatsLike], np.ndarray]

# Those of what may be needed that are made from labels.
LABELLED = frozenset({"taylor", "fisher"})


def needs(*names: str) -> Callable[[Criterion], Criterion]:
    """Declare what of `Stats` a criterion reads beside the weights.

    Args:
        names: any of `taylor`, `fisher`, `activations` and `moments`.
    """

    def decorate(criterion: Criterion) -> Criterion:
        criterion.needs = frozenset(names)  # type: ignore[attr-defined]
        return criterion

    return decorate


def needed(criterion: Criterion) -> frozenset[str]:
    """Return what of `Stats` a criterion reads."""
    return getattr(criterion, "needs", frozenset()) | {"weights"}


def adds_up(criterion: Criterion) -> bool:
    """Say whether the scores of a group's units add up to what the group is worth."""
    return getattr(criterion, "additive", False)


def needs_labels(criterion: Criterion) -> bool:
    """Say whether what a criterion reads is made from labels, and not from inputs alone."""
    return bool(needed(criterion) & LABELLED)


def name_of(by: str | Criterion) -> str:
    """Return what a criterion is called."""
    return by if isinstance(by, str) else getattr(by, "__name__", type(by).__name__)


def scores_of(by: Criterion, group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Return what a criterion gives for a group, one finite score a unit.

    Raises:
        PlanError: it gives anything else; the criterion and the group are named.
    """
    given = by(group, stats)
    try:
        scores = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        gave = f"a {type(given).__name__}"
    else:
        if scores.shape == (len(group),) and np.isfinite(scores).all():
            return scores
        gave = f"an array of shape {scores.shape}"
        if scores.shape == (len(group),):
            gave = f"{np.count_nonzero(~np.isfinite(scores))} that are not finite"
    raise PlanError(
        f"a criterion must give one finite score a unit; for {len(group)} units {name_of(by)!r} "
        f"gave {gave}.",
        where=group.name,
        mend="Return an array of finite numbers, of shape (len(group),).",
    )


def normalised(scores: np.ndarray) -> np.ndarray:
    """Scale scores to a mean of one, so that those of different groups can be compared.

    What is measured in no unit that groups share (the size of weights or of activations) says only
    how units of one group stand to each other: a wide kernel has smaller weights than a narrow
    one and is not less important. Scores that are all zero stay as they are.
    """
    mean = scores.mean() if len(scores) else 0.0
    return scores / mean if mean > 0 else scores


def averaged(group: GroupLike, lines: Sequence[np.ndarray]) -> np.ndarray:
    """Average scores of several weights, each scaled to a mean of one, so that none drowns."""
    if not lines:
        return np.zeros(len(group))
    return np.mean([normalised(line) for line in lines], axis=0)


def kernels(
    group: GroupLike, stats: StatsLike, *roles: str
) -> Iterator[tuple[PartLike, np.ndarray]]:
    """Give the parts of a group in weights that multiply, and these weights."""
    for part in group.slices:
        array = stats.weights.get(part.weight)
        if part.role in roles and array is not None and array.ndim > 1:
            yield part, array


def per_unit(group: GroupLike, part: PartLike, array: np.ndarray) -> np.ndarray:
    """Sum an array over everything but one of its axes, and that by unit."""
    line = _line(part, array, np.sum)
    mine = part.unit >= 0
    return np.bincount(part.unit[mine], weights=line[mine], minlength=len(group))


def mean_per_unit(group: GroupLike, part: PartLike, array: np.ndarray) -> np.ndarray | None:
    """Average instead, over each unit's positions; NaN for units that are not there.

    Returns:
        `None` when the array does not tell the positions of the part apart.
    """
    line = _line(part, array, np.mean)
    if len(line) != len(part.unit):
        return None
    mine = part.unit >= 0
    sums = np.bincount(part.unit[mine], weights=line[mine], minlength=len(group))
    counts = np.bincount(part.unit[mine], minlength=len(group))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _line(part: PartLike, array: np.ndarray, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    array = array.reshape(*array.shape, *(1 for _ in range(part.axis + 1 - array.ndim)))
    others = tuple(axis for axis in range(array.ndim) if axis != part.axis)
    return reduce(array, axis=others, dtype=np.float64)


def of_units(group: GroupLike, part: PartLike, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which units are on an axis of a weight, and what each has there, (units, elements).

    A unit that has fewer positions than another is filled up with zeros.
    """
    rows = np.moveaxis(array, part.axis, 0).reshape(len(part.unit), -1)
    order = np.argsort(part.unit, kind="stable")
    order = order[part.unit[order] >= 0]
    there, starts, counts = np.unique(part.unit[order], return_index=True, return_counts=True)
    found = np.zeros((len(there), counts.max(initial=0), rows.shape[1]))
    row = np.repeat(np.arange(len(there)), counts)
    found[row, np.arange(len(order)) - starts[row]] = rows[order]
    return there, found.reshape(len(there), -1)
