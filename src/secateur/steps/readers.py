"""Layers as products of matrices: what each kind sees of its inputs, and its kernel as matrices.

Such a layer gives at each place `outputs = inputs @ kernel + offset`, once for each of its groups:
one group for a dense layer or a plain convolution, one a channel for a depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from math import prod
from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.graph.rule import Contract, expanded, rule_of
from secateur.graph.stock.common import channels
from secateur.graph.weights import to_numpy
from secateur.steps.unfold import unfold, unfold_transposed

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reader:
    """How a layer that reads units is a product of matrices.

    Args:
        weight: the variable that is its kernel.
        split: the shape in which the kernel's axes are told apart.
        groups: which axes of it count groups; each group is a matrix of its own.
        features: which axes of it are summed over.
        units: which axes of it count outputs.
        places: the lengths of the output's axes besides rows and units.
        seen: inputs (rows, ...) and flat places (rows, count) to (rows, count, groups, features).
        made: outputs (rows, ...) to (rows, places, groups, units).
        bias: the bias, if any.
        laid: constants (groups, units) to the shape of the bias; `None` where the layer cannot add
            a constant of its own to each output.
        fold: how many leading axes of inputs and outputs count rows.
    """

    weight: Any
    split: Shape
    groups: Shape
    features: Shape
    units: Shape
    places: Shape
    seen: Callable[[np.ndarray, np.ndarray], np.ndarray]
    made: Callable[[np.ndarray], np.ndarray]
    bias: Any = None
    laid: Callable[[np.ndarray], np.ndarray] | None = None
    fold: int = 1

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Return how many groups there are, and features and units in each."""
        counts = (prod(self.split[a] for a in axes) for axes in self._order)
        groups, features, units = counts
        return groups, features, units

    @property
    def _order(self) -> tuple[Shape, Shape, Shape]:
        return self.groups, self.features, self.units

    def matrices(self) -> np.ndarray:
        """Return the kernel as matrices (groups, features, units)."""
        kernel = to_numpy(self.weight).astype(np.float64).reshape(self.split)
        return kernel.transpose(sum(self._order, ())).reshape(self.sizes)

    def write(self, matrices: np.ndarray, shift: np.ndarray) -> None:
        """Give the layer other matrices, and add constants (groups, units) to its bias."""
        order = sum(self._order, ())
        kernel = matrices.reshape([self.split[a] for a in order]).transpose(np.argsort(order))
        self.weight.assign(kernel.reshape(self.weight.shape))
        if self.laid is not None:
            self.bias.assign(to_numpy(self.bias) + self.laid(shift))

    def folded(self, array: np.ndarray) -> np.ndarray:
        """Return inputs or outputs with the axes that count rows made one."""
        return array if self.fold == 1 else array.reshape(-1, *array.shape[self.fold :])


@singledispatch
def reader(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    """Return how a layer is a product of matrices, or why it is not.

    A kind of layer of one's own is one more function: `@reader.register(MyLayer)`.

    Args:
        layer: a built layer.
        inputs: the shape of what it reads, rows included.
        outputs: the shape of what it gives.
    """
    return f"{type(layer).__name__} is not solved for"


def at(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Take places of an array (rows, places, ...)."""
    return array[np.arange(len(array))[:, None], places]


def _flat_bias(layer: Any) -> dict[str, Any]:
    """Return the fields of a bias with one element for each channel of the output."""
    if layer.bias is None:
        return {}
    return {"bias": layer.bias, "laid": lambda shift: shift.reshape(layer.bias.shape)}


@reader.register(layers.Dense)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    def seen(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        return at(x.reshape(len(x), -1, 1, x.shape[-1]), places)

    return Reader(
        layer.kernel,
        split=tuple(layer.kernel.shape),
        groups=(),
        features=(0,),
        units=(1,),
        places=outputs[1:-1],
        seen=seen,
        made=lambda y: y.reshape(len(y), -1, 1, y.shape[-1]),
        **_flat_bias(layer),
    )


@reader.register(layers.EinsumDense)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    rule = rule_of(layer)
    assert isinstance(rule, Contract)
    x, y = expanded(rule.inputs[0], len(inputs)), expanded(rule.output, len(outputs))
    kernel, bias = rule.weights["kernel"], rule.weights.get("bias", "")
    groups = [label for label in kernel if label in x and label in y]
    features = [label for label in kernel if label in x and label not in y]
    units = [label for label in kernel if label not in x]
    places = [label for label in y[1:] if label not in kernel]
    told = len({*x}) == len(x) and len({*kernel}) == len(kernel) and {*units} <= {*y}
    if not told or x[0] != y[0] or x[0] in kernel or {*places} - {*x}:
        return f"{layer.equation} is no product of matrices"
    lengths = dict(zip(y, outputs, strict=True)) | dict(zip(x, inputs, strict=True))
    alone = tuple(axis for axis, label in enumerate(x) if label not in y + kernel)
    left = [label for label in x if label in y + kernel]

    def ordered(array: np.ndarray, labels: Any, *parts: list[str]) -> np.ndarray:
        order = [labels.index(label) for part in ([x[0]], *parts) for label in part]
        sizes = [prod(lengths[label] for label in part) for part in parts]
        return array.transpose(order).reshape(len(array), *sizes)

    def seen(array: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return at(ordered(array.sum(alone), left, places, groups, features), chosen)

    def laid(shift: np.ndarray) -> np.ndarray:
        shift = shift.reshape([lengths[label] for label in groups + units])
        order = [(groups + units).index(label) for label in bias if label in groups + units]
        sizes = [lengths[label] if label in groups + units else 1 for label in bias]
        return shift.transpose(order).reshape(sizes)

    return Reader(
        layer.kernel,
        split=tuple(layer.kernel.shape),
        groups=tuple(map(kernel.index, groups)),
        features=tuple(map(kernel.index, features)),
        units=tuple(map(kernel.index, units)),
        places=tuple(lengths[label] for label in places),
        seen=seen,
        made=lambda array: ordered(array, y, places, groups, units),
        bias=layer.bias,
        laid=laid if bias and {*groups, *units} <= {*bias} else None,
    )


@reader.register(layers.Conv1D)
@reader.register(layers.Conv2D)
@reader.register(layers.Conv3D)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    *size, read, filters = layer.kernel.shape
    return _convolution(
        layer,
        layer.kernel,
        outputs,
        split=(*size, read, layer.groups, filters // layer.groups),
        groups=(layer.rank + 1,),
        features=tuple(range(layer.rank + 1)),
        units=(layer.rank + 2,),
    )


@reader.register(layers.DepthwiseConv1D)
@reader.register(layers.DepthwiseConv2D)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    return _convolution(
        layer,
        layer.kernel,
        outputs,
        split=tuple(layer.kernel.shape),
        groups=(layer.rank,),
        features=tuple(range(layer.rank)),
        units=(layer.rank + 1,),
    )


@reader.register(layers.SeparableConv1D)
@reader.register(layers.SeparableConv2D)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    """The product is that of the second kernel; the first one makes what it sees."""
    depthwise = to_numpy(layer.depthwise_kernel)
    depthwise = depthwise.reshape(-1, *depthwise.shape[-2:])
    found = _convolution(
        layer,
        layer.pointwise_kernel,
        outputs,
        split=tuple(layer.pointwise_kernel.shape),
        groups=(),
        features=tuple(range(layer.rank + 1)),
        units=(layer.rank + 1,),
    )

    def seen(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        taps = _taps(layer, x, outputs, places, unfold)
        between = np.einsum("nptc,tcm->npcm", taps, depthwise)
        return between.reshape(*places.shape, 1, -1)

    return replace(found, seen=seen)


@reader.register(layers.Conv1DTranspose)
@reader.register(layers.Conv2DTranspose)
@reader.register(layers.Conv3DTranspose)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    return _convolution(
        layer,
        layer.kernel,
        outputs,
        split=tuple(layer.kernel.shape),
        groups=(),
        features=(*range(layer.rank), layer.rank + 1),
        units=(layer.rank,),
        unfold=unfold_transposed,
    )


@reader.register(layers.TimeDistributed)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    inner = reader(
        layer.layer,
        (inputs[0] * inputs[1], *inputs[2:]),
        (outputs[0] * outputs[1], *outputs[2:]),
    )
    return inner if isinstance(inner, str) else replace(inner, fold=inner.fold + 1)


@reader.register(layers.RNN)
@reader.register(layers.Bidirectional)
def _(layer: Any, inputs: Shape, outputs: Shape) -> Reader | str:
    return f"{type(layer).__name__} is recurrent, which least squares do not solve"


def _convolution(
    layer: Any,
    kernel: Any,
    outputs: Shape,
    *,
    split: Shape,
    groups: Shape,
    features: Shape,
    units: Shape,
    unfold: Callable[..., np.ndarray] = unfold,
) -> Reader:
    """Return the reader of a convolution whose kernel sees taps of channels.

    Channels fall into as many neighbourhoods as there are groups.
    """
    count = prod(split[axis] for axis in groups)

    def seen(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        taps = _taps(layer, x, outputs, places, unfold)
        apart = taps.reshape(*taps.shape[:3], count, -1)
        return np.moveaxis(apart, 3, 2).reshape(*places.shape, count, -1)

    def made(y: np.ndarray) -> np.ndarray:
        y = np.moveaxis(y, channels(layer), -1)
        return y.reshape(len(y), -1, count, y.shape[-1] // count)

    places = _space(layer, outputs)
    bias = _flat_bias(layer)
    return Reader(kernel, split, groups, features, units, places, seen, made, **bias)


def _space(layer: Any, shape: Shape) -> Shape:
    return shape[1:-1] if channels(layer) == -1 else shape[2:]


def _taps(
    layer: Any,
    x: np.ndarray,
    outputs: Shape,
    places: np.ndarray,
    unfold: Callable[..., np.ndarray],
) -> np.ndarray:
    return unfold(
        np.moveaxis(x, channels(layer), -1),
        kernel=layer.kernel_size,
        strides=_each(layer.strides, layer.rank),
        dilation=_each(layer.dilation_rate, layer.rank),
        padding=layer.padding,
        outputs=_space(layer, outputs),
        places=places,
    )


def _each(number: Any, rank: int) -> Shape:
    return tuple(np.broadcast_to(number, rank).tolist())


def linear(layer: Any) -> Any:
    """Return a copy of a layer without its activation, or the layer if it has none."""
    config = layer.get_config()
    if isinstance(layer, layers.TimeDistributed):
        inner = linear(layer.layer)
        if inner is layer.layer:
            return layer
        config["layer"] = keras.saving.serialize_keras_object(inner)
    elif getattr(layer.activation, "__name__", "linear") == "linear":
        return layer
    else:
        config["activation"] = None
    twin = type(layer).from_config(config)
    # Layers inside of a composite one were never called, only built.
    shapes: Any = layer._build_shapes_dict
    twin.build(shapes["input_shape"])
    twin.set_weights(layer.get_weights())
    return twin
