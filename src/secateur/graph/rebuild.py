"""A model again, with only the units that are kept: smaller configs and smaller weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import ModelError
from secateur.graph.functional import functional_of, is_nested
from secateur.graph.graph import Graph, kept_shape
from secateur.graph.rule import Flow, Move
from secateur.graph.sweep import Call
from secateur.graph.weights import to_numpy


def rebuild(graph: Graph, keep: np.ndarray) -> keras.Model:
    """Return a new model without the units that are not kept; the traced one is untouched.

    Args:
        graph: a traced model.
        keep: for each unit of the graph, whether it stays.

    Returns:
        An ordinary Keras model of stock layers with the names of the old ones.
    """
    builder = _Builder(graph, keep)
    model = builder.model(graph.model, ())
    axes = {id(graph.variables[key]): weight.axes for key, weight in graph.weights.items()}
    for old, new in builder.pairs:
        for source, target in zip(old.weights, new.weights, strict=True):
            target.assign(kept_values(to_numpy(source), axes[id(source)], keep))
    return model


def kept_values(value: np.ndarray, axes: Any, keep: np.ndarray) -> np.ndarray:
    """Return an array without the positions of units that are not kept."""
    for axis, ids in enumerate(axes):
        if ids is not None and not keep[ids].all():
            value = np.compress(keep[ids], value, axis=axis)
    return value


@dataclass
class _Builder:
    graph: Graph
    keep: np.ndarray
    made: dict[int, Any] = field(default_factory=dict)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls: Mapping[str, Call] = {call.path: call for call in self.graph.calls}

    def model(self, old: Any, scope: tuple[str, ...], shapes: list | None = None) -> Any:
        """Rebuild a model, or a model nested in it whose inputs have the given shapes."""
        functional = functional_of(old)
        shapes = shapes or [tensor.shape for tensor in functional.inputs]
        flat = [
            keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)
            for tensor, shape in zip(functional.inputs, shapes, strict=True)
        ]
        inputs = tree.pack_sequence_as(functional.input, flat)
        if isinstance(old, keras.Sequential):
            return self._sequential(old, flat[0], scope)
        outputs = functional._run_through_graph(
            inputs,
            call_fn=lambda operation, *args, **kwargs: self._call(scope, operation, args, kwargs),
        )
        return keras.Model(inputs, outputs, name=old.name)

    def _sequential(self, old: keras.Sequential, tensor: Any, scope: tuple[str, ...]) -> Any:
        new = keras.Sequential([tensor], name=old.name)
        shape = tensor.shape
        for layer in old.layers:
            new.add(self._operation((*scope, layer.name), layer, [shape]))
            shape = new.output_shape
        return new

    def _call(self, scope: tuple[str, ...], operation: Any, args: Any, kwargs: Any) -> Any:
        tensors = [t for t in tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
        shapes = [tensor.shape for tensor in tensors]
        return self._operation((*scope, operation.name), operation, shapes)(*args, **kwargs)

    def _operation(self, path: tuple[str, ...], old: Any, shapes: list) -> Any:
        if id(old) not in self.made:
            if is_nested(old):
                self.made[id(old)] = self.model(old, path, shapes)
            else:
                self.made[id(old)] = self._resized("/".join(path), old)
                if isinstance(old, keras.Layer):
                    self.pairs.append((old, self.made[id(old)]))
        return self.made[id(old)]

    def _resized(self, path: str, old: Any) -> Any:
        call = self.calls[path]
        config = old.get_config()
        rule = call.rule
        old_tensor = self.graph.tensors[call.outputs[0]]
        shape = kept_shape(old_tensor.shape, old_tensor.axes, self.keep)
        if isinstance(rule, Flow) and rule.size:
            config[rule.size] = shape[rule.axis % len(shape)]
        if isinstance(rule, Move) and rule.shape and shape != old_tensor.shape:
            config[rule.shape] = _reshaped(config[rule.shape], shape, rule.batch)
        try:
            return type(old).from_config(config)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ModelError(
                f"{type(old).__name__} cannot be made again from its own config: {error}",
                where=path,
                mend="Give the class a get_config and a from_config that agree.",
            ) from error


def _reshaped(target: Any, shape: tuple[int, ...], batch: bool) -> tuple[int | None, ...]:
    """Write a smaller shape into a reshape's target, leaving open lengths open."""
    concrete = shape if batch else shape[1:]
    pairs = zip(target, concrete, strict=True)
    return tuple(old if old in (-1, None) else new for old, new in pairs)
