"""The grid of every weight of a model, and the model with its weights on their grids."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.formats.grids import Grid
from secateur.graph.weights import to_numpy
from secateur.steps.regions import KERNELS

BLOCK = 32
_CELLS = (layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def kernels_of(layer: Any) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Yield the weights of a layer worth rounding, with the axes of its own steps each."""
    for each in layer._flatten_layers():
        if type(each) in KERNELS:
            yield each.kernel, KERNELS[type(each)]
        elif isinstance(each, layers.EinsumDense):
            _, labels, out = each.equation.replace("->", ",").split(",")
            yield each.kernel, tuple(k for k, label in enumerate(labels) if label in out)
        elif isinstance(each, _CELLS):
            yield each.kernel, (1,)
            yield each.recurrent_kernel, (1,)
        elif isinstance(each, layers.Embedding):
            yield each.embeddings, (1,)
        elif isinstance(each, layers.Conv3D):
            yield each.kernel, (4,)
        elif isinstance(each, _TRANSPOSED):
            yield each.kernel, (len(each.kernel.shape) - 2,)
        elif isinstance(each, (layers.SeparableConv1D, layers.SeparableConv2D)):
            rank = len(each.pointwise_kernel.shape)
            yield each.depthwise_kernel, (rank - 2, rank - 1)
            yield each.pointwise_kernel, (rank - 1,)


def grid_of(
    variable: Any, axes: tuple[int, ...], *, bits: int = 8, block: int | None = None
) -> Grid:
    """Return the grid that reaches as far as a weight does, in each channel of its own.

    Args:
        variable: the weight.
        axes: the axes along which each position has a step of its own.
        bits: how many bits a number has.
        block: for a matrix, so many inputs have steps of their own.
    """
    values = np.abs(to_numpy(variable))
    if block is None:
        others = tuple(k for k in range(values.ndim) if k not in axes)
        return Grid.symmetric(values.max(axis=others), axes, bits=bits)
    short = -len(values) % block
    parts = np.pad(values, ((0, short), (0, 0))).reshape(-1, block, values.shape[1])
    return Grid.symmetric(parts.max(axis=1), axes, bits=bits).model_copy(update={"block": block})


def weight_grids(
    model: keras.Model, kept: Collection[str], *, bits: int = 8
) -> tuple[dict[str, Grid], list[str]]:
    """Return the grids of all weights that can be stored in integers, and the layers without any.

    Args:
        model: a folded model.
        kept: the names of layers that stay in float32.
        bits: 4 stores the kernels of Dense layers in four bits, and all others in eight; 7 is for
            all of them.
    """
    grids: dict[str, Grid] = {}
    without = []
    for layer in model.layers:
        if layer.name in kept:
            continue
        found = list(kernels_of(layer))
        for variable, axes in found:
            small = bits == 4 and isinstance(layer, layers.Dense) and variable.shape[0] >= BLOCK
            wide = 8 if bits == 4 else bits
            options: Mapping[str, Any] = {"bits": 4, "block": BLOCK} if small else {"bits": wide}
            grids[variable.path] = grid_of(variable, axes, **options)
        if not found and any(len(weight.shape) > 1 for weight in layer.weights):
            without.append(layer.name)
    return grids, without


def stored_grids(model: keras.Model, kept: Collection[str]) -> tuple[dict[str, Grid], list[str]]:
    """Return the grids of weights that are stored in integers where others are multiplied so.

    Those of recurrent layers are not: OpenVINO, which folds them into constants elsewhere, does not
    in a file with rounded activations, and then refuses the layer.

    Args:
        model: a folded model.
        kept: the names of layers that have grids, or have none.

    Returns:
        The grids, and the layers without any.
    """
    recurrent = [
        layer.name
        for layer in model.layers
        if layer.name not in kept and any(isinstance(x, _CELLS) for x in layer._flatten_layers())
    ]
    grids, without = weight_grids(model, {*kept, *recurrent})
    return grids, [*without, *recurrent]


def put_on_grids(model: keras.Model, grids: Mapping[str, Grid]) -> None:
    """Round the weights of a model where it stands."""
    for variable in model.weights:
        if variable.path in grids:
            variable.assign(grids[variable.path].rounded(to_numpy(variable)))


def stored_bytes(model: keras.Model, grids: Mapping[str, Grid]) -> int:
    """Return the bytes of a model's weights, those on grids in integers with their steps."""
    total = 0
    for variable in model.weights:
        numbers = int(np.prod(variable.shape))
        grid = grids.get(variable.path)
        if grid is None:
            total += numbers * np.dtype(str(variable.dtype)).itemsize
        else:
            # Seven bits take a byte, as eight do.
            bits = 4 if grid.bits <= 4 else 8
            total += -(-numbers * bits // 8) + 4 * len(grid.scale)
    return total
