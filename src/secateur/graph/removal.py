"""Residual blocks that go: what a rebuilt model has in place of their calls.

A call inside of a removed block is not made again; `GONE` stands for its outputs, which nothing
but the block's sum reads. The sum gives the stream that it was given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from keras import tree

from secateur.graph.blocks import scopes_of
from secateur.graph.functional import functional_of
from secateur.graph.graph import Graph
from secateur.graph.sweep import Value


class Gone:
    """Stands for a tensor that is not there any more."""

    shape = ()


GONE = Gone()


class Removal:
    """Tells, call by call in the order of the sweep, what goes with the removed blocks."""

    def __init__(self, graph: Graph, keep: np.ndarray):
        blocks = graph.removed(keep)
        self.graph = graph
        self.gone = frozenset(number for block in blocks for number in block.calls)
        self.streams = {b.merge: b.stream for b in blocks if b.merge not in self.gone}
        self._turns: Counter[str] = Counter()
        self._numbers: dict[str, list[int]] = defaultdict(list)
        left: Counter[str] = Counter()
        for number, call in enumerate(graph.calls if blocks else ()):
            self._numbers[call.path].append(number)
            left.update(dict.fromkeys(scopes_of(call.path), number not in self.gone))
        self._scopes = {scope for scope, count in left.items() if not count}
        self._opens = {s for number in self.streams for s in scopes_of(graph.calls[number].path)}

    def opens(self, path: str) -> bool:
        """Say whether a block goes from inside of a composite layer."""
        return path in self._opens

    def stand_in(self, path: str, operation: Any, args: Any, kwargs: Any) -> Any:
        """Return what stands for the outputs of a call that is not made, else `None`."""
        leaves = tree.flatten((args, kwargs))
        # A composite layer that hands on what it is given makes no call of its own.
        idle = path not in self._numbers and path not in self._opens
        if path in self._scopes or (idle and any(leaf is GONE for leaf in leaves)):
            opened = self.graph.opened.get(path)
            given = opened[0].outputs if opened else functional_of(operation).outputs
            return [GONE] * len(given)
        if path not in self._numbers:
            return None
        numbers = self._numbers[path]
        number = numbers[min(self._turns[path], len(numbers) - 1)]
        self._turns[path] += 1
        call = self.graph.calls[number]
        if number in self.gone:
            return [GONE] * len(call.outputs)
        if number not in self.streams:
            return None
        return next(
            now
            for was, now in zip(tree.flatten((call.args, call.kwargs)), leaves, strict=True)
            if isinstance(was, Value) and was.index == self.streams[number]
        )
