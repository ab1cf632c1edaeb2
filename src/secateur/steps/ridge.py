"""Ridge regression from moments: how a reader's weights change to serve on changed inputs.

The change is penalised, not the weights, so that with little data the weights stay as they are.
The penalty is the one that does best on rows that were not fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Penalties tried, as shares of the mean second moment of the inputs.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass
class Moments:
    """Sums over rows of inputs x (features) and of what is missing from the output r (units)."""

    rows: int
    x: np.ndarray
    r: np.ndarray
    xx: np.ndarray
    xr: np.ndarray
    rr: float

    @classmethod
    def of(cls, x: np.ndarray, r: np.ndarray) -> Moments:
        """Sum over rows (rows, features) and (rows, units), in float64."""
        x, r = x.astype(np.float64), r.astype(np.float64)
        return cls(len(x), x.sum(0), r.sum(0), x.T @ x, x.T @ r, float(np.sum(r * r)))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.rows + other.rows,
            self.x + other.x,
            self.r + other.r,
            self.xx + other.xx,
            self.xr + other.xr,
            self.rr + other.rr,
        )

    def centred(self, offset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean products, around the means where an offset is free."""
        if not offset:
            return self.xx / self.rows, self.xr / self.rows
        x, r = self.x / self.rows, self.r / self.rows
        return self.xx / self.rows - np.outer(x, x), self.xr / self.rows - np.outer(x, r)

    def spread(self, offset: bool) -> float:
        """Return the mean square of r, summed over units, around the means if an offset is free."""
        square = self.rr / self.rows
        return square - float(np.sum(np.square(self.r / self.rows))) if offset else square


@dataclass(frozen=True)
class Change:
    """What to add to weights (features, units) and offsets (units), and how much it explains.

    `explained` is the share of the missing output's spread, on rows not fitted, that is gone.
    """

    weights: np.ndarray
    offset: np.ndarray
    explained: float


def solve(fitted: Moments, held: Moments, *, offset: bool) -> Change:
    """Return the change of weights that gives back most of the missing output.

    Args:
        fitted: moments of the rows to fit.
        held: moments of the rows that choose the penalty.
        offset: whether a constant per unit may be added as well.
    """
    a, b = fitted.centred(offset)
    held_a, held_b = held.centred(offset)
    scale = float(np.trace(a)) / len(a)
    best, explained = 0.0, 0.0
    # Inputs that are the same in every row can give nothing back.
    for penalty in PENALTIES if _can_be_penalised(a, scale) else ():
        change = _solved(a, b, penalty * scale)
        gained = 2 * np.sum(change * held_b) - np.sum(change * (held_a @ change))
        if gained > explained:
            best, explained = penalty, float(gained)
    total = fitted + held
    spread = held.spread(offset)
    if not best:
        weights = np.zeros_like(b)
    else:
        a, b = total.centred(offset)
        weights = _solved(a, b, best * scale)
    shift = (total.r - total.x @ weights) / total.rows if offset else np.zeros(b.shape[1])
    return Change(weights, shift, explained / spread if spread > 0 else 0.0)


def _can_be_penalised(a: np.ndarray, scale: float) -> bool:
    """Say whether the least penalty is more than nothing beside the largest product."""
    return PENALTIES[0] * scale > np.finfo(float).eps * float(np.abs(a).max())


def _solved(a: np.ndarray, b: np.ndarray, penalty: float) -> np.ndarray:
    return np.linalg.solve(a + penalty * np.eye(len(a)), b)
