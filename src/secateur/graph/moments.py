"""Products of the activations of units that compete with each other, as their readers see them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from keras import layers

from secateur.graph.graph import Graph, Group
from secateur.graph.looks import looks
from secateur.graph.rule import Contract
from secateur.graph.sweep import Call

# Groups with more units have no products gathered: they would take gigabytes.
MOST_UNITS = 4096
# Products are summed over about this many places, and this many for each unit.
LEAST_PLACES = 4096
PLACES_A_UNIT = 8


@dataclass(frozen=True)
class Moments:
    """Second moments of a group's units, as one weight reads them.

    Args:
        weight: the key of the weight.
        products: the mean of x_i x_j over rows and places, (units, units); zero for units that
            the weight does not read.
        mean: the mean of each unit.
        offset: whether the reader can add a constant: it has a bias, or a batch normalisation
            behind it has.
    """

    weight: str
    products: np.ndarray
    mean: np.ndarray
    offset: bool


@dataclass
class Products:
    """Sums of products of a group's units along one axis of a tensor.

    Args:
        tensor: the tensor's index.
        axis: its axis.
        group: the group.
        units: which of the group's units lie on the axis.
        places: where they lie, one row for each time that they all occur.
        readers: the weights that read the tensor along the axis, and whether each has an offset.
    """

    tensor: int
    axis: int
    group: Group
    units: np.ndarray
    places: np.ndarray
    readers: dict[str, bool]
    count: int = 0
    products: Any = 0.0
    sums: Any = 0.0

    def add(self, array: np.ndarray, axis: int, share: float, rng: np.random.Generator) -> None:
        """Add the products in a tensor, at some of its places if it has many.

        Args:
            array: some rows of the tensor; without what is masked, places of theirs.
            axis: where the tensor's axis lies in it.
            share: of all rows that there will be, the share that it is of.
            rng: chooses the places.
        """
        x = np.moveaxis(array, axis, -1)
        one = axis == 0 or axis < self.axis
        x = x.reshape(1 if one else len(array), -1, x.shape[-1])
        wanted = max(LEAST_PLACES, PLACES_A_UNIT * len(self.units))
        each = max(1, ceil(wanted * share / len(x) - 1e-9))
        if x.shape[1] > each:
            x = x[:, np.sort(rng.choice(x.shape[1], each, replace=False))]
        x = x[..., self.places].reshape(-1, len(self.units)).astype(np.float64)
        self.products = self.products + x.T @ x
        self.sums = self.sums + x.sum(0)
        self.count += len(x)

    def moments(self) -> list[Moments]:
        """Return what each reader saw."""
        products = np.zeros((len(self.group), len(self.group)))
        products[np.ix_(self.units, self.units)] = self.products / self.count
        mean = np.zeros(len(self.group))
        mean[self.units] = self.sums / self.count
        return [Moments(key, products, mean, offset) for key, offset in self.readers.items()]


def sums_of(graph: Graph) -> list[Products]:
    """Return where weights that mix units read those of each group that may be removed."""
    group_of = np.full(graph.units, -1)
    for number, group in enumerate(graph.groups):
        if len(group) <= MOST_UNITS:
            group_of[group.units] = number
    found: dict[tuple[int, int, int], Products] = {}
    for look in looks(graph):
        mixes = isinstance(look.call.rule, Contract) or getattr(look.call.rule, "mints", False)
        for axis in look.kept if look.reads and mixes else ():
            ids = graph.tensors[look.tensor].axes[axis]
            if ids is None:
                continue
            for number in np.unique(group_of[ids][group_of[ids] >= 0]):
                place = look.tensor, axis, int(number)
                if place not in found:
                    group = graph.groups[number]
                    found[place] = Products(look.tensor, axis, group, *_places(ids, group), {})
                found[place].readers[look.weight] = _has_offset(graph, look.call)
    return list(found.values())


def _places(ids: np.ndarray, group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Return the units of a group among ids, and their places as often as all of them occur."""
    within = np.searchsorted(group.units, ids)
    within = np.where(np.isin(ids, group.units), within, len(group))
    order = np.argsort(within, kind="stable")
    order = order[: np.count_nonzero(within < len(group))]
    units, starts, counts = np.unique(within[order], return_index=True, return_counts=True)
    times = np.arange(counts.min())
    return units, order[starts[None, :] + times[:, None]]


def _has_offset(graph: Graph, call: Call) -> bool:
    if any(weight.name == "bias" for weight in call.operation.weights):
        return True
    readers = [other for other in graph.calls if call.outputs[0] in other.inputs]
    return bool(readers) and all(
        isinstance(reader.operation, layers.BatchNormalization) for reader in readers
    )
