"""How the values of a column were spread in training, and how far other rows are from that.

A spread is a few numbers a column, however many rows it was learned from: the shares of training
rows in bins that held about a tenth each, or of each word. The distance is the population
stability index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

BINS = 10
# Values that are kept of any number of values. The share below an estimated quantile is then off by
# half a per cent (one standard error), where quantiles of all values would be exact.
RESERVOIR = 10_000
# A number further than so many spans (of all but the outer 0.1 % at each end) from the others is a
# slip and not part of the range, where there are only a few.
FAR, FEW, FEW_SHARE = 1000, 64, 0.001
# The field's usual reading of the index (Siddiqi, Credit Risk Scorecards, 2006).
SHIFTED, CHANGED = 0.1, 0.25
# Counts are taken as this much more: a bin with nothing in it would make the index infinite.
_HALF = 0.5
# Words with a smaller share of the training rows are one bin together.
_COMMON = 0.01

Reading = Literal["steady", "shifted", "changed"]


class Spread(BaseModel):
    """Where the values of the training rows lay.

    Attributes:
        rows: how many training rows there were, those without a value included.
        edges: of numbers, what divides the bins: bin i holds what is above `edges[i - 1]` and at
            most `edges[i]`; the first and the last bin are open.
        shares: the share of the rows in each bin; of words, in the order of the vocabulary; of
            truths, (false, true). What is left is missing or not in the vocabulary.
        missing: the share of the rows without a value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rows: int = Field(ge=1)
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...]
    missing: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _whole(self) -> Spread:
        if any(later <= edge for edge, later in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("the edges do not ascend")
        if self.edges and len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges divide {len(self.edges) + 1} bins")
        if any(share < 0 for share in self.shares) or sum(self.shares) + self.missing > 1.001:
            raise ValueError("the shares are not shares of a whole")
        return self

    def bins(self, values: np.ndarray) -> np.ndarray:
        """Count numbers by bin; what is not a number is in none."""
        if not self.edges:
            return np.array([np.count_nonzero(~np.isnan(values))])
        places = np.searchsorted(self.edges, values, side="left")
        places = places[~np.isnan(values)] if np.isnan(values).any() else places
        return np.bincount(places, minlength=len(self.shares))

    def distance(self, counts: Sequence[int] | np.ndarray, missing: int, other: int = 0) -> float:
        """Return the population stability index of other rows.

        Args:
            counts: the rows in each bin.
            missing: the rows without a value.
            other: the rows with a word that is not in the vocabulary.
        """
        expected, found = self._sides(np.asarray(counts, np.float64), missing, other)
        return psi(expected * self.rows, found)

    def noise(self, rows: int) -> float:
        """Return the index that rows of this very spread exceed once in a hundred times.

        The index of two samples from one distribution is, nearly, (1/n + 1/m) times a chi-square
        variable (Yurdakul and Naranjo, 2020): of few rows it is large, whatever they hold.
        """
        bins = len(self._sides(np.zeros(len(self.shares)), 0, 0)[0])
        return (1 / max(rows, 1) + 1 / self.rows) * _chi_square_99(max(bins - 1, 1))

    def _sides(self, counts: np.ndarray, missing: int, other: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the shares in training and the counts now, bin by bin, rare words in one bin."""
        shares = np.asarray(self.shares, np.float64)
        common = shares >= _COMMON if not self.edges else np.ones(len(shares), bool)
        rest = max(0.0, 1 - shares.sum() - self.missing)
        expected = [*shares[common], shares[~common].sum(), rest, self.missing]
        found = [*counts[common], counts[~common].sum(), other, missing]
        kept = [i for i, pair in enumerate(zip(expected, found, strict=True)) if max(pair) > 1e-9]
        return np.array(expected)[kept], np.array(found, np.float64)[kept]


def psi(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the population stability index: the sum of (a - e) ln(a / e) over the bins.

    Args:
        expected: how many of the training rows are in each bin; e is its share.
        found: how many of the other rows are in each bin; a is its share.
    """
    if not found.sum() or not expected.sum():
        return 0.0
    e, a = expected + _HALF, found + _HALF
    e, a = e / e.sum(), a / a.sum()
    return float(((a - e) * np.log(a / e)).sum())


def reading(index: float, noise: float = 0.0) -> Reading:
    """Return the usual reading of an index: below 0.1 steady, from 0.25 on changed.

    An index that is no larger than `noise` is steady, whatever it is.
    """
    if index < SHIFTED or index <= noise:
        return "steady"
    return "shifted" if index < CHANGED else "changed"


class Reservoir:
    """A fixed number of values, drawn evenly from any number of them (Vitter, 1985).

    What is kept depends on the values, their order and the seed, not on how they come in blocks.
    """

    def __init__(self, size: int = RESERVOIR, seed: int = 0):
        self.seen = 0
        self._kept = np.empty(size)
        self._random = np.random.default_rng(seed)

    @property
    def values(self) -> np.ndarray:
        """The values that are kept, in no order."""
        return self._kept[: self.seen]

    def add(self, values: np.ndarray) -> None:
        """Take in values."""
        size = len(self._kept)
        first = values[: max(0, size - self.seen)]
        self._kept[self.seen : self.seen + len(first)] = first
        rest = values[len(first) :]
        if len(rest):
            numbers = np.arange(max(self.seen, size), max(self.seen, size) + len(rest))
            places = (self._random.random(len(rest)) * (numbers + 1)).astype(np.int64)
            inside = places < size
            # Of two values for one place NumPy keeps the later one, as one by one would.
            self._kept[places[inside]] = rest[inside]
        self.seen += len(values)

    def spread(self, rows: int, bins: int = BINS) -> Spread:
        """Return the spread of all values: bins that hold about the same share of them.

        Args:
            rows: all rows, those without a value included.
            bins: how many bins; fewer where values repeat.
        """
        values = np.sort(self.values)
        present = self.seen / rows
        if len(unique := np.unique(values)) <= bins:
            # Each value has a bin; beyond the first and the last there was nothing.
            edges = [float(np.nextafter(unique[0], -np.inf)), *map(float, unique)]
        else:
            cuts = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
            edges = list(dict.fromkeys(short(edge) for edge in cuts))
        below = np.concatenate([np.searchsorted(values, edges, side="right"), [len(values)]])
        shares = np.diff(below, prepend=0) / len(values) * present
        return Spread(
            rows=rows,
            edges=tuple(edges),
            shares=tuple(round(float(share), 6) for share in shares),
            missing=round(1 - present, 6),
        )


class Ends:
    """The least and the greatest numbers of any number of them."""

    def __init__(self) -> None:
        self.count = 0
        self._least = np.empty(0)
        self._greatest = np.empty(0)

    def add(self, numbers: np.ndarray) -> None:
        """Take in numbers that are not NaN."""
        self.count += len(numbers)
        if not len(numbers):
            return
        # Few blocks move the ends, and looking is cheaper than sorting.
        if len(self._least) <= FEW or numbers.min() < self._least[-1]:
            self._least = _least(np.concatenate([self._least, numbers]))
        if len(self._greatest) <= FEW or numbers.max() > self._greatest[0]:
            self._greatest = -_least(-np.concatenate([self._greatest, numbers]))[::-1]

    def range(self, sample: np.ndarray) -> tuple[float, float]:
        """Return the least and the greatest number, slips aside."""
        slips = self.slips(sample)
        low = self._least[np.isin(self._least, slips, invert=True)]
        high = self._greatest[np.isin(self._greatest, slips, invert=True)]
        return float(low[0]), float(high[-1])

    def slips(self, sample: np.ndarray) -> np.ndarray:
        """Return the few numbers that lie far outside all others, given a sample of them."""
        if not len(sample):
            return np.empty(0)
        low, high = np.quantile(sample, [0.001, 0.999])
        far = FAR * (high - low)
        below = self._least[self._least < low - far]
        above = self._greatest[self._greatest > high + far]
        most = min(FEW, FEW_SHARE * self.count) if far > 0 else 0
        kept = [side if len(side) <= most else np.empty(0) for side in (below, above)]
        return np.concatenate(kept)


def _least(numbers: np.ndarray) -> np.ndarray:
    """Return the least `FEW` + 1 numbers, in order."""
    if len(numbers) > FEW + 1:
        numbers = np.partition(numbers, FEW)[: FEW + 1]
    return np.sort(numbers).astype(np.float64)


def short(number: float) -> float:
    """Round a number to six digits, for people to read."""
    return float(f"{number:.6g}")


def _chi_square_99(freedom: int) -> float:
    """Return the 99th percentile of a chi-square variable (Wilson and Hilferty, 1931)."""
    ninth = 2 / (9 * freedom)
    return freedom * (1 - ninth + 2.3263 * math.sqrt(ninth)) ** 3
