"""How much each unit matters.

All functions here take `(group, stats)` and return one score a unit, in the order of
`group.units`: the lower, the sooner the unit goes. A criterion on more than weights says so with
`@needs(...)`. A function of one's own serves as well as these.

| criterion | by | needs |
|---|---|---|
| `l1`, `l2`, `lamp`, `bn_scale`, `fpgm` | weights (`secateur.planning.magnitudes`) | nothing |
| `activation`, `apoz`, `wanda`, `reconstruction` | activations (`secateur.planning.activity`) | \
inputs |
| `taylor`, `obd` | gradients | inputs and labels |
| `random` | chance | nothing |

A residual block is scored by the weights that switch it off when they are zero, those of the last
operations in it. `taylor` and `obd` sum over them as for any unit. A magnitude is set against the
mean over the blocks of the stream, and counted once for each unit of the stream, since so many does
the block write. The slices of a block lie on an axis of length one after the axes of the weight
itself.

A unit of which a criterion knows nothing, since it lives on no weight that the criterion looks at,
has a score of zero, unless the criterion says otherwise.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from secateur.errors import PlanError
from secateur.planning.activity import activation, apoz, reconstruction, wanda
from secateur.planning.magnitudes import bn_scale, fpgm, l1, l2, lamp
from secateur.planning.scoring import (
    Criterion,
    GroupLike,
    StatsLike,
    needed,
    needs,
    needs_labels,
    per_unit,
)

__all__ = ["CRITERIA", "Criterion", "criterion", "needed", "needs", "needs_labels"]


@needs("taylor")
def taylor(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """First-order loss change when the unit goes: the squared gradient-weight products, summed.

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning". Scores of different
    groups are in the same unit, that of the squared loss, so they are not scaled.
    """
    return _summed(group, stats.taylor)


@needs("fisher")
def obd(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Second-order loss change when the unit goes: half the sum of squared weight times Fisher.

    LeCun et al. 1990, "Optimal Brain Damage", with the diagonal of the Hessian as Theis et al.
    2018, "Faster Gaze Prediction With Dense Networks and Fisher Pruning", take it: the squared
    gradients of single rows. Scores of different groups are in the same unit, that of the loss, so
    they are not scaled.
    """
    lost = {key: np.square(stats.weights[key]) * fisher / 2 for key, fisher in stats.fisher.items()}
    return _summed(group, lost)


def random(group: GroupLike, stats: StatsLike) -> np.ndarray:
    """Chance, by the seed and the group's name: what every other criterion has to beat."""
    rng = np.random.default_rng([zlib.crc32(group.name.encode()), stats.seed])
    return group.breadth * rng.random(len(group))


CRITERIA: Mapping[str, Criterion] = {
    "l1": l1,
    "l2": l2,
    "lamp": lamp,
    "bn_scale": bn_scale,
    "fpgm": fpgm,
    "taylor": taylor,
    "obd": obd,
    "activation": activation,
    "apoz": apoz,
    "wanda": wanda,
    "reconstruction": reconstruction,
    "random": random,
}


def criterion(by: str | Criterion) -> Criterion:
    """Return a criterion by its name, or the function itself.

    Raises:
        PlanError: no criterion has that name.
    """
    if callable(by):
        return by
    if not isinstance(by, str) or by not in CRITERIA:
        raise PlanError(
            f"there is no criterion {by!r}.",
            mend=f"Use one of {', '.join(CRITERIA)}, or pass a function (group, stats) -> scores.",
        )
    return CRITERIA[by]


def _summed(group: GroupLike, lost: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum by unit over the weights that make it or that it passes through."""
    total = np.zeros(len(group))
    for part in group.slices:
        if part.role in ("write", "pass") and part.weight in lost:
            total += per_unit(group, part, lost[part.weight])
    return total
