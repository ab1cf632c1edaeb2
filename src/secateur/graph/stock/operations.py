"""Operations of `keras.ops`: what each does with the ids on the axes of its tensors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras.src.activations import activations
from keras.src.ops import core, image, linalg, math, nn, numpy

from secateur.graph.rule import Contract, Elementwise, Move, Pin, Pool, Rule, register
from secateur.graph.stock.common import across, axes_of, channels

_HOMES = (core, image, linalg, math, nn, numpy)


def _operations(names: str) -> list[type]:
    """Find operation classes by name: Keras exports their functions, not the classes."""
    found = (getattr(home, name, None) for name in names.split() for home in _HOMES)
    return [kind for kind in found if isinstance(kind, type)]


_POINTWISE = """Abs Absolute Add Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Cast Cbrt Ceil
    Celu Clip ConvertToTensor Copy Cos Cosh Divide DivideNoNan Elu Equal Erf Erfc Exp Exp2 Expm1
    Fabs Floor FloorDivide Fmax Fmin Gelu Greater GreaterEqual HardShrink HardSigmoid HardSilu
    HardTanh Hypot Isfinite Isinf Isnan LeakyRelu Less LessEqual Log Log10 Log1p Log2 LogSigmoid
    Logaddexp LogicalAnd LogicalNot LogicalOr LogicalXor Maximum Minimum Mish Mod Multiply NanToNum
    Negative NotEqual OnesLike Power Reciprocal Relu Relu6 Round Rsqrt SaturateCast Selu Sigmoid
    Sign Silu Sin Sinh SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus
    StopGradient Subtract Tan Tanh TanhShrink Threshold TrueDivide Trunc Where ZerosLike"""
_MOVING = """Concatenate DepthToSpace ExpandDims Flip GetItem Moveaxis SpaceToDepth Split Squeeze
    Stack Swapaxes Tile Transpose"""
_REDUCING = """All Amax Amin Any Argmax Argmin CountNonzero Logsumexp Max Mean Median Min Moments
    Prod Std Var"""
_ACROSS = "Argsort Cumprod Cumsum LogSoftmax Softmax Sort Sparsemax TakeAlongAxis"
_RESAMPLING = """AdaptiveAveragePool AdaptiveMaxPool AveragePool CropImages MaxPool PadImages
    Resize"""

# `keras.activations.relu` of a tensor is an operation of its own.
register(*_operations(_POINTWISE), activations.ReLU)(lambda operation: Elementwise())
register(*_operations(_MOVING))(lambda operation: Move())
register(*_operations(_REDUCING))(lambda operation: Move(reduces=axes_of(operation.axis)))
register(*_operations(_RESAMPLING))(lambda operation: Pool(axis=channels(operation)))
register(numpy.Reshape)(lambda operation: Move(shape="newshape", batch=True))
register(numpy.BroadcastTo)(lambda operation: Move(shape="shape", batch=True))
register(numpy.Roll)(lambda operation: Move(counts=axes_of(operation.axis)))
register(core.Unstack)(lambda operation: Move(counts=(operation.axis,)))
register(core.Slice)(lambda operation: Move(shape="shape", batch=True))
register(numpy.Take)(lambda operation: Move(moved=1))
register(numpy.Tril, numpy.Triu)(
    lambda operation: Elementwise(fixed=(-2, -1), reason="its positions along it are told apart")
)


@register(*_operations(_ACROSS))
def _(operation: Any) -> Rule:
    return across(operation.axis, type(operation).__name__.lower())


@register(*_operations("Norm Sum"))
def _(operation: Any) -> Rule:
    adds = getattr(operation, "ord", None) in (None, 1, 2, "fro", "euclidean")
    return Move(reduces=axes_of(operation.axis), adds=adds)


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


@register(nn.RMSNorm, nn.LayerNorm, nn.Normalize)
def _(operation: Any) -> Rule:
    axis, *more = axes_of(operation.axis)
    # A scale and an offset lie along the last axis.
    if more or axis is None or (axis != -1 and not isinstance(operation, nn.Normalize)):
        return Pin(f"{type(operation).__name__} over axes {operation.axis}")
    return Elementwise(mixes=axis)


@register(nn.OneHot, nn.MultiHot)
def _(operation: Any) -> Rule:
    return Pin("the number of its classes is fixed")


# ---- products ------------------------------------------------------------------------------------

register(numpy.Matmul)(lambda operation: Contract(("...ij", "...jk"), "...ik"))
register(numpy.Dot)(lambda operation: Contract(("...i", "ij"), "...j"))


@register(nn.DotProductAttention)
def _(operation: Any) -> Rule:
    # JAX computes it only where keys and values are of one size.
    sizes = "hv" if keras.backend.backend() == "jax" else ""
    return Contract(
        ("bqnh", "bknh", "bknv"), "bqnv", products=("bqknh", "bqknv"), fixed=f"k{sizes}"
    )


@register(numpy.Einsum)
def _(operation: Any) -> Rule:
    inputs, _, output = operation.subscripts.replace(" ", "").partition("->")
    return Contract(tuple(inputs.split(",")), output)


@register(numpy.Tensordot)
def _(operation: Any) -> Rule:
    if operation.axes in (1, [[-1], [0]], ((-1,), (0,)), [-1, 0], (-1, 0)):
        return Contract(("...i", "ij"), "...j")
    return Pin(f"tensordot over axes {operation.axes}")


@register(nn.Conv)
def _(operation: Any) -> Rule:
    return _convolved(operation, "xyio", "o")


@register(nn.DepthwiseConv)
def _(operation: Any) -> Rule:
    return _convolved(operation, "xyim", "i")


def _convolved(operation: Any, kernel: str, output: str) -> Rule:
    """Return the rule of a convolution of images with a weight of one's own."""
    if operation.data_format == "channels_first":
        return Pin("a convolution with the channels first")
    return Contract(("bhwi", kernel), f"bHW{output}", products=(f"bHW{kernel}",), fixed="hwxym")
