"""The fake-quantized model: a Keras model in float32 that rounds where the int8 file rounds.

Where it agrees with the model, quantization is safe; where a file agrees with it, the file carries
the ranges that were judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur.errors import ModelError
from secateur.formats.calls import functional, relaid
from secateur.formats.grids import Grid, Quantization

# The layers whose products with a dynamically quantized input the file computes in integers. In
# others that hold such layers (MultiHeadAttention, TimeDistributed) inputs are not to be got at.
_DYNAMIC = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.LSTM)


class FixedQuantizer(keras.layers.Layer):
    """Round a tensor to a grid that stays as it is; gradients pass straight through inside it."""

    def __init__(self, grid: Grid | dict[str, Any], **options: Any):
        super().__init__(**options)
        self.grid = grid if isinstance(grid, Grid) else Grid.model_validate(grid)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Return the nearest values of the grid."""
        steps = self.grid.steps(tuple(n or 1 for n in inputs.shape))
        return rounded(inputs, steps, self.grid.zero[0], self.grid.low, self.grid.high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes a layer like it."""
        return {**super().get_config(), "grid": self.grid.model_dump(mode="json")}


class DynamicQuantizer(keras.layers.Layer):
    """Round a tensor to 256 steps from its own smallest to its own largest value.

    All rows of the call share the range, as in the operator DynamicQuantizeLinear of ONNX.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Return the nearest values of the grid."""
        low: Any = ops.minimum(ops.min(inputs), 0.0)
        high: Any = ops.maximum(ops.max(inputs), 0.0)
        step = ops.maximum((high - low) / 255.0, 1e-30)
        zero = ops.clip(ops.round(-low / step), 0.0, 255.0)
        return rounded(inputs, ops.stop_gradient(step), ops.stop_gradient(zero), 0, 255)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape


def rounded(x: Any, step: Any, zero: Any, low: int, high: int) -> Any:
    """Return x on a grid; its gradient is 1 inside the range and 0 outside (straight through).

    Gradients reach `step` and `zero` as well, where they are variables: those of "Learned Step Size
    Quantization" (Esser et al. 2020) and, for `zero`, of "LSQ+" (Bhalgat et al. 2020).
    """
    codes = ops.clip(through(ops.round, ops.divide(x, step)) + zero, low, high)
    return ops.multiply(codes - zero, step)


def through(function: Callable[[Any], Any], x: Any) -> Any:
    """Return `function(x)` with the gradient of x."""
    return x + ops.stop_gradient(function(x) - x)


def fake_quantized(
    model: keras.Model,
    quantization: Quantization,
    *,
    quantizer: Callable[..., keras.layers.Layer] = FixedQuantizer,
) -> keras.Model:
    """Return a model that computes in float32 what the int8 file computes in integers.

    Args:
        model: the model of the quantization's result; it is untouched.
        quantization: the grids.
        quantizer: makes the layer that rounds a tensor, from `grid` and `name`.

    Raises:
        ModelError: the quantization belongs to another model.
    """
    model = functional(model)
    check_fits(model, quantization)
    twins: dict[str, Any] = {}

    def round_(key: str, tensor: Any) -> Any:
        grid = quantization.activations.get(key)
        if grid is None:
            return tensor
        return quantizer(grid=grid, name=f"rounded_{_plain(key)}")(tensor)

    def call(key: str, operation: Any, args: Any, kwargs: Any) -> Any:
        if operation.name not in twins:
            twins[operation.name] = type(operation).from_config(operation.get_config())
        if quantization.mode == "dynamic" and _multiplied(operation, quantization):
            args = (DynamicQuantizer(name=f"rounded_for_{_plain(key)}")(args[0]), *args[1:])
        outputs = twins[operation.name](*args, **kwargs)
        if isinstance(outputs, keras.KerasTensor):
            return round_(key, outputs)
        return outputs

    made = relaid(model, call, round_, name=f"{model.name}_int8")
    for layer in model.layers:
        for source, target in zip(layer.weights, made.get_layer(layer.name).weights, strict=True):
            grid = quantization.weights.get(source.path)
            value = np.asarray(ops.convert_to_numpy(source))
            target.assign(value if grid is None else grid.rounded(value))
        _settle(made.get_layer(layer.name))
    return made


def check_fits(model: Any, quantization: Quantization) -> None:
    """Refuse a quantization that names what the model does not have.

    Raises:
        ModelError: it does.
    """
    paths = {weight.path for weight in model.weights}
    names = {operation.name for operation in functional(model).operations}
    lacking = [path for path in quantization.weights if path not in paths]
    lacking += [
        key
        for key in quantization.activations
        if key.partition("#")[0].partition(":")[0] not in names
    ]
    if lacking:
        raise ModelError(
            f"the quantization is of another model: this one has no {lacking[0]!r}.",
            where=model.name,
            mend="Give the model of the Result that the quantization came with.",
        )


def multiplied(model: Any, quantization: Quantization) -> frozenset[str]:
    """Return the paths of the weights that dynamic quantization multiplies in integers."""
    operations = functional(model).operations
    return frozenset(path for each in operations for path in _multiplied(each, quantization))


def multiplied_in(operation: Any) -> bool:
    """Say whether dynamic quantization multiplies the kernels of an operation in integers."""
    # Both directions read the same input, and so find the same range.
    both = isinstance(operation, keras.layers.Bidirectional)
    return isinstance(operation.forward_layer if both else operation, _DYNAMIC)


def _multiplied(operation: Any, quantization: Quantization) -> list[str]:
    if not multiplied_in(operation):
        return []
    return [each.path for each in operation.weights if each.path in quantization.weights]


def _settle(layer: Any) -> None:
    for each in layer._flatten_layers():
        if isinstance(each, keras.layers.Normalization):
            each.finalize_state()


def _plain(key: str) -> str:
    return key.replace("#", "_call").replace(":", "_output")
