"""How sparsity grows while a model trains.

All functions here take the progress, from 0 at the first update of the masks to 1 at the last, and
return the share of the final sparsity that is reached by then, from 0 to 1. A function of one's own
serves as well as these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from secateur.errors import PlanError

Schedule = Callable[[float], float]

# How fast `exponential` begins: a rate of 5 reaches 92 % of the sparsity by half of the way.
_RATE = 5.0


def one_shot(progress: float) -> float:
    """All at once, at the beginning; then the masks stay (Han et al. 2015)."""
    return 1.0


def linear(progress: float) -> float:
    """The same amount at every update.

    Example:
        >>> linear(0.25)
        0.25
    """
    return progress


def cubic(progress: float) -> float:
    """Fast while there is much to spare, slower and slower towards the end.

    Zhu & Gupta 2017, "To prune, or not to prune".

    Example:
        >>> cubic(0.5)
        0.875
    """
    return 1 - (1 - progress) ** 3


def cosine(progress: float) -> float:
    """Slow at both ends, half of it by half of the way: half a wave of a cosine."""
    return (1 - math.cos(math.pi * progress)) / 2


def exponential(progress: float) -> float:
    """What is still missing decays exponentially; the fastest start of all but `one_shot`."""
    return -math.expm1(-_RATE * progress) / -math.expm1(-_RATE)


SCHEDULES: Mapping[str, Schedule] = {
    "one_shot": one_shot,
    "linear": linear,
    "cubic": cubic,
    "cosine": cosine,
    "exponential": exponential,
}


def schedule(by: str | Schedule) -> Schedule:
    """Return a schedule by its name, or the function itself.

    Raises:
        PlanError: no schedule has that name.
    """
    if callable(by):
        return by
    if not isinstance(by, str) or by not in SCHEDULES:
        raise PlanError(
            f"there is no schedule {by!r}.",
            where="schedule",
            mend=f"Use one of {', '.join(SCHEDULES)}, or pass a function progress -> share.",
        )
    return SCHEDULES[by]


def share_at(by: Schedule, progress: float) -> float:
    """Return the share of the final sparsity that a schedule gives.

    Raises:
        PlanError: it is not a number from 0 to 1.
    """
    share = by(progress)
    if not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise PlanError(
            f"a schedule must give a share from 0 to 1; at progress {progress:.3g} it gave "
            f"{share!r}.",
            where="schedule",
            mend="Return 0 for no zeros yet and 1 for the final sparsity.",
        )
    return float(share)
