"""What a group has lost when some of its units are gone, by their scores."""

from __future__ import annotations

import numpy as np


def losses_of(scores: np.ndarray, *, additive: bool = False) -> np.ndarray:
    """Return what a group has lost when its first 0, 1, ... units are gone, (units + 1,).

    Scores of single units do not add up: the first half of a layer is missed less than the second.
    With a share of the score left, the loss is that of the whole score, less one, over that share:
    the summed scores while little is gone, and without bound when nothing is left. (LAMP, Lee et
    al. 2021, weighs a score by what is left beside it too, and grows by its logarithm.)

    Args:
        scores: of the units, in the order in which they go; where one is negative they add up.
        additive: whether they add up in any case.
    """
    gone = np.append(0.0, np.cumsum(scores))
    total = gone[-1]
    if additive or total <= 0 or scores.min() < 0:
        return gone
    left = np.append(np.cumsum(scores[::-1])[::-1], 0.0)
    return total * (total / np.maximum(left, 1e-12 * total) - 1)
