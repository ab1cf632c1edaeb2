"""What passes through a model: sizes and products of activations, gathered on forward passes.

The calls of a graph are run one by one on the data, inside of composite layers as well, and each
tensor is looked at once, when it is made. No labels are needed.

What is seen is told by weight: what a weight multiplies (`inputs`) and what the call that it
belongs to gives (`outputs`). A unit is seen where weights that read it see it; one that no weight
reads (those of queries and keys, which are multiplied with each other) only where it is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from secateur.errors import DataError, ModelError
from secateur.graph.graph import Block, Graph
from secateur.graph.looks import Look, laid, looks
from secateur.graph.moments import Moments, Products, sums_of
from secateur.graph.walk import CHUNK, Walk, flat_inputs


@dataclass(frozen=True)
class Seen:
    """Means of activations over rows and places, of a shape that broadcasts against the weight.

    Args:
        size: the mean of |x|.
        zeros: the share that is exactly zero.
        square: the mean of x squared.
    """

    size: np.ndarray
    zeros: np.ndarray
    square: np.ndarray


@dataclass(frozen=True)
class Activations:
    """What was seen.

    Args:
        inputs: what each weight multiplies, by its key.
        outputs: what the call that a weight belongs to gives, by its key.
        blocks: what each residual block adds to its stream, by its unit; means over all of it.
    """

    inputs: Mapping[str, Seen]
    outputs: Mapping[str, Seen]
    blocks: Mapping[int, Seen]


def gather(
    graph: Graph, x: Any, *, moments: bool = False, seed: int = 0
) -> tuple[Activations, Mapping[str, list[Moments]] | None]:
    """Run a model on inputs and return what was seen.

    Args:
        graph: a traced model.
        x: inputs as the model takes them: an array, or a list or dict of arrays.
        moments: whether to gather products of units as well.
        seed: which places of large tensors products are summed over.

    Returns:
        What each weight sees; and by group, the moments of its units for each weight that reads
        them, for groups of at most 4096 units.

    Raises:
        DataError: there are no rows, or not those that the model takes.
        ModelError: an activation is NaN or infinite.
    """
    arrays = _inputs(graph, x)
    rows = len(arrays[0])
    where = list(looks(graph))
    sums: dict[int, dict[tuple[int, ...], _Sums]] = defaultdict(dict)
    for look in where:
        sums[look.tensor].setdefault(tuple(sorted(look.kept)), _Sums())
    added = {block.unit: _added(graph, block) for block in graph.blocks}
    for index in added.values():
        sums[index].setdefault((), _Sums())
    products = sums_of(graph) if moments else []
    watched: dict[int, list[Products]] = defaultdict(list)
    for each in products:
        watched[each.tensor].append(each)
    rng = np.random.default_rng(seed)
    chunk = _fixed(graph) or CHUNK

    def look_at(walk: Walk, index: int) -> None:
        for kept, total in sums.get(index, {}).items():
            total.add(*walk.live(index, kept))
        for each in watched.get(index, []):
            array, (axis,) = walk.live(index, (each.axis,))
            each.add(array, axis, walk.rows / rows, rng)

    for start in range(0, rows - (_fixed(graph) or 1) + 1, chunk):
        walk = Walk(graph, [array[start : start + chunk] for array in arrays])
        for index in list(walk.tensors):
            look_at(walk, index)
        for call in graph.calls:
            walk.step(call)
            for index in call.outputs:
                if index in walk.tensors:
                    look_at(walk, index)
    seen = Activations(
        _told(graph, [look for look in where if look.reads], sums),
        _told(graph, [look for look in where if not look.reads], sums),
        {unit: sums[index][()].means() for unit, index in added.items()},
    )
    found: dict[str, list[Moments]] = defaultdict(list)
    for each in products:
        if each.count:
            found[each.group.name] += each.moments()
    return seen, dict(found) if moments else None


def _added(graph: Graph, block: Block) -> int:
    """Return the tensor that a block adds to its stream."""
    return next(index for index in graph.calls[block.merge].inputs if index != block.stream)


def _inputs(graph: Graph, x: Any) -> list[np.ndarray]:
    wanted = [tensor.name for tensor in graph.model.inputs]
    try:
        arrays = flat_inputs(graph.model, x)
    except ValueError as error:
        raise DataError(
            f"the model takes {', '.join(wanted)}, received other inputs: {error}.",
            mend="Pass one array an input, as a list or a dict by name.",
        ) from error
    rows = {len(array) for array in arrays}
    if len(rows) > 1 or not min(rows):
        raise DataError(
            f"each input needs as many rows and one at least, received {sorted(rows)}.",
            mend="Pass at least one row of each input.",
        )
    fixed = _fixed(graph)
    if fixed and min(rows) < fixed:
        raise DataError(
            f"the model takes {fixed} rows at a time, received {min(rows)}.",
            mend=f"Pass {fixed} rows or more.",
        )
    return arrays


def _fixed(graph: Graph) -> int:
    """Return how many rows the model takes at a time, zero if that is open."""
    return max((tensor.shape[0] or 0 for tensor in graph.model.inputs), default=0)


@dataclass
class _Sums:
    """Sums over rows and places of the activations along some axes of a tensor."""

    count: int = 0
    values: list[Any] = field(default_factory=list)

    def add(self, array: np.ndarray, kept: tuple[int, ...]) -> None:
        others = tuple(axis for axis in range(array.ndim) if axis not in kept)
        size = np.abs(array)
        found = [
            size.sum(others, dtype=np.float64),
            (array == 0).sum(others, dtype=np.float64),
            np.square(size, dtype=np.float64).sum(others),
        ]
        known = self.values or [0.0] * len(found)
        self.values = [a + b for a, b in zip(known, found, strict=True)]
        self.count += prod(array.shape[axis] for axis in others)

    def means(self) -> Seen:
        """Return the means of what was added."""
        return Seen(*(np.asarray(value / self.count) for value in self.values))


def _told(graph: Graph, looks: list[Look], sums: Any) -> dict[str, Seen]:
    """Return what each weight sees, averaged over the calls that it takes part in."""
    totals: dict[str, list[Any]] = {}
    for look in looks:
        found = sums[look.tensor][tuple(sorted(look.kept))]
        if not found.count:
            continue
        figures = [laid(graph, look, array) for array in found.values]
        if any(array is None for array in figures):
            continue
        here = [found.count, *figures]
        known = totals.setdefault(look.weight, here)
        if known is not here and np.shape(known[1]) == np.shape(here[1]):
            totals[look.weight] = [a + b for a, b in zip(known, here, strict=True)]
    told = {}
    for key, (count, *arrays) in totals.items():
        told[key] = Seen(*(array / count for array in arrays))
        if not np.isfinite(told[key].square).all():
            raise ModelError(
                "an activation is NaN or infinite.",
                where=key,
                mend="Check the inputs' scaling and that no value is missing.",
            )
    return told
