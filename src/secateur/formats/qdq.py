"""Integers put into an ONNX graph: weights on their grids, and QDQ pairs where operators fuse.

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

# What gives the numbers of its input and no others; a quantized tensor stays one behind it.
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Identity")
_DOMAIN = "com.microsoft"


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

    def finish(self) -> onnx.ModelProto:
        """Return the model, its nodes in order and its unused arrays dropped."""
        graph = self.model.graph
        ordered = _ordered(self.nodes, [*self.arrays, *(each.name for each in graph.input)])
        used = {name for node in ordered for name in node.input}
        used |= {each.name for each in graph.output}
        del graph.node[:]
        graph.node.extend(ordered)
        kept = [numpy_helper.from_array(self.arrays[n], n) for n in self.arrays if n in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]
        if any(node.domain == _DOMAIN for node in ordered) and not any(
            each.domain == _DOMAIN for each in self.model.opset_import
        ):
            self.model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        return self.model


def insert_qdq(graph: Graph, weights: dict[str, Weight], grids: list[Grid]) -> None:
    """Give products of quantized tensors integer kernels and biases.

    Args:
        graph: a graph with QuantizeLinear and DequantizeLinear where tensors are rounded.
        weights: what its kernels may be.
        grids: the grids of its tensors, of which the translation has the ends only.
    """
    _restate(graph, grids)
    _draw_together(graph)
    _drop_clips(graph)
    known = {weight.key: weight for weight in weights.values()}
    ranks = _ranks(graph)
    for node in list(graph.nodes):
        if node.op_type not in ("Conv", "MatMul") or node.input[1] not in graph.arrays:
            continue
        array = graph.arrays[node.input[1]]
        weight = known.get(fingerprint(array))
        source = _quantized_input(graph, node.input[0])
        laid = None if weight is None or source is None else weight.laid_out(array)
        if weight is None or source is None or laid is None:
            continue
        codes, steps, axis = laid
        weight.found = True
        node.input[0] = source.output[0]
        steps = steps if axis is not None else steps[:1]
        where = {} if axis is None else {"axis": axis}
        node.input[1] = _dequantized(graph, codes, steps, where)
        scale = graph.arrays[source.input[1]] * steps
        if node.op_type == "Conv":
            if len(node.input) > 2 and node.input[2] in graph.arrays:
                node.input[2] = _bias(graph, graph.arrays[node.input[2]], scale)
        elif ranks.get(node.output[0]) == 2:
            _with_bias(graph, node, scale)


def pack_weights(graph: Graph, weights: dict[str, Weight]) -> None:
    """Store weights in integers that become float32 when the file is opened.

    A matrix of four bits whose inputs share steps in blocks becomes MatMulNBits.
    """
    known = {weight.key: weight for weight in weights.values() if not weight.found}
    for name, array in list(graph.arrays.items()):
        if array.dtype != np.float32 or array.ndim < 2:
            continue
        parts = [array] if fingerprint(array) in known else list(array)
        found = [known.get(fingerprint(part)) for part in parts]
        if not all(found):
            continue
        weight: Any = found[0]
        if weight.grid.block and _pack_four(graph, name, array, weight):
            weight.found = True
            continue
        stored = [_stored(graph, part, each) for part, each in zip(parts, found, strict=True)]
        made = [each for each in stored if each is not None]
        if len(made) < len(parts):
            continue
        joined = made[0]
        if len(parts) > 1 or parts[0] is not array:
            axis = graph.array(np.array([0], np.int64), "axis")
            each = [graph.add("Unsqueeze", [one, axis]) for one in made]
            joined = graph.add("Concat", each, axis=0)
        for node in graph.nodes:
            for place, read in enumerate(node.input):
                if read == name:
                    node.input[place] = joined
        for each in found:
            if each:
                each.found = True


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


def _restate(graph: Graph, grids: list[Grid]) -> None:
    """Put in the exact steps: the translation has divided the range by their number again."""
    for node in graph.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        del node.attribute[:]
        step, zero = float(graph.arrays[node.input[1]]), int(graph.arrays[node.input[2]])
        alike = [grid for grid in grids if grid.zero[0] == zero] or grids
        best = min(alike, key=lambda grid: abs(grid.scale[0] - step))
        node.input[1] = graph.array(np.array(best.scale[0], np.float32), "step")
        node.input[2] = graph.array(np.array(best.zero[0], np.uint8), "zero")


def _draw_together(graph: Graph) -> None:
    """Bring the rounding of a convolution's output up to it, past what only moves numbers."""
    readers = graph.readers()
    ends = {each.name for each in graph.model.graph.output}
    for conv in [node for node in graph.nodes if node.op_type == "Conv"]:
        chain = [conv]
        while chain[-1].op_type != "QuantizeLinear":
            out = chain[-1].output[0]
            after = readers[out]
            if (
                len(after) != 1
                or out in ends
                or after[0].op_type
                not in (
                    "Squeeze",
                    "Transpose",
                    "Relu",
                    "Clip",
                    "Add",
                    "QuantizeLinear",
                )
            ):
                break
            if after[0].op_type == "Add" and not _takes_bias(graph, chain, after[0]):
                break
            chain.append(after[0])
        moves = [node for node in chain if node.op_type in ("Squeeze", "Transpose")]
        # What follows an addition that the convolution has taken reads what it added to.
        for node in [node for node in chain if node.op_type == "Add"]:
            after = chain[chain.index(node) + 1 :]
            if after:
                after[0].input[0] = chain[chain.index(node) - 1].output[0]
                graph.nodes.remove(node)
                chain.remove(node)
        if chain[-1].op_type != "QuantizeLinear" or not moves:
            continue
        clips = [node for node in chain if node.op_type in ("Relu", "Clip")]
        at = conv.output[0]
        for node in clips:
            node.input[0], at = at, node.output[0]
        at = _pair(graph, at, chain[-1].input[1], chain[-1].input[2])
        for node in moves:
            node.input[0], at = at, node.output[0]
        chain[-1].input[0] = at


def _takes_bias(graph: Graph, chain: list[Any], node: Any) -> bool:
    """Let a convolution without a bias take what is added to its channels, if that is a constant.

    Args:
        graph: the graph.
        chain: the convolution, and what its output has gone through.
        node: the addition.
    """
    conv, out = chain[0], chain[-1].output[0]
    other = next((name for name in node.input if name != out), "")
    bias = graph.arrays.get(other)
    kernel = graph.arrays.get(conv.input[1])
    if len(conv.input) > 2 or bias is None or kernel is None or bias.size != len(kernel):
        return False
    # Channels come first until they are moved to the end.
    last = any(each.op_type == "Transpose" for each in chain)
    axis = bias.ndim - 1 if last else 1
    if axis >= bias.ndim or bias.shape[axis] != bias.size:
        return False
    conv.input.append(graph.array(bias.ravel(), "bias"))
    return True


def _drop_clips(graph: Graph) -> None:
    """Drop a ReLU before rounding to a grid that ends where it clips: rounding clips alike."""
    readers = graph.readers()
    for node in [node for node in graph.nodes if node.op_type in ("Relu", "Clip")]:
        after = readers[node.output[0]]
        if len(after) != 1 or after[0].op_type != "QuantizeLinear":
            continue
        step, zero = (graph.arrays[name] for name in after[0].input[1:3])
        if zero != 0:
            continue
        if node.op_type == "Clip":
            ends = [graph.arrays.get(name) for name in node.input[1:]]
            if len(ends) != 2 or any(end is None for end in ends):
                continue
            low, high = (float(np.ravel(end)[0]) for end in ends if end is not None)
            if low != 0 or 255 * float(step) > high * (1 + 1e-6):
                continue
        after[0].input[0] = node.input[0]
        graph.nodes.remove(node)


def _quantized_input(graph: Graph, name: str) -> Any:
    """Return the DequantizeLinear that gives a tensor, one put in behind what only moves it."""
    makers = graph.makers()
    node, moved = makers.get(name), False
    while node is not None and node.op_type in _MOVES:
        node, moved = makers.get(node.input[0]), True
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in graph.arrays:
        return None
    if not moved:
        return node
    put_in = _pair(graph, name, node.input[1], node.input[2])
    return graph.makers()[put_in]


def _pair(graph: Graph, name: str, step: str, zero: str) -> str:
    codes = graph.add("QuantizeLinear", [name, step, zero])
    return graph.add("DequantizeLinear", [codes, step, zero])


def _dequantized(graph: Graph, codes: np.ndarray, steps: np.ndarray, where: dict) -> str:
    shape = steps if where else steps[0]
    step = graph.array(np.array(shape, np.float32), "step")
    zero = graph.array(np.zeros(np.shape(shape), codes.dtype), "zero")
    return graph.add("DequantizeLinear", [graph.array(codes, "codes"), step, zero], **where)


def _bias(graph: Graph, bias: np.ndarray, scale: np.ndarray) -> str:
    scale = np.broadcast_to(scale, bias.shape).astype(np.float32)
    limit = 2.0**31 - 1
    codes = np.clip(np.round(bias.astype(np.float64) / scale), -limit, limit).astype(np.int32)
    return _dequantized(graph, codes, scale, {"axis": 0})


def _with_bias(graph: Graph, product: Any, scale: np.ndarray) -> None:
    """Make a product and the bias added to it one Gemm, which has an integer counterpart."""
    after = graph.readers()[product.output[0]]
    if len(after) != 1 or after[0].op_type != "Add":
        return
    other = next(name for name in after[0].input if name != product.output[0])
    bias = graph.arrays.get(other)
    if bias is None or bias.ndim != 1:
        return
    out = after[0].output[0]
    graph.nodes.remove(after[0])
    product.op_type = "Gemm"
    product.input.append(_bias(graph, bias, scale))
    product.output[0] = out


def _stored(graph: Graph, array: np.ndarray, weight: Weight | None) -> str | None:
    """Return the tensor that holds an array, made of integers and steps."""
    laid = None if weight is None else weight.laid_out(array)
    if laid is None:
        return None
    codes, steps, axis = laid
    shape = [n if k == axis else 1 for k, n in enumerate(array.shape)]
    step = graph.array(steps.reshape(shape) if axis is not None else steps[:1], "step")
    # A DequantizeLinear would be run at each call; these two are computed once, on opening.
    whole = graph.add("Cast", [graph.array(codes, "codes")], to=onnx.TensorProto.FLOAT)
    return graph.add("Mul", [whole, step])


def _pack_four(graph: Graph, name: str, array: np.ndarray, weight: Weight) -> bool:
    """Make products with a matrix of four bits MatMulNBits, if it has nothing but products."""
    if not np.array_equal(array, weight.values):
        return False
    readers = graph.readers()[name]
    if any(node.op_type != "MatMul" or node.input[1] != name for node in readers):
        return False
    grid, (inputs, outputs) = weight.grid, array.shape
    block = grid.block or inputs
    blocks = -(-inputs // block)
    codes = np.full((blocks * block, outputs), 8, np.uint8)
    codes[:inputs] = grid.codes(array) + 8
    pairs = codes.T.reshape(outputs, blocks, block // 2, 2)
    packed = graph.array(pairs[..., 0] | (pairs[..., 1] << 4), "codes")
    steps = np.array(grid.scale, np.float32).reshape(blocks, outputs).T.ravel()
    step = graph.array(steps, "step")
    for node in readers:
        graph.add(
            "MatMulNBits",
            [node.input[0], packed, step],
            _DOMAIN,
            K=inputs,
            N=outputs,
            bits=4,
            block_size=block,
        )
        graph.nodes[-1].output[0] = node.output[0]
        graph.nodes.remove(node)
    return True


def _ranks(graph: Graph) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(graph.model)
    return {
        each.name: len(each.type.tensor_type.shape.dim)
        for each in (*inferred.graph.value_info, *inferred.graph.output)
        if each.type.tensor_type.HasField("shape")
    }


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
    graphs = [each.g for each in node.attribute if each.type == onnx.AttributeProto.GRAPH]
    return [name for g in graphs for n in g.node for name in (*n.input, *_inner(n))]
