"""Ranges of activations from data, a batch at a time: what is kept is a histogram a tensor.

All functions here take a histogram and return the two ends of the range that is worth its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import DataError, PlanError
from secateur.formats.calls import functional, uses
from secateur.formats.grids import Grid
from secateur.graph.weights import to_numpy

BINS = 2048
# Where values are clipped by way of trial, as shares of the largest size.
_SHARES = np.linspace(0.05, 1.0, 96)


class Histogram:
    """How often values fall between which, over batches; the range widens as they come.

    Attributes:
        low: the smallest value so far.
        high: the largest value so far.
        mean: the mean of each channel (position of the last axis).
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.mean: np.ndarray | float = 0.0
        self.counts = np.zeros(BINS)
        # The bins reach from minus `_reach` to `_reach`.
        self._reach = 0.0
        self._rows = 0

    @property
    def edges(self) -> np.ndarray:
        """The limits of the bins, one more than there are bins."""
        return np.linspace(-self._reach, self._reach, BINS + 1)

    def add(self, values: np.ndarray) -> None:
        """Count the values of a batch.

        Raises:
            DataError: they are not finite.
        """
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            raise DataError(
                "an activation is NaN or infinite on the calibration rows.",
                where="calibration",
                mend="Check the inputs for NaN, or train the model again.",
            )
        low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        if self._reach:
            self.counts += np.histogram(values, BINS, (-self._reach, self._reach))[0]
        rows = values.reshape(-1, values.shape[-1])
        total = self._rows + len(rows)
        self.mean = self.mean + (rows.mean(0) - self.mean) * (len(rows) / total)
        self._rows = total

    def _widen(self, reach: float) -> None:
        """Double the range until it holds a value, two bins becoming one."""
        if not self._reach:
            self._reach = reach
        while self._reach < reach:
            quarter = BINS // 4
            pairs = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.pad(pairs, quarter)
            self._reach *= 2


Method = Callable[[Histogram], tuple[float, float]]


def minmax(histogram: Histogram) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, share: float = 0.9999) -> tuple[float, float]:
    """Return the range that holds a share of the values, as much cut off on either side."""
    below = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    cut = (1 - share) / 2
    low = histogram.edges[np.searchsorted(below, cut)]
    high = histogram.edges[min(int(np.searchsorted(below, 1 - cut)) + 1, BINS)]
    return max(histogram.low, float(low)), min(histogram.high, float(high))


def mse(histogram: Histogram) -> tuple[float, float]:
    """Return the range with the smallest mean squared error of rounding and clipping."""
    middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2

    def error(low: float, high: float) -> float:
        off = np.square(Grid.between(low, high).rounded(middles) - middles)
        return float(histogram.counts @ off)

    return _best(histogram, error)


def entropy(histogram: Histogram) -> tuple[float, float]:
    """Return the range whose 256 steps tell least other than the values do.

    The divergence of Kullback and Leibler between the clipped histogram and the same at 256 steps
    (Migacz 2017, "8-bit Inference with TensorRT").
    """
    middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    counts = histogram.counts

    def divergence(low: float, high: float) -> float:
        inside = (middles >= low) & (middles <= high)
        if not inside.any():
            return np.inf
        clipped = np.where(inside, counts, 0.0)
        places = np.flatnonzero(inside)
        clipped[places[0]] += counts[: places[0]].sum()
        clipped[places[-1]] += counts[places[-1] + 1 :].sum()
        code = Grid.between(low, high).codes(middles)[inside]
        there = counts[inside] > 0
        # What a step holds is spread over those of its bins that held something.
        held = np.bincount(code, counts[inside] * there, 256)
        among = np.bincount(code, there, 256)
        spread = np.where(there, (held / np.maximum(among, 1))[code], 0.0)
        p = clipped[inside] / clipped.sum()
        q = (spread + 1e-9) / (spread + 1e-9).sum()
        some = p > 0
        return float((p[some] * np.log(p[some] / q[some])).sum())

    return _best(histogram, divergence)


METHODS: dict[str, Method] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def method_of(name: str) -> Method:
    """Return a method by name.

    Raises:
        PlanError: there is no such method.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise PlanError(
            f"there is no calibration {name!r}.",
            where="quantize.calibration",
            mend=f"Use one of {', '.join(METHODS)}.",
        )
    return METHODS[name]


def observed(
    model: keras.Model, keys: Sequence[str], batches: Iterable[Any]
) -> dict[str, Histogram]:
    """Return the histogram of each of some tensors of a functional model.

    Args:
        model: the model.
        keys: names of tensors, as `uses` gives them.
        batches: inputs of the model.
    """
    model = functional(model)
    tensors = tensors_of(model)
    probe: Any = keras.Model(model.input, [tensors[key] for key in keys])
    found = {key: Histogram() for key in keys}
    for x in batches:
        # A model with one output gives it without a list around it.
        values = tree.flatten(probe(x, training=False))
        for key, value in zip(keys, values, strict=True):
            found[key].add(to_numpy(value))
    return found


def tensors_of(model: Any) -> dict[str, Any]:
    """Return the symbolic tensors of a functional model by their names."""
    found = {x.name: x for x in model.inputs}
    nodes: dict[str, int] = {}
    for use in uses(model)[0]:
        # The nodes of an operation stand in the order in which it was called.
        index = nodes.get(use.operation.name, 0)
        nodes[use.operation.name] = index + 1
        found[use.key] = use.operation._inbound_nodes[index].outputs[0]
    return found


def _best(histogram: Histogram, error: Callable[[float, float], float]) -> tuple[float, float]:
    low, high = histogram.low, histogram.high
    if low == high:
        return low, high
    reach = max(-low, high)
    ranges = [(max(low, -share * reach), min(high, share * reach)) for share in _SHARES.tolist()]
    return min(ranges, key=lambda ends: error(*ends))
