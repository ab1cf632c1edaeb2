"""An ONNX graph that is being changed, and weights found in it by their numbers.

A weight is known in the graph by its values, whatever order of axes the translation gave it: the
numbers of a rounded weight are a fingerprint of it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from secateur.formats.grids import Grid

# The operators of ONNX Runtime that ONNX itself does not have.
DOMAIN = "com.microsoft"


@dataclass
class Weight:
    """A weight on its grid.

    Args:
        values: the numbers, on the grid.
        grid: the grid.
        found: whether the graph holds it in integers by now.
    """

    values: np.ndarray
    grid: Grid
    found: bool = False

    @classmethod
    def of(cls, values: np.ndarray, grid: Grid) -> Weight:
        """Return a weight rounded to a grid."""
        return cls(grid.rounded(values), grid)

    @property
    def key(self) -> bytes:
        """A fingerprint of its numbers in any order."""
        return fingerprint(self.values)

    def laid_out(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray, int | None] | None:
        """Return codes, steps and the axis of the steps for the same numbers in another order."""
        steps = np.broadcast_to(self.grid.steps(self.values.shape), self.values.shape)
        order, other = (np.argsort(x.ravel(), kind="stable") for x in (self.values, array))
        here = np.empty(array.size, np.float32)
        here[other] = steps.ravel()[order]
        # A zero is on every grid, so it tells nothing of its own.
        told = np.where(array.ravel() == 0, np.nan, here).reshape(array.shape)
        for axis in (None, *range(array.ndim)):
            others = tuple(k for k in range(array.ndim) if k != axis)
            with np.errstate(all="ignore"):
                lines = np.moveaxis(told, axis or 0, 0).reshape(told.shape[axis or 0], -1)
                each = _median(lines if axis is not None else lines.reshape(1, -1))
            shape = [1 if k in others else n for k, n in enumerate(array.shape)]
            codes = array / (each.reshape(shape) if axis is not None else each[0])
            if np.abs(codes - np.round(codes)).max(initial=0) < 1e-2 and (
                np.abs(codes).max(initial=0) < self.grid.high + 0.5
            ):
                return np.round(codes).astype(np.int8), each, axis
        return None


class Graph:
    """An ONNX graph that is being changed."""

    def __init__(self, model: onnx.ModelProto):
        self.model = model
        self.nodes = list(model.graph.node)
        self.arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        self._count = 0
        self._held: dict[tuple[Any, ...], str] = {}

    def add(self, kind: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        out = self.fresh(kind)
        self.nodes.append(
            helper.make_node(kind, inputs, [out], name=out, domain=domain, **attributes)
        )
        return out

    def array(self, values: np.ndarray, kind: str) -> str:
        """Add an initializer and return its name."""
        # A step of a whole tensor must stay without axes, or operators are not fused.
        values = np.array(values, order="C")
        content = (str(values.dtype), values.shape, values.tobytes())
        if content not in self._held:
            self._held[content] = self.fresh(kind)
            self.arrays[self._held[content]] = values
        return self._held[content]

    def fresh(self, kind: str) -> str:
        """Return a name that is not taken."""
        self._count += 1
        return f"int8_{kind}_{self._count}"

    def makers(self) -> dict[str, Any]:
        """Return the node that makes each tensor."""
        return {out: node for node in self.nodes for out in node.output}

    def readers(self) -> dict[str, list[Any]]:
        """Return the nodes that read each tensor."""
        found = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    def redirect(self, name: str, other: str) -> None:
        """Have every node, those of inner graphs too, read another tensor in place of one."""
        for node in self.nodes:
            _redirect(node, name, other)

    def finish(self) -> onnx.ModelProto:
        """Return the model: its nodes in order, unused arrays dropped, tensors numbered."""
        graph = self.model.graph
        ordered = _ordered(self.nodes, [*self.arrays, *(each.name for each in graph.input)])
        used = {name for node in ordered for name in (*node.input, *_inner(node))}
        used |= {each.name for each in graph.output}
        del graph.node[:]
        graph.node.extend(ordered)
        kept = [numpy_helper.from_array(self.arrays[n], n) for n in self.arrays if n in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]
        if any(node.domain == DOMAIN for node in ordered) and not any(
            each.domain == DOMAIN for each in self.model.opset_import
        ):
            self.model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        ends = ["", *(each.name for each in (*graph.input, *graph.output))]
        prefix = "t"
        while any(name.startswith(prefix) for name in ends):
            prefix += "_"
        _number(graph, {name: name for name in ends}, prefix)
        return self.model


def fingerprint(array: np.ndarray) -> bytes:
    """Return what tells the numbers of an array from others, in whatever order they are."""
    if array.dtype != np.float32:
        return b""
    return hashlib.sha256(np.sort(array.ravel() + np.float32(0)).tobytes()).digest()


def _median(lines: np.ndarray) -> np.ndarray:
    """Return the most usual number of each line, 1 where there is none."""
    found = np.ones(len(lines), np.float32)
    for index, line in enumerate(lines):
        told = np.sort(line[~np.isnan(line)])
        if len(told):
            found[index] = told[len(told) // 2]
    return found


def _ordered(nodes: Iterable[Any], known: Iterable[str]) -> list[Any]:
    """Return nodes so that each comes after what it reads."""
    makers = {out: node for node in nodes for out in node.output if out}
    there, done, ordered = set(known), set(), []
    for first in nodes:
        stack = [first]
        while stack:
            node = stack[-1]
            waits = [
                makers[n]
                for n in (*node.input, *_inner(node))
                if n not in there and n in makers and id(makers[n]) not in done
            ]
            if waits:
                stack.extend(waits)
                continue
            stack.pop()
            if id(node) not in done:
                done.add(id(node))
                ordered.append(node)
    return ordered


def _inner(node: Any) -> list[str]:
    """Return what the graphs inside of a node (a loop's body) read."""
    return [name for g in _graphs(node) for n in g.node for name in (*n.input, *_inner(n))]


def _redirect(node: Any, name: str, other: str) -> None:
    for place, read in enumerate(node.input):
        if read == name:
            node.input[place] = other
    for graph in _graphs(node):
        for inner in graph.node:
            _redirect(inner, name, other)


def _graphs(node: Any) -> list[Any]:
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    held = [each for each in node.attribute if each.type in kinds]
    return [graph for each in held for graph in ([each.g] if each.HasField("g") else each.graphs)]


def _number(graph: Any, names: dict[str, str], prefix: str) -> None:
    """Name the tensors of a graph by numbers: their paths in a trace are a tenth of a small file.

    Args:
        graph: the graph, with those inside of its nodes.
        names: the new name of each tensor by its old one, which is added to.
        prefix: what numbers follow; no input or output of the file begins with it.
    """

    def numbered(name: str) -> str:
        return names.setdefault(name, f"{prefix}{len(names)}")

    for each in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        each.name = numbered(each.name)
    for node in graph.node:
        for side in (node.input, node.output):
            side[:] = [numbered(name) for name in side]
        for inner in _graphs(node):
            _number(inner, names, prefix)
