"""Ridge regression from moments: how a reader's weights change to serve on changed inputs.

The change is penalised, not the weights, so that with little data the weights stay as they are.
The penalty is the one that does best on rows that were not fitted; each group of a layer has one
of its own. Everything is in float64.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

# Penalties tried, as shares of the mean second moment of the inputs.
PENALTIES = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# A solution that misses its equations by more than this share of them is not taken.
MOST_MISSED = 1e-6


@dataclass
class Moments:
    """Sums over rows of inputs x (features) and of what is missing from the output r (units).

    The first axis of each array counts groups.
    """

    rows: int
    x: np.ndarray
    r: np.ndarray
    xx: np.ndarray
    xr: np.ndarray
    rr: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, r: np.ndarray) -> Moments:
        """Sum over rows (groups, rows, features) and (groups, rows, units), in float64."""
        x, r = x.astype(np.float64), r.astype(np.float64)
        across = x.swapaxes(1, 2)
        return cls(
            x.shape[1], x.sum(1), r.sum(1), across @ x, across @ r, np.einsum("gnu,gnu->g", r, r)
        )

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
        x, r = self.x[..., None] / self.rows, self.r[:, None] / self.rows
        return self.xx / self.rows - x * x.swapaxes(1, 2), self.xr / self.rows - x * r

    def spread(self, offset: bool) -> np.ndarray:
        """Return the mean square of r, summed over units, around the means if an offset is free."""
        square = self.rr / self.rows
        return square - np.square(self.r / self.rows).sum(1) if offset else square


@dataclass(frozen=True)
class Change:
    """What to add to weights (groups, features, units) and offsets (groups, units).

    `explained` is the share of the missing output's spread, on rows not fitted, that is gone;
    `degenerate` says in how many groups the equations were too ill-conditioned to be solved other
    than by a pseudo-inverse.
    """

    weights: np.ndarray
    offset: np.ndarray
    explained: float
    degenerate: int = 0


def solve(fitted: Moments, held: Moments, *, offset: bool) -> Change:
    """Return the change of weights that gives back most of the missing output.

    A group that gains nothing on the rows that were held back keeps its weights.

    Args:
        fitted: moments of the rows to fit.
        held: moments of the rows that choose the penalty.
        offset: whether a constant per unit may be added as well.
    """
    a, b = fitted.centred(offset)
    held_a, held_b = held.centred(offset)
    scale = np.trace(a, axis1=1, axis2=2) / a.shape[1]
    # Inputs that are the same in every row can give nothing back.
    alive = scale > np.finfo(float).eps * np.abs(fitted.xx / fitted.rows).max((1, 2))
    a = np.where(alive[:, None, None], a, np.eye(a.shape[1]))
    best, explained = np.zeros(len(a)), np.zeros(len(a))
    for penalty in PENALTIES if alive.any() else ():
        change, _ = solved(a, b, penalty * scale)
        gained = 2 * np.sum(change * held_b, axis=(1, 2))
        gained -= np.sum(change * (held_a @ change), axis=(1, 2))
        better = alive & (gained > explained)
        best[better], explained[better] = penalty, gained[better]
    total = fitted + held
    weights, degenerate, gains = np.zeros_like(b), 0, best > 0
    if gains.any():
        a, b = total.centred(offset)
        weights[gains], degenerate = solved(a[gains], b[gains], (best * scale)[gains])
    shift = np.zeros_like(total.r)
    if offset:
        shift = (total.r - np.einsum("gf,gfu->gu", total.x, weights)) / total.rows
    spread = held.spread(offset).sum()
    return Change(
        weights, shift, float(explained.sum() / spread) if spread > 0 else 0.0, degenerate
    )


def solved(a: np.ndarray, b: np.ndarray, penalty: np.ndarray) -> tuple[np.ndarray, int]:
    """Solve `(a + penalty) w = b` for each group, with `a` symmetric and nowhere negative.

    Where elimination fails or misses the equations, the pseudo-inverse is taken, without the
    directions that float64 cannot tell from nothing.

    Returns:
        The solutions, and for how many groups the pseudo-inverse had to be taken.
    """
    a = a + penalty[:, None, None] * np.eye(a.shape[1])
    w = np.zeros_like(b)
    for group, (left, right) in enumerate(zip(a, b, strict=True)):
        with suppress(np.linalg.LinAlgError):
            w[group] = np.linalg.solve(left, right)
    missed, most = np.abs(a @ w - b).max((1, 2)), np.abs(b).max((1, 2))
    # A comparison with what is undefined is false.
    bad = ~(missed <= MOST_MISSED * most)
    if bad.any():
        values, vectors = np.linalg.eigh(a[bad])
        least = np.finfo(float).eps * a.shape[1] * np.abs(values).max(1, keepdims=True)
        inverse = np.where(values > least, 1 / np.where(values > least, values, 1), 0)
        w[bad] = vectors @ (inverse[..., None] * (vectors.swapaxes(1, 2) @ b[bad]))
    return w, int(bad.sum())
