"""Batch normalization folded into the layer before it, nested models laid out in one graph.

The result computes the same at inference, in stock layers that a quantizer can see: a kernel, its
bias, and the activation behind it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.formats.calls import Use, relaid, uses
from secateur.graph.configs import made_again
from secateur.graph.functional import functional_of, is_nested, laid_out
from secateur.graph.weights import paired, settle, to_numpy
from secateur.steps.result import Note

# For each kind of layer, the weight that has the output channels, and the axes they lie along.
_KERNELS: dict[type, tuple[str, tuple[int, ...]]] = {
    layers.Dense: ("kernel", (-1,)),
    layers.Conv1D: ("kernel", (-1,)),
    layers.Conv2D: ("kernel", (-1,)),
    layers.Conv3D: ("kernel", (-1,)),
    layers.Conv1DTranspose: ("kernel", (-2,)),
    layers.Conv2DTranspose: ("kernel", (-2,)),
    layers.Conv3DTranspose: ("kernel", (-2,)),
    layers.DepthwiseConv1D: ("kernel", (-2, -1)),
    layers.DepthwiseConv2D: ("kernel", (-2, -1)),
    layers.SeparableConv1D: ("pointwise_kernel", (-1,)),
    layers.SeparableConv2D: ("pointwise_kernel", (-1,)),
}
# Activations that the integer operators of the runtimes have in themselves.
FUSED = ("linear", "relu", "relu6")


@dataclass(frozen=True)
class Folded:
    """A model without the batch normalizations that could be folded.

    Args:
        model: a functional model with no other functional model in it.
        notes: what was folded, and what was not and why.
    """

    model: keras.Model
    notes: tuple[Note, ...]


def fold(model: keras.Model) -> Folded:
    """Return a model that computes the same, its batch normalizations folded where they can be.

    Folded is what follows a Dense or convolution layer that nothing else reads; activations that
    no integer operator has in itself become layers of their own.

    Args:
        model: a built functional or Sequential model, or a subclassed one of such layers; it is
            untouched.

    Raises:
        ModelError: the model has no functional graph, or a layer cannot be made again.
    """
    flat = flattened(model)
    found, ends = uses(flat)
    into, notes = _foldable(found, ends)
    gone = {norm.name for norm in into.values()}
    made: dict[str, Any] = {}
    tails: dict[str, Any] = {}
    names = {each.operation.name for each in found}

    def call(key: str, operation: Any, args: Any, kwargs: Any) -> Any:
        name = operation.name
        if name in gone:
            return args[0]
        if name not in made:
            config = operation.get_config()
            tail = _tail(operation)
            if name in into:
                config["use_bias"] = True
            if tail:
                config["activation"] = "linear"
                tails[name] = layers.Activation(tail, name=_free(f"{name}_activation", names))
            made[name] = made_again(operation, config, key)
        outputs = made[name](*args, **kwargs)
        return tails[name](outputs) if name in tails else outputs

    folded = relaid(flat, call)
    for use in found:
        old, new = use.operation, made.get(use.operation.name)
        if not isinstance(old, keras.Layer) or new is None:
            continue
        if old.name in into:
            _fill(old, into[old.name], new)
        else:
            for source, target in paired(old, new):
                target.assign(to_numpy(source))
            settle(old, new)
    return Folded(folded, tuple(notes))


def flattened(model: keras.Model) -> keras.Model:
    """Return the same model as one graph, without functional models in it.

    Raises:
        ModelError: the model has no functional graph, or a layer cannot be made again.
    """
    model = functional_of(laid_out(model))
    names: set[str] = {x.name for x in model.inputs}
    made: dict[int, Any] = {}
    pairs: list[tuple[Any, Any]] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if is_nested(operation):
            inner: Any = functional_of(operation)
            return inner._run_through_graph(args[0], call_fn=call)
        if id(operation) not in made:
            name = _free(operation.name, names)
            config = {**operation.get_config(), "name": name}
            made[id(operation)] = made_again(operation, config, name)
            pairs.append((operation, made[id(operation)]))
        return made[id(operation)](*args, **kwargs)

    flat = relaid(model, lambda _, operation, args, kwargs: call(operation, *args, **kwargs))
    for old, new in pairs:
        if isinstance(old, keras.Layer):
            for source, target in paired(old, new):
                target.assign(to_numpy(source))
            settle(old, new)
    return flat


def _foldable(
    found: list[Use], ends: tuple[str, ...]
) -> tuple[dict[str, layers.BatchNormalization], list[Note]]:
    """Return the normalization to fold by the name of the layer before it, and the notes."""
    by_key = {use.key: use for use in found}
    calls: dict[str, list[Use]] = defaultdict(list)
    readers: dict[str, list[Use]] = defaultdict(list)
    for use in found:
        calls[use.operation.name].append(use)
        for key in use.inputs:
            readers[key].append(use)
    into: dict[str, layers.BatchNormalization] = {}
    notes = []
    for name, turns in calls.items():
        norm = turns[0].operation
        if not isinstance(norm, layers.BatchNormalization):
            continue
        why, before = _obstacle(norm, turns, by_key, calls, readers, ends)
        if why or before is None:
            notes.append(Note("fold", "skipped", f"batch normalization stays: {why}", name))
        else:
            into[before.name] = norm
            notes.append(Note("fold", "done", f"folded into {before.name}", name))
    return into, notes


def _obstacle(
    norm: Any,
    turns: list[Use],
    by_key: Mapping[str, Use],
    calls: Mapping[str, list[Use]],
    readers: Mapping[str, list[Use]],
    ends: tuple[str, ...],
) -> tuple[str, Any]:
    """Return why a normalization cannot be folded, and else the layer it can be folded into."""
    before = {by_key[key].operation.name for use in turns for key in use.inputs if key in by_key}
    inputs = [key for use in turns for key in use.inputs]
    if len(before) != 1 or any(key not in by_key for key in inputs):
        return "it follows an input, or more than one layer", None
    layer = by_key[inputs[0]].operation
    if type(layer) not in _KERNELS:
        return f"it follows {layer.name}, a {type(layer).__name__}", None
    if getattr(layer.activation, "__name__", "") != "linear":
        return f"{layer.name} has an activation of its own before it", None
    outputs = [use.key for use in calls[layer.name]]
    read = [use for key in outputs for use in readers[key]]
    if any(key in ends for key in outputs) or any(use.operation is not norm for use in read):
        return f"something else reads {layer.name} too", None
    if sorted(outputs) != sorted(inputs):
        return f"{layer.name} is called elsewhere too", None
    channels_last = getattr(layer, "data_format", None) in (None, "channels_last")
    rank = len(by_key[inputs[0]].operation.output.shape) if len(outputs) == 1 else None
    axis = norm.axis if isinstance(norm.axis, int) else None
    if not channels_last or axis is None or (axis != -1 and axis + 1 != rank):
        return "it normalizes another axis than the last", None
    return "", layer


def _fill(old: Any, norm: Any, new: Any) -> None:
    """Give a layer made again the old one's weights times what the normalization does to them."""
    name, axes = _KERNELS[type(old)]
    mean, variance = (
        to_numpy(x).astype(np.float64) for x in (norm.moving_mean, norm.moving_variance)
    )
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * to_numpy(norm.gamma)
    shift = to_numpy(old.bias).astype(np.float64) if old.use_bias else np.zeros_like(mean)
    shift = (shift - mean) * factor
    if norm.center:
        shift = shift + to_numpy(norm.beta)
    kernel = to_numpy(getattr(old, name)).astype(np.float64)
    shape = [n if k - kernel.ndim in axes else 1 for k, n in enumerate(kernel.shape)]
    olds = [weight for weight in old.weights if weight is not old.bias]
    news = [weight for weight in new.weights if weight is not new.bias]
    for source, target in zip(olds, news, strict=True):
        target.assign(to_numpy(source))
    getattr(new, name).assign((kernel * factor.reshape(shape)).astype(np.float32))
    new.bias.assign(shift.astype(np.float32))


def _tail(operation: Any) -> Any:
    """Return the activation of a kernel layer that has to become a layer of its own, if so."""
    activation: Callable[..., Any] | None = getattr(operation, "activation", None)
    if type(operation) not in _KERNELS or activation is None:
        return None
    if getattr(activation, "__name__", "") in FUSED:
        return None
    return operation.get_config()["activation"]


def _free(name: str, names: set[str]) -> str:
    """Return a name that is not taken yet, and take it."""
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name}_{number}"
    names.add(free)
    return free
