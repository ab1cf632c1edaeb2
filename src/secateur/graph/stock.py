"""The rules of the layers and operations that come with Keras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.ops import core, math, nn, numpy

from secateur.graph.pointwise import is_pointwise
from secateur.graph.rule import (
    At,
    Contract,
    Elementwise,
    Flow,
    Move,
    Open,
    Per,
    Pin,
    Pool,
    Rule,
    Where,
    register,
    rule_of,
)


def channels(layer: Any) -> int:
    """Return the axis of the channels of a layer that has a `data_format`."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def _mixing(layer: Any) -> str | None:
    """Say why the units of a layer may not be removed one by one because of its activation."""
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    if layer.activation is None or name in _POINTWISE or is_pointwise(layer.activation):
        return None
    return f"{name} over its units"


_POINTWISE = frozenset(
    """linear relu relu6 leaky_relu elu selu celu gelu silu swish sigmoid hard_sigmoid hard_silu
    hard_swish tanh hard_tanh tanh_shrink soft_shrink hard_shrink threshold softplus softsign mish
    exponential log_sigmoid squareplus sparse_plus sparse_sigmoid""".split()  # noqa: SIM905
)

_ELEMENTWISE_OPERATIONS = """Abs Absolute Add Arctan Cast Ceil Clip ConvertToTensor Cos Cosh Divide
    Elu Equal Erf Exp Expm1 Floor Gelu Greater GreaterEqual HardSigmoid HardSilu HardTanh
    LeakyRelu Less LessEqual Log Log1p LogSigmoid LogicalAnd LogicalNot LogicalOr Maximum Minimum
    Mish Multiply Negative NotEqual Power Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign Silu
    Sin Sinh Softplus Softsign Sqrt Square StopGradient Subtract Tan Tanh TrueDivide Where"""
_MOVING_OPERATIONS = """Concatenate ExpandDims Flip GetItem Moveaxis Split Squeeze
    Slice Stack Swapaxes Tile Transpose"""


_HOMES = (core, math, nn, numpy)


def _operations(names: str) -> list[type]:
    """Find operation classes by name: Keras exports their functions, not the classes."""
    found = (getattr(home, n, None) for n in names.split() for home in _HOMES)
    return [kind for kind in found if kind is not None]


register(*_operations(_ELEMENTWISE_OPERATIONS))(lambda operation: Elementwise())
register(*_operations(_MOVING_OPERATIONS))(lambda operation: Move())
register(numpy.Reshape)(lambda operation: Move(shape="newshape", batch=True))
register(numpy.BroadcastTo)(lambda operation: Move(shape="shape", batch=True))
register(nn.Softmax)(lambda operation: _softmax(operation.axis))
register(numpy.Matmul)(lambda operation: Contract(("...ij", "...jk"), "...ik"))


@register(numpy.Roll)
def _(operation: Any) -> Rule:
    axis = operation.axis
    return Move(counts=tuple(axis) if isinstance(axis, (list, tuple)) else (axis,))


@register(numpy.Take)
def _(operation: Any) -> Rule:
    return Move(counts=(operation.axis,), moved=1)


@register(numpy.Repeat)
def _(operation: Any) -> Rule:
    return Move(counts=(operation.axis,) if np.size(operation.repeats) > 1 else ())


@register(numpy.Pad)
def _(operation: Any) -> Rule:
    if operation.mode == "constant":
        return Move()
    # What it repeats is at the edge, wherever that comes to be.
    widths = operation.pad_width
    padded = tuple(axis for axis, width in enumerate(widths) if any(width))
    return Move(counts=padded if len(widths) > 1 else (None,))


@register(*_operations("All Amax Amin Any Max Mean Min Sum"))
def _(operation: Any) -> Rule:
    axis = operation.axis
    return Move(reduces=tuple(axis) if isinstance(axis, (list, tuple)) else (axis,))


@register(numpy.Einsum)
def _(operation: Any) -> Rule:
    inputs, _, output = operation.subscripts.replace(" ", "").partition("->")
    return Contract(tuple(inputs.split(",")), output)


@register(nn.DotProductAttention)
def _(operation: Any) -> Rule:
    return Contract(("bqnh", "bknh", "bknv"), "bqnv", products=("bqknh", "bqknv"), fixed="k")


def _softmax(axis: Any) -> Rule:
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    return Elementwise(fixed=axes, reason="softmax over its units")


# ---- layers that mint units ---------------------------------------------------------------------


@register(layers.Dense)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -2},
        writes={"kernel": -1, "bias": 0},
        size="units",
        macs={"kernel": "output"},
        pointwise=True,
        keeps=_mixing(layer),
    )


@register(layers.EinsumDense)
def _(layer: Any) -> Rule:
    operands, _, output = layer.equation.replace(" ", "").partition("->")
    tensor, kernel = operands.split(",")
    weights = {"kernel": kernel}
    if layer.bias is not None:
        labels = [label if label in layer.bias_axes else "_" for label in output.replace(".", "")]
        weights["bias"] = "".join(labels)[-len(layer.bias.shape) :]
    return Contract((tensor,), output, weights=weights, shape="output_shape", keeps=_mixing(layer))


@register(layers.Embedding)
def _(layer: Any) -> Rule:
    return Flow(writes={"embeddings": -1}, size="output_dim")


@register(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -2},
        writes={"kernel": -1, "bias": 0},
        size="filters",
        axis=channels(layer),
        groups=layer.groups,
        macs={"kernel": "output"},
        keeps=_mixing(layer),
    )


@register(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -1},
        writes={"kernel": -2, "bias": 0},
        size="filters",
        axis=channels(layer),
        macs={"kernel": "input"},
        keeps=_mixing(layer),
    )


@register(layers.SeparableConv1D, layers.SeparableConv2D)
def _(layer: Any) -> Rule:
    between = At(-2, repeat=layer.depth_multiplier)
    return Flow(
        reads={"depthwise_kernel": -2, "pointwise_kernel": between},
        writes={"pointwise_kernel": -1, "bias": 0},
        size="filters",
        axis=channels(layer),
        macs={"depthwise_kernel": "output", "pointwise_kernel": "output"},
        keeps=_mixing(layer),
    )


@register(layers.SimpleRNN, layers.GRU, layers.LSTM)
def _(layer: Any) -> Rule:
    gates = {layers.SimpleRNN: 1, layers.GRU: 3, layers.LSTM: 4}
    count = next(number for kind, number in gates.items() if isinstance(layer, kind))
    return _gated(layer, count, size="units", axis=-1, per="step")


@register(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
def _(layer: Any) -> Rule:
    return _gated(layer, 4, size="filters", axis=channels(layer), per="output")


def _gated(layer: Any, gates: int, *, size: str, axis: int, per: Per) -> Flow:
    side_by_side = At(-1, tile=gates)
    return Flow(
        reads={"kernel": -2},
        writes={
            "kernel": side_by_side,
            "recurrent_kernel": (At(-2), side_by_side),
            "bias": side_by_side,
        },
        size=size,
        axis=axis,
        macs={"kernel": per, "recurrent_kernel": per},
        states=True,
        keeps=_mixing(layer),
    )


@register(layers.TimeDistributed)
def _(layer: Any) -> Rule:
    rule = rule_of(layer.layer)
    if isinstance(rule, Flow) and rule.axis == -1:
        return replace(rule, size=rule.size and f"layer.config.{rule.size}")
    if isinstance(rule, (Elementwise, Pool)) and getattr(rule, "axis", -1) == -1:
        return rule
    return Pin(f"TimeDistributed over {type(layer.layer).__name__} is not followed")


# ---- layers that are opened ----------------------------------------------------------------------


@register(layers.Bidirectional)
def _(layer: Any) -> Rule:
    ways = (layer.forward_layer, layer.backward_layer)
    cells = [each for each in ways if isinstance(each, (layers.SimpleRNN, layers.GRU, layers.LSTM))]
    if len(cells) < 2:
        return Open()
    # Keras takes the output of both ways to be of one width.
    one, other = ((each.cell.recurrent_kernel, 0) for each in cells)
    return Open(ties=((one, other),))


@register(layers.GroupQueryAttention)
def _(layer: Any) -> Rule:
    return Open(ties=(((layer._key_dense.kernel, 2), (layer._value_dense.kernel, 2)),))


# ---- layers that pass units on ------------------------------------------------------------------


@register(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -2},
        writes={"bias": 0},
        mints=False,
        axis=channels(layer),
        repeat=layer.depth_multiplier,
        macs={"kernel": "output"},
        keeps=_mixing(layer),
    )


@register(layers.BatchNormalization)
def _(layer: Any) -> Rule:
    weights = ("gamma", "beta", "moving_mean", "moving_variance")
    if getattr(layer, "renorm", False):
        weights += ("moving_stddev", "renorm_mean", "renorm_stddev")
    return Flow(writes=dict.fromkeys(weights, 0), mints=False, axis=layer.axis, pointwise=True)


@register(layers.LayerNormalization)
def _(layer: Any) -> Rule:
    axis, *more = np.atleast_1d(layer.axis).tolist()
    if more:
        return Pin("LayerNormalization over several axes")
    return Flow(writes={"gamma": 0, "beta": 0}, mints=False, axis=axis, mixes=True, pointwise=True)


@register(layers.GroupNormalization)
def _(layer: Any) -> Rule:
    weights: dict[str, Where] = {"gamma": 0, "beta": 0}
    if layer.gamma is not None and layer.groups == layer.gamma.shape[0]:
        # One group a channel: nothing is mixed, and the number of groups follows the channels.
        return Flow(writes=weights, size="groups", mints=False, axis=layer.axis)
    return Flow(writes=weights, mints=False, axis=layer.axis, groups=layer.groups, mixes=True)


@register(layers.Normalization)
def _(layer: Any) -> Rule:
    return Pin("it is normalised by figures of the data")


@register(LayerScale)
def _(layer: Any) -> Rule:
    return Flow(writes={"gamma": 0}, size="projection_dim", mints=False, pointwise=True)


@register(layers.UnitNormalization)
def _(layer: Any) -> Rule:
    return (
        Pin("UnitNormalization over several axes")
        if np.ndim(layer.axis) and len(layer.axis) > 1
        else Flow(mints=False, mixes=True)
    )


@register(
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    StochasticDepth,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
)
def _(layer: Any) -> Rule:
    return Elementwise()


@register(layers.PReLU)
def _(layer: Any) -> Rule:
    return Elementwise(weights=("alpha",))


@register(layers.Softmax)
def _(layer: Any) -> Rule:
    return _softmax(layer.axis)


@register(layers.Activation)
def _(layer: Any) -> Rule:
    mixing = _mixing(layer)
    return Pin(mixing) if mixing else Elementwise()


@register(layers.Rescaling)
def _(layer: Any) -> Rule:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return Pin("Rescaling with one factor a position")
    return Elementwise()


@register(
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
)
def _(layer: Any) -> Rule:
    return Pool(axis=channels(layer))


@register(layers.Concatenate, layers.Flatten, layers.Permute)
def _(layer: Any) -> Rule:
    return Move()


@register(layers.Reshape)
def _(layer: Any) -> Rule:
    return Move(shape="target_shape")
