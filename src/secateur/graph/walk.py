"""Run a traced model one call at a time, and look at the tensors in between.

What Keras masks (the padded steps of a sequence) stays masked on the way, as it does in the model.
"""

from __future__ import annotations

from collections import Counter
from inspect import signature
from typing import Any

import keras
import numpy as np
from keras import tree
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

from secateur.graph.functional import functional_of
from secateur.graph.given import arrays_of
from secateur.graph.graph import Graph
from secateur.graph.rule import Move
from secateur.graph.sweep import Call, Value, mapped
from secateur.graph.weights import to_numpy

CHUNK = 64


class Walk:
    """Runs a graph's calls one by one on data and holds the tensors that are still to be read."""

    def __init__(self, graph: Graph, x: Any):
        self.graph = graph
        self.tensors: dict[int, np.ndarray] = {}
        # Where a tensor is masked: booleans over its first axes, of what counts.
        self.masks: dict[int, np.ndarray] = {}
        read = (index for call in graph.calls for index in call.inputs)
        self._left = Counter(index for index in read if index not in graph.constants)
        arrays = flat_inputs(graph.model, x)
        self.rows = len(arrays[0])
        # Where rows are folded into other axes, no piece of a tensor belongs to some rows.
        made = [index for call in graph.calls for index in call.outputs]
        folded = any(graph.tensors[index].shape[:1] > (1,) for index in made)
        self._chunk = self.rows if folded else CHUNK
        for index, array in enumerate(arrays):
            self.tensors[index] = array

    def inputs(self, call: Call) -> list[np.ndarray]:
        """Return the tensors that a call is about to read."""
        return [self.tensors[index] for index in call.inputs]

    def live(self, index: int, axes: tuple[int, ...] = ()) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return a tensor without what is masked in it, and where some of its axes are then.

        The axes that a mask is over become one. A tensor comes whole where all of it counts, or
        where one of the given axes is among those.
        """
        array, mask = self.tensors[index], self.masks.get(index)
        if mask is None or mask.all() or not mask.any() or array.shape[: mask.ndim] != mask.shape:
            return array, axes
        if any(axis < mask.ndim for axis in axes):
            return array, axes
        return array[mask], tuple(axis - mask.ndim + 1 for axis in axes)

    def run(self, call: Call, operation: Any = None) -> np.ndarray:
        """Return the first output of a call, or of another operation in its place; keep nothing."""
        return self._run(call, operation or call.operation)[0][0]

    def step(self, call: Call) -> None:
        """Run a call, keep its outputs and let go of what no later call reads."""
        made = self._run(call, call.operation)
        for index, (array, mask) in zip(call.outputs, made, strict=True):
            self.tensors[index] = array
            if mask is not None:
                self.masks[index] = mask
        for index in self._left.keys() & set(call.inputs):
            self._left[index] -= call.inputs.count(index)
            if not self._left[index]:
                self.tensors.pop(index, None)
                self.masks.pop(index, None)

    def outputs(self, model: keras.Model, x: Any) -> list[np.ndarray]:
        """Return what a model with these inputs gives, as many rows at a time as the walk takes."""
        arrays, pieces = flat_inputs(model, x), []
        for start in range(0, self.rows, self._chunk):
            rows = slice(start, start + self._chunk)
            piece = [keras.ops.convert_to_tensor(array[rows]) for array in arrays]
            packed = tree.pack_sequence_as(functional_of(model).input, piece)
            given = model(packed, training=False)
            pieces.append([to_numpy(each) for each in tree.flatten(given)])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _run(self, call: Call, operation: Any) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return the outputs of an operation, and the mask of each, if it has one."""
        pieces = []
        for start in range(0, self.rows, self._chunk):

            def piece(value: Value, start: int = start) -> Any:
                if value.index in self.graph.constants:
                    return self.graph.constants[value.index]
                rows, mask = self.tensors[value.index], self.masks.get(value.index)
                part = slice(start, start + CHUNK) if self._chunk < self.rows else slice(None)
                tensor = keras.ops.convert_to_tensor(rows[part])
                if mask is not None:
                    set_keras_mask(tensor, keras.ops.convert_to_tensor(mask[part]))
                return tensor

            args, kwargs = mapped(piece, call.args), mapped(piece, call.kwargs)
            if _minds_training(operation):
                kwargs = {**kwargs, "training": False}
            runs = _for_batch(call, operation, min(self._chunk, self.rows - start))
            outs = tree.flatten(runs(*args, **kwargs))
            pieces.append([(out, get_keras_mask(out)) for out in outs])
        return [_whole(parts) for parts in zip(*pieces, strict=True)]


def _whole(parts: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an output and its mask, put together of those of some rows."""
    arrays, masks = zip(*parts, strict=True)
    mask = None
    if all(each is not None for each in masks):
        mask = np.concatenate([to_numpy(each) for each in masks]).astype(bool)
    return np.concatenate([to_numpy(each) for each in arrays]), mask


def _minds_training(operation: Any) -> bool:
    """Say whether an operation has to be told: layers that vary images train unless told."""
    if not isinstance(operation, keras.Layer):
        return False
    return "training" in signature(operation.call).parameters


def _for_batch(call: Call, operation: Any, rows: int) -> Any:
    """Return an operation for as many rows: one inside a layer may have been traced for one row."""
    rule = call.rule
    if not (isinstance(rule, Move) and rule.shape and rule.batch):
        return operation
    config = operation.get_config()
    first, *rest = config[rule.shape]
    if first != 1:
        return operation
    return type(operation).from_config({**config, rule.shape: (rows, *rest)})


def flat_inputs(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Return a model's inputs as a list, in the order of `model.inputs`.

    Raises:
        DataError: the model takes others.
    """
    pairs = zip(arrays_of(model, x), model.inputs, strict=True)
    return [np.asarray(a).astype(object if t.dtype == "string" else t.dtype) for a, t in pairs]
