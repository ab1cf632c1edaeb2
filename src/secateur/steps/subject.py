"""A layer that may be written as several: its matrices, what it costs, and its config."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import Any

import numpy as np
from keras import layers

from secateur.graph.weights import to_numpy
from secateur.planning.ranks import Choice
from secateur.steps.inputs import Watched
from secateur.steps.readers import Reader, reader

Ranks = tuple[int, ...]
Shape = tuple[int, ...]
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D)
KINDS = (layers.Dense, layers.EinsumDense, layers.Embedding, *CONVOLUTIONS)


@dataclass(frozen=True)
class Subject:
    """A layer that may be written as factors.

    Args:
        path: the first call of it.
        layer: the layer.
        shapes: for each call, the shapes of its input and its output, rows included.
        open: whether the model leaves lengths open, so that these are only some of many.
    """

    path: str
    layer: Any
    shapes: tuple[tuple[Shape, Shape], ...]
    open: bool = False

    @cached_property
    def read(self) -> Reader | None:
        """Return how it is a product of matrices; `None` for a table of codes."""
        if isinstance(self.layer, layers.Embedding):
            return None
        found = reader(self.layer, *self.shapes[0])
        assert isinstance(found, Reader)
        return found

    @cached_property
    def weights(self) -> np.ndarray:
        """Return its kernel as matrices (groups, features, units)."""
        if self.read is None:
            return to_numpy(self.layer.embeddings).astype(np.float64)[None]
        return self.read.matrices()

    @property
    def around(self) -> bool:
        """Say whether its bias takes up the mean of what it reads."""
        return self.read is not None and self.read.laid is not None

    @cached_property
    def places(self) -> int:
        """Return how often a matrix is multiplied by for one sample, over all calls."""
        if self.read is None:
            return sum(prod(given) for given, _ in self.shapes)
        read = ((reader(self.layer, *shapes), shapes[1][0]) for shapes in self.shapes)
        return sum(rows * prod(r.places) for r, rows in read if isinstance(r, Reader))

    @cached_property
    def whole(self) -> Choice:
        """Return what it costs as it is."""
        macs = 0 if self.read is None else self.places * self.weights.size
        return self.choice("whole", (), macs, self.weights.size, 0.0)

    def choice(self, method: str, ranks: Ranks, macs: int, params: int, error: float) -> Choice:
        """Return a choice with the bytes that its weights take."""
        weight = self.layer.embeddings if self.read is None else self.layer.kernel
        size = np.dtype("float32" if weight.dtype == "bfloat16" else weight.dtype).itemsize
        return Choice(method, ranks, macs, params, params * size, error)

    def biased(self, missing: np.ndarray, watched: Watched | None) -> list[np.ndarray]:
        """Return the bias, if it has one, with the mean of what is missing added.

        Args:
            missing: what the matrices lack, (groups, features, units).
            watched: what is known of the inputs.
        """
        if self.read is None or self.read.bias is None:
            return []
        bias = to_numpy(self.read.bias).astype(np.float64)
        if watched is not None and self.read.laid is not None:
            bias = bias + self.read.laid(np.einsum("gf,gfu->gu", watched.mean, missing))
        return [bias]


def rows_of(subject: Subject) -> int:
    """Return how many rows one call multiplies, on average."""
    return max(1, subject.places // len(subject.shapes))


def multiples(step: int, most: int) -> list[int]:
    """Return the multiples of a step up to a number."""
    return list(range(step, most + 1, step))


def rounded_up(rank: int, step: int, most: int) -> int:
    """Return the next multiple of a step, or the most that there is."""
    return min(max(ceil(rank / step), 1) * step, most)


# What holds for a kernel of one shape, or for the outputs, and not for a factor before the last.
_OF_KERNEL = ("kernel_constraint", "lora_rank", "lora_alpha", "quantization_config")
_OF_OUTPUT = (
    "activation",
    "activity_regularizer",
    "bias_axes",
    "bias_constraint",
    "bias_regularizer",
    "kernel_regularizer",
)


def last(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a layer for the last of its factors."""
    return {key: value for key, value in config.items() if key not in _OF_KERNEL}


def bare(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a layer for a factor before: no bias, no activation."""
    kept = {key: value for key, value in last(config).items() if key not in _OF_OUTPUT}
    return kept | {"use_bias": False} if "use_bias" in config else kept
