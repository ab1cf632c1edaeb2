"""Quantization layers that learn their steps while a model trains.

"Learned Step Size Quantization" (Esser et al. 2020): rounding passes gradients straight through,
and the step has a gradient of its own, made smaller the more numbers share it. A step is held by
its logarithm: so it stays positive, and an optimizer that evens gradients out (Adam) moves a
small step as gently as a large one.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur.formats.fake import rounded, through
from secateur.formats.grids import Grid
from secateur.graph.weights import to_numpy


class LearnedQuantizer(keras.layers.Layer):
    """Round a tensor to a grid whose step, and zero where it is unsigned, are learned.

    Args:
        grid: where to start, as `Grid`, or its fields; `start` gives it from values, as in the
            paper.
    """

    def __init__(self, grid: Grid | dict[str, Any], **options: Any):
        super().__init__(**options)
        self._start = grid if isinstance(grid, Grid) else Grid.model_validate(grid)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make the variables.

        Args:
            input_shape: the shape of the weight, or of the activation with its rows.
        """
        grid = self._start
        shape = tuple(n or 1 for n in input_shape)
        steps = grid.steps(shape)
        # A weight's numbers are counted by the channel, an activation's by the row.
        numbers = math.prod(shape) / steps.size if grid.signed else math.prod(shape[1:])
        self._share = 1 / math.sqrt(max(numbers, 1) * grid.high)
        self._log = self.add_weight(
            name="log_step", shape=steps.shape, initializer="zeros", trainable=True
        )
        self._log.assign(np.log(steps))
        self._zero = None
        if not grid.signed:
            self._zero = self.add_weight(name="zero", shape=(), initializer="zeros")
            self._zero.assign(float(grid.zero[0]))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the nearest values of the grid as it is now."""
        grid = self._start
        step = ops.exp(_slowed(self._log, self._share))
        zero: Any = 0.0
        if self._zero is not None:
            zero = through(ops.round, ops.clip(self._zero, grid.low, grid.high))
        return rounded(inputs, step, zero, grid.low, grid.high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    @property
    def grid(self) -> Grid:
        """The grid as it is now."""
        if not self.built:
            return self._start
        changes: dict[str, Any] = {"scale": tuple(np.exp(to_numpy(self._log)).ravel().tolist())}
        if self._zero is not None:
            zero = np.clip(np.round(to_numpy(self._zero)), self._start.low, self._start.high)
            changes["zero"] = (int(zero),)
        return self._start.model_copy(update=changes)

    def get_config(self) -> dict[str, Any]:
        """Return what makes a layer like it."""
        return {**super().get_config(), "grid": self.grid.model_dump(mode="json")}


class QuantizedKernel(keras.layers.Layer):
    """A layer with one kernel, called with that kernel rounded by a quantizer that learns.

    Args:
        layer: a Dense or convolution layer, or its serialized form.
        grid: where the quantizer of the kernel starts.
    """

    def __init__(self, layer: Any, grid: Grid | dict[str, Any], **options: Any):
        super().__init__(**options)
        self.layer = (
            keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else (layer)
        )
        self.quantizer = LearnedQuantizer(grid, name="quantizer")
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Build both."""
        if not self.layer.built:
            self.layer.build(input_shape)
        self.quantizer.build(self.layer.kernel.shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return what the layer gives with its kernel rounded."""
        kernel = self.layer.kernel
        # What the layer reads as its kernel is another tensor inside the scope. The scope hides
        # one that may be around it, so it has to hand on all other variables as well.
        others = [(v, v.value) for v in self.layer.variables if v is not kernel]
        rounded_kernel = self.quantizer(keras.ops.convert_to_tensor(kernel))
        with keras.StatelessScope(state_mapping=[*others, (kernel, rounded_kernel)]):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape that the layer gives."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what makes a layer like it."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "grid": self.quantizer.grid.model_dump()}


def start(
    values: np.ndarray, *, signed: bool = True, axes: tuple[int, ...] = (), bits: int = 8
) -> Grid:
    """Return the grid at which the paper starts: steps of twice the mean size by the root of q.

    Args:
        values: a weight, or a batch of activations.
        signed: whether values go below zero.
        axes: the axes along which each position has a step of its own.
        bits: how many bits a value has.
    """
    most = 2 ** (bits - signed) - 1
    others = tuple(k for k in range(values.ndim) if k not in axes)
    steps = 2 * np.abs(values).mean(axis=others) / math.sqrt(most)
    steps = np.where(steps > 0, steps, 1.0).astype(np.float32)
    return Grid(bits=bits, signed=signed, scale=tuple(steps.ravel().tolist()), axes=axes)


def _slowed(x: Any, share: float) -> Any:
    """Return x, with a share of its gradient."""
    return x * share + ops.stop_gradient(x * (1 - share))
