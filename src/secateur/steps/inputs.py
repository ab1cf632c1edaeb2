"""What layers read, as second moments, gathered on one walk through the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers

from secateur.errors import DataError
from secateur.graph.graph import Graph
from secateur.graph.walk import Walk
from secateur.steps.decompositions import Seen
from secateur.steps.healing import LEAST_SAMPLES, MOST_FEATURES, moments_of, samples_for
from secateur.steps.readers import Reader, reader
from secateur.steps.ridge import Moments


@dataclass(frozen=True)
class Watched:
    """What a layer read.

    Args:
        fitted: the moments of four fifths of the rows.
        held: those of the others.
        all: those of all rows.
        mean: the mean of the inputs (groups, features).
        places: how many places of the fitted rows were looked at.
        needed: how many samples give as many places as there are inputs.
    """

    fitted: Seen
    held: Seen
    all: Seen
    mean: np.ndarray
    places: int
    needed: int


def watched(
    graph: Graph, wanted: Mapping[int, bool], x: Any, *, seed: int = 0
) -> dict[int, Watched | str]:
    """Return what layers read, or why that is not known, by the id of the layer.

    Args:
        graph: a traced model.
        wanted: the ids of layers, and whether the moments are to be taken around the means.
        x: rows of inputs without labels, as `Split.sample` returns them.
        seed: which output positions of convolutions are looked at.

    Raises:
        DataError: there are too few rows, or the model takes another number of them at a time.
    """
    walk, rng = Walk(graph, x), np.random.default_rng(seed)
    if walk.rows < LEAST_SAMPLES:
        raise DataError(
            f"second moments need at least {LEAST_SAMPLES} rows, received {walk.rows}.",
            where="factorize",
            mend="Give more rows (labels are not needed), or factorize the weights alone: "
            "data_aware=False.",
        )
    fixed = {tensor.shape[0] for tensor in graph.model.inputs} - {None, walk.rows}
    if fixed:
        raise DataError(
            f"the model takes {min(fixed)} rows at a time, received {walk.rows}.",
            where="factorize",
            mend="Build the model without a fixed batch size, or factorize the weights alone: "
            "data_aware=False.",
        )
    sums: dict[int, tuple[Moments, Moments]] = {}
    faults: dict[int, str] = {}
    needed: dict[int, int] = {}
    last = max((n for n, call in enumerate(graph.calls) if id(call.operation) in wanted), default=0)
    for call in graph.calls[: last + 1]:
        layer, key = call.operation, id(call.operation)
        if key not in wanted:
            walk.step(call)
            continue
        read = walk.inputs(call)[0]
        walk.step(call)
        if isinstance(layer, layers.Embedding):
            more, needed[key] = _codes(layer, read), _samples_for_codes(layer, read)
        else:
            known = reader(layer, read.shape, walk.tensors[call.outputs[0]].shape)
            assert isinstance(known, Reader)
            if known.sizes[1] > MOST_FEATURES:
                faults[key] = f"{known.sizes[1]} inputs are too many to know them by their moments"
                continue
            if not np.isfinite(read).all():
                faults[key] = "not all that it reads is finite"
                continue
            more = moments_of(known, read, None, rng)
            needed[key] = samples_for(known, max(1, len(read) // walk.rows))
        sums[key] = tuple(map(sum_of, sums[key], more)) if key in sums else more  # type: ignore
    found: dict[int, Watched | str] = dict(faults)
    for key, (fitted, held) in sums.items():
        if key not in faults:
            found[key] = _watched(fitted, held, wanted[key], needed[key])
    return found


def sum_of(one: Moments, other: Moments) -> Moments:
    """Return the moments of the rows of both."""
    return one + other


def _watched(fitted: Moments, held: Moments, around: bool, needed: int) -> Watched | str:
    total = fitted + held
    mean = total.x / total.rows
    parts = [Seen(each.centred(around)[0]) for each in (fitted, held, total)]
    products = parts[-1].products
    spread = products if products.ndim == 2 else np.diagonal(products, axis1=1, axis2=2)
    if not spread.max() > np.finfo(float).eps * np.abs(np.square(mean)).max():
        return "it reads the same in every row"
    return Watched(*parts, mean=mean, places=fitted.rows, needed=needed)


def _codes(layer: Any, codes: np.ndarray) -> tuple[Moments, Moments]:
    """Count codes: a row of a table is a product of it with a row of zeros and a one."""
    cut = len(codes) * 4 // 5
    found = []
    for part in (codes[:cut], codes[cut:]):
        flat = part.ravel().astype(int)
        counts = np.bincount(flat[(flat >= 0) & (flat < layer.input_dim)], None, layer.input_dim)
        x = counts[None].astype(float)
        none = np.zeros((1, 0))
        found.append(_Counted(len(flat), x, none, x, none, np.zeros(1)))
    return found[0], found[1]


def _samples_for_codes(layer: Any, codes: np.ndarray) -> int:
    return -(-5 * layer.input_dim // (4 * max(1, codes[0].size)))


class _Counted(Moments):
    """Moments of which only those of each feature with itself are not zero."""

    def __add__(self, other: Moments) -> Moments:
        return _Counted(
            self.rows + other.rows, self.x + other.x, self.r, self.xx + other.xx, self.xr, self.rr
        )

    def centred(self, offset: bool) -> tuple[np.ndarray, np.ndarray]:
        return self.xx / max(self.rows, 1), self.xr
