"""Which ranks layers get: by the energy that is left, by VBMF, or by a budget over all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import numpy as np

from secateur.errors import BudgetError

COSTS = ("macs", "params", "bytes")


@dataclass(frozen=True)
class Choice:
    """One way to write a layer as factors, and what it costs.

    Args:
        method: how it is taken apart.
        ranks: the widths between the factors.
        macs: the multiply-adds of the factors for one sample.
        params: the elements of their weights.
        bytes: what these take in memory.
        error: the share of the mean square of the layer's output (of its weights, where no data is
            known) that the factors do not give.
    """

    method: str
    ranks: tuple[int, ...]
    macs: int
    params: int
    bytes: int
    error: float

    @property
    def energy(self) -> float:
        """Return the share that the factors give."""
        return 1 - self.error


def by_energy(choices: Sequence[Choice], energy: float) -> Choice | None:
    """Return the cheapest choice that gives this share of the energy, if there is one."""
    enough = [choice for choice in choices if choice.energy >= energy]
    return min(enough, key=lambda choice: (choice.macs, choice.params), default=None)


def vbmf_rank(values: np.ndarray, rows: int, columns: int) -> int:
    """Return the rank of a matrix beneath its noise, of a variance that is estimated with it.

    The global analytic solution of empirical variational Bayesian matrix factorization (Nakajima,
    Sugiyama, Babacan & Tomioka 2013, "Global analytic solution of fully-observed variational
    Bayesian matrix factorization", JMLR 14). All of a matrix may be noise: the rank is then zero.

    Args:
        values: the singular values of the matrix.
        rows: how many rows it has.
        columns: how many columns.
    """
    short, long = sorted((rows, columns))
    squares = np.sort(np.square(values, dtype=np.float64))[::-1][:short]
    squares = np.pad(squares, (0, short - len(squares)))
    total = squares.sum()
    if total <= 0:
        return 0
    alpha = short / long
    # The largest ratio of noise at which nothing is kept; 2.5129 is the paper's approximation.
    least = 2.5129 * sqrt(alpha)
    edge = (1 + least) * (1 + alpha / least)
    first = min(max(ceil(short / (1 + alpha)) - 1, 0), short - 1)
    tail = squares[first:]
    low = max(tail[0] / (long * edge), tail.mean() / long, total * 1e-16 / (short * long))
    high = max(total / (short * long), low)

    def energy(variance: np.ndarray) -> np.ndarray:
        x = np.maximum(squares / (long * variance[:, None]), np.finfo(float).tiny)
        kept = x > edge
        above = np.where(kept, x, edge) - (1 + alpha)
        tau = (above + np.sqrt(np.maximum(above**2 - 4 * alpha, 0))) / 2
        gain = np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
        return (x - np.log(x) + np.where(kept, gain, 0)).sum(1)

    variance = low
    for _ in range(4):
        grid = np.geomspace(low, high, 65)
        best = int(energy(grid).argmin())
        low, variance, high = grid[max(best - 1, 0)], grid[best], grid[min(best + 1, 64)]
    return int((squares > long * edge * variance).sum())


def allocate(
    choices: Mapping[str, Sequence[Choice]],
    whole: Mapping[str, Choice],
    *,
    budget: str,
    share: float,
    total: float,
) -> dict[str, Choice]:
    """Return the choice of each layer that is factorized, so that a budget holds.

    Along the lower convex hull of each layer's error against what is saved, the step of least
    error for what it saves is taken first. What then is saved too much is given back where it
    takes off most error.

    Args:
        choices: the choices of each layer.
        whole: for each layer, what it costs as it is.
        budget: `macs`, `params` or `bytes`.
        share: the share of the model's cost that may be left.
        total: the model's cost, all of its layers included.

    Raises:
        BudgetError: it cannot be met; the best that can be is named.
    """
    steps = []
    for name, options in choices.items():
        full = getattr(whole[name], budget)
        points = [(full - getattr(choice, budget), choice) for choice in options]
        steps += [(*step, name) for step in _hull(points)]
    steps.sort(key=lambda step: step[0])
    left, taken = float(total), {}
    for _, saved, choice, name in steps:
        if left <= share * total:
            break
        left -= saved
        taken[name] = choice
    if left > share * total:
        raise BudgetError(
            f"{share:.1%} of the {budget} may be left, and factors of the lowest ranks leave "
            f"{left / total:.1%}.",
            where="factorize",
            mend=f"Ask for {budget}={min(ceil(left / total * 1000) / 1000, 0.999):.3f} or more, "
            "allow lower ranks with round_to=, or prune first.",
        )
    return _given_back(taken, choices, whole, budget, share * total - left)


def least_left(
    choices: Mapping[str, Sequence[Choice]],
    whole: Mapping[str, Choice],
    *,
    budget: str,
    total: float,
) -> float:
    """Return the least share of the model's cost that can be left, by the cheapest choices.

    Args:
        choices: the choices of each layer.
        whole: for each layer, what it costs as it is.
        budget: `macs`, `params` or `bytes`.
        total: the model's cost, all of its layers included.
    """
    saved = sum(
        max((getattr(whole[name], budget) - getattr(each, budget) for each in options), default=0)
        for name, options in choices.items()
    )
    return 1 - saved / total if total else 1.0


def _hull(points: Sequence[tuple[float, Choice]]) -> list[tuple[float, float, Choice]]:
    """Return the steps along a lower convex hull: slope, what is saved more, and the choice."""
    hull: list[tuple[float, float, Choice | None]] = [(0.0, 0.0, None)]
    cheapest: dict[float, Choice] = {}
    for saved, choice in points:
        if saved > 0 and (saved not in cheapest or choice.error < cheapest[saved].error):
            cheapest[saved] = choice
    for saved, choice in sorted(cheapest.items()):
        point = (saved, choice.error, choice)
        # A point that saves no more for more error, or lies above the line, is no corner.
        while hull and hull[-1][2] is not None and hull[-1][1] >= choice.error:
            hull.pop()
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return [(_slope(a, b), b[0] - a[0], b[2]) for a, b in pairwise(hull) if b[2] is not None]


def _slope(one: tuple[float, float, object], other: tuple[float, float, object]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])


def _given_back(
    taken: dict[str, Choice],
    choices: Mapping[str, Sequence[Choice]],
    whole: Mapping[str, Choice],
    budget: str,
    spare: float,
) -> dict[str, Choice]:
    """Take better choices for what is spared, as long as there are such."""
    taken = dict(taken)
    while True:
        best: tuple[float, float, str, Choice] | None = None
        for name, now in taken.items():
            for other in (*choices[name], whole[name]):
                more = getattr(other, budget) - getattr(now, budget)
                gain = now.error - other.error
                if gain > 0 and more <= spare and (best is None or gain > best[0]):
                    best = gain, more, name, other
        if best is None:
            return {name: choice for name, choice in taken.items() if choice is not whole[name]}
        _, more, name, choice = best
        taken[name], spare = choice, spare - more
