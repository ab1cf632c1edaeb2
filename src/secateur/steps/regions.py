"""Which tensors of a model are quantized, so that integer operators follow on integer operators.

A runtime computes a convolution in integers where its input and its output are both quantized; what
only moves numbers keeps the grid of its input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from keras import layers
from keras.src.activations import activations

from secateur.formats.calls import Use
from secateur.steps.folding import FUSED

# The kernels that runtimes multiply in integers, and the axes along which they have a step each.
KERNELS: dict[type, tuple[int, ...]] = {
    layers.Dense: (1,),
    layers.Conv1D: (2,),
    layers.Conv2D: (3,),
    layers.DepthwiseConv1D: (1, 2),
    layers.DepthwiseConv2D: (2, 3),
}
CONVOLUTIONS = tuple(kind for kind in KERNELS if kind is not layers.Dense)
# What computes with quantized inputs and has an integer operator of its own.
_ARITHMETIC = (layers.Add, layers.Concatenate, layers.GlobalAveragePooling2D)
# What gives numbers of its input, or zeros, and no others.
_MOVES = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
)


@dataclass(frozen=True)
class Regions:
    """What to quantize.

    Args:
        kernels: the layers whose kernels are, by name, each with the names of its inputs.
        sources: for each quantized tensor, the tensor whose grid it takes.
    """

    kernels: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]


def regions(found: list[Use], kept: Collection[str] = ()) -> Regions:
    """Return what of a folded model can be quantized to be computed in integers.

    Args:
        found: the calls of the model.
        kept: the names of layers that stay in float32.
    """
    readers: dict[str, list[Use]] = defaultdict(list)
    for use in found:
        for key in use.inputs:
            readers[key].append(use)
    kernels: dict[str, tuple[str, ...]] = {}
    for use in found:
        if type(use.operation) in KERNELS and use.operation.name not in kept:
            name = use.operation.name
            kernels[name] = (*kernels.get(name, ()), *use.inputs)
    sources = {key: key for keys in kernels.values() for key in keys}
    for use in found:
        operation = use.operation
        inputs = set(use.inputs)
        if isinstance(operation, _MOVES) and inputs <= set(sources):
            sources[use.key] = sources[use.inputs[0]]
        elif (operation.name in kernels and type(operation) in CONVOLUTIONS) or (
            isinstance(operation, _ARITHMETIC) and inputs <= set(sources)
        ):
            key = _settled(use.key, readers)
            sources.setdefault(key, key)
    return Regions(kernels, sources)


def _settled(key: str, readers: Mapping[str, list[Use]]) -> str:
    """Return the name of a tensor behind the ReLU that an integer operator has in itself."""
    read = readers[key]
    if len(read) == 1 and is_clipping(read[0].operation):
        return read[0].key
    return key


def is_clipping(operation: Any) -> bool:
    """Say whether an operation is a ReLU, or one that ends at 6."""
    if isinstance(operation, (layers.ReLU, activations.ReLU)):
        plain = not operation.negative_slope and not operation.threshold
        return plain and operation.max_value in (None, 6)
    if isinstance(operation, layers.Activation):
        return getattr(operation.activation, "__name__", "") in FUSED[1:]
    return type(operation).__name__ in ("Relu", "Relu6")
