"""What a model is expected to cost while it is not yet decided which units stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from secateur.graph.graph import Graph

# Keras annotates operations too narrowly for a type checker.
ops: Any = keras.ops


class ExpectedCost:
    """What a model costs when each unit stays with a chance: exact where the chances are 0 and 1.

    The cost of a weight is its price an element times the product of its axes' expected lengths.

    Args:
        graph: a traced model.
        prices: the price of an element of each weight and product, by key.
    """

    def __init__(self, graph: Graph, prices: Mapping[str, float]):
        parts = [p for p in (*graph.weights.values(), *graph.products) if prices.get(p.key)]
        lines: dict[bytes, int] = {}
        counts: list[np.ndarray] = []
        index, price = [], []
        for part in parts:
            fixed, free = prices[part.key], []
            for length, ids in zip(part.shape, part.axes, strict=True):
                if ids is None:
                    fixed *= length
                    continue
                place = lines.setdefault(ids.tobytes(), len(lines))
                if place == len(counts):
                    counts.append(np.bincount(ids, minlength=graph.units))
                free.append(place)
            index.append(free)
            price.append(fixed)
        rank = max(map(len, index), default=0)
        # The line after the last is of length one.
        padded = [free + [len(counts)] * (rank - len(free)) for free in index]
        self._counts = np.array(counts, "float32").reshape(-1, graph.units)
        self._index = np.array(padded, "int32").reshape(-1, rank)
        self._price = np.array(price, "float64")
        whole = self._counts.sum(axis=1).astype("float64")
        self.whole = float((np.append(whole, 1.0)[self._index].prod(axis=1) * self._price).sum())
        self._price = (self._price / self.whole).astype("float32")

    def share(self, chances: Any) -> Any:
        """Return the share of the whole cost that is left.

        Args:
            chances: for each unit of the graph, the chance that it stays, (units,).
        """
        lengths = ops.matmul(self._counts, ops.reshape(chances, (-1, 1)))[:, 0]
        lengths = ops.concatenate([lengths, ops.ones((1,))])
        costs = ops.prod(ops.take(lengths, self._index), axis=1)
        return ops.sum(ops.multiply(costs, self._price))
