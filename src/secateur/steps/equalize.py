"""Weights made easier to round, and what rounding shifts put right, without training.

Both are from "Data-Free Quantization Through Weight Equalization and Bias Correction" (Nagel et al.
2019). The functions here change the model they are given, which is a copy made by `fold`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import layers

from secateur.formats.calls import Use
from secateur.graph.weights import to_numpy
from secateur.steps.regions import KERNELS

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
# What treats channels apart, and gives twice as much for twice as much.
_SCALABLE = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Dropout,
)
# Ranges are even after few rounds; each carries a change one layer on.
_ROUNDS = 8


def equalize(found: list[Use], ends: tuple[str, ...]) -> int:
    """Even out the ranges of the channels between layers, the outputs staying the same.

    A channel between two layers may be scaled down in the one and up in the other where nothing
    but a ReLU and pooling lies between.

    Args:
        found: the calls of the model.
        ends: the names of its outputs.

    Returns:
        How many pairs of layers were equalized.
    """
    pairs = _pairs(found, ends)
    for _ in range(_ROUNDS):
        one: Any
        for one, other in pairs:
            first, second = to_numpy(one.kernel), to_numpy(other.kernel)
            out, into = _axis_out(one), _axis_in(other)
            sizes = [_sizes(first, out), _sizes(second, into)]
            with np.errstate(all="ignore"):
                factor = np.sqrt(sizes[0] / sizes[1])
            factor = np.where(np.isfinite(factor) & (factor > 0), factor, 1.0)
            if one.bias is not None:
                factor = np.maximum(factor, _least(to_numpy(one.bias)))
            one.kernel.assign(first / _along(factor, first.ndim, out))
            other.kernel.assign(second * _along(factor, second.ndim, into))
            if one.bias is not None:
                one.bias.assign(to_numpy(one.bias) / factor)
    return len(pairs)


def _least(bias: np.ndarray) -> np.ndarray:
    """Return the factors below which a bias would be larger than all were.

    A channel that is nearly dead is hardly more than its bias. Were its kernel brought to the size
    of the others, that bias would take up the range of the whole tensor.
    """
    sizes = np.abs(bias)
    return sizes / max(float(sizes.max(initial=0.0)), 1e-30)


def correct_bias(layer: Any, error: np.ndarray, means: list[np.ndarray]) -> bool:
    """Take out of a layer's bias what rounding its kernel adds to its outputs on average.

    Args:
        layer: a layer of `KERNELS`.
        error: the rounded kernel less the kernel.
        means: the mean of each channel of its input, at each of its calls.

    Returns:
        Whether it has a bias, and channels that can be told apart.
    """
    if layer.bias is None or getattr(layer, "data_format", None) == "channels_first":
        return False
    mean = np.mean(means, axis=0)
    taps = error.reshape(-1, *error.shape[-2:]).sum(0)
    if np.shape(mean) != taps.shape[:1]:
        return False
    shift = (mean[:, None] * taps).ravel() if isinstance(layer, _DEPTHWISE) else mean @ taps
    layer.bias.assign(to_numpy(layer.bias) - shift)
    return True


def _pairs(found: list[Use], ends: tuple[str, ...]) -> list[tuple[Any, Any]]:
    turns = Counter(use.operation.name for use in found)
    readers: Mapping[str, list[Use]] = defaultdict(list)
    for use in found:
        for key in use.inputs:
            readers[key].append(use)
    pairs = []
    for use in found:
        one = use.operation
        if not _can_scale(one, turns) or not _is_scalable(one.activation):
            continue
        key = use.key
        while len(readers[key]) == 1 and key not in ends:
            after = readers[key][0]
            if _passes(after.operation):
                key = after.key
                continue
            if _can_scale(after.operation, turns) and _channels(one) == _channels_in(
                after.operation
            ):
                pairs.append((one, after.operation))
            break
    return pairs


def _can_scale(layer: Any, turns: Counter[str]) -> bool:
    if type(layer) not in KERNELS or turns[layer.name] != 1:
        return False
    if isinstance(layer, _DEPTHWISE):
        return layer.depth_multiplier == 1
    return getattr(layer, "groups", 1) == 1


def _passes(operation: Any) -> bool:
    if isinstance(operation, layers.ReLU):
        return operation.max_value is None and not operation.threshold
    if isinstance(operation, layers.Activation):
        return _is_scalable(operation.activation)
    return isinstance(operation, _SCALABLE)


def _is_scalable(activation: Any) -> bool:
    return getattr(activation, "__name__", "") in ("linear", "relu")


def _axis_out(layer: Any) -> int:
    return to_numpy(layer.kernel).ndim - (2 if isinstance(layer, _DEPTHWISE) else 1)


def _axis_in(layer: Any) -> int:
    return to_numpy(layer.kernel).ndim - 2


def _channels(layer: Any) -> int:
    return layer.kernel.shape[_axis_out(layer)]


def _channels_in(layer: Any) -> int:
    return layer.kernel.shape[_axis_in(layer)]


def _sizes(kernel: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(kernel).max(axis=tuple(k for k in range(kernel.ndim) if k != axis))


def _along(factor: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return factor.reshape([-1 if k == axis else 1 for k in range(rank)])
