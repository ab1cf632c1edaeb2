"""Run a traced model one call at a time, and look at the tensors in between."""

from __future__ import annotations

from collections import Counter
from inspect import signature
from typing import Any

import keras
import numpy as np
from keras import tree

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

    def run(self, call: Call, operation: Any = None) -> np.ndarray:
        """Return the first output of a call, or of another operation in its place; keep nothing."""
        return self._run(call, operation or call.operation)[0]

    def step(self, call: Call) -> None:
        """Run a call, keep its outputs and let go of what no later call reads."""
        for index, array in zip(call.outputs, self._run(call, call.operation), strict=True):
            self.tensors[index] = array
        for index in self._left.keys() & set(call.inputs):
            self._left[index] -= call.inputs.count(index)
            if not self._left[index]:
                self.tensors.pop(index, None)

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

    def _run(self, call: Call, operation: Any) -> list[np.ndarray]:
        pieces = []
        for start in range(0, self.rows, self._chunk):

            def piece(value: Value, start: int = start) -> Any:
                if value.index in self.graph.constants:
                    return self.graph.constants[value.index]
                rows = self.tensors[value.index]
                if self._chunk < self.rows:
                    rows = rows[start : start + CHUNK]
                return keras.ops.convert_to_tensor(rows)

            args, kwargs = mapped(piece, call.args), mapped(piece, call.kwargs)
            if _minds_training(operation):
                kwargs = {**kwargs, "training": False}
            runs = _for_batch(call, operation, min(self._chunk, self.rows - start))
            pieces.append([to_numpy(out) for out in tree.flatten(runs(*args, **kwargs))])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


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
