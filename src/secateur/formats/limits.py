"""What a model file may ask of memory, looked at before a runtime or Keras sees the file.

An ONNX file is parsed by protobuf, which refuses messages nested more than a hundred deep and
makes nothing that the file does not hold. What is refused here is what a runtime would make out of
a few bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from secateur.errors import ArtifactError

# Elements of a tensor that an ONNX file has made out of a shape alone: 1 GiB of float32.
MOST_MADE = 2**28
MOST_NODES = 1_000_000
# Graphs in graphs: a loop in a branch in a loop is three.
MOST_NESTED = 16

# The input that holds the shape, or the factors, of what each makes.
_MAKES = {"ConstantOfShape": 0, "Expand": 1, "RandomNormal": None, "RandomUniform": None}
_MAKES |= {"Tile": 1, "Range": None}
_MEND = "Use a file that `export` wrote, from someone you trust."


def check_onnx(content: bytes, where: str) -> None:
    """Refuse an ONNX file that reaches outside itself, or would grow far beyond its size.

    Raises:
        ArtifactError: it is no ONNX file; its tensors are in other files, or hold fewer numbers
            than their shapes say; it holds sparse tensors or functions, which grow as they are
            read; or it makes a constant of more than `MOST_MADE` numbers.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError, RecursionError) as error:
        raise _refused(f"the file is not ONNX ({error})", where) from error
    if len(model.functions):
        raise _refused("the ONNX file defines functions of its own", where)
    if len(model.training_info):
        raise _refused("the ONNX file holds training", where)
    nodes = 0
    for graph, depth in _graphs(model.graph, 1):
        if depth > MOST_NESTED:
            raise _refused(f"the ONNX file nests more than {MOST_NESTED} graphs", where)
        nodes += len(graph.node)
        if nodes > MOST_NODES:
            raise _refused(f"the ONNX file has more than {MOST_NODES:,} nodes", where)
        if len(graph.sparse_initializer):
            raise _refused("the ONNX file holds sparse tensors", where)
        constants = {}
        for tensor in _tensors(graph):
            _check_tensor(tensor, where)
            constants[tensor.name] = tensor
        for node in graph.node:
            if node.op_type == "Constant" and node.output:
                for held in filter(None, map(_constant, node.attribute)):
                    constants[node.output[0]] = held
        for node in graph.node:
            _check_node(node, constants, where)


def _graphs(graph: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """Yield a graph, and those inside its nodes; no deeper than protobuf itself goes."""
    yield graph, depth
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from _graphs(inner, depth + 1)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _constant(attribute: Any) -> Any:
    """Return what a Constant's attribute holds as a tensor, None where it holds no numbers."""
    import onnx

    if attribute.HasField("t"):
        return attribute.t
    if attribute.name in ("value_int", "value_ints"):
        held = list(attribute.ints) or [attribute.i]
        return onnx.helper.make_tensor("", onnx.TensorProto.INT64, [len(held)], held)
    return None


def _check_tensor(tensor: Any, where: str) -> None:
    """Refuse a tensor that holds fewer numbers than its shape says, or holds them elsewhere."""
    import onnx

    name = tensor.name or "constant"
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise _refused(f"the ONNX file keeps {name!r} in another file", where)
    if any(length < 0 for length in tensor.dims):
        raise _refused(f"the ONNX file gives {name!r} a negative length", where)
    said = math.prod(tensor.dims)
    if said > _holds(tensor):
        raise _refused(
            f"the ONNX file says that {name!r} has {said:,} numbers, and it holds fewer", where
        )


def _holds(tensor: Any) -> int:
    """Return how many numbers a tensor holds at most."""
    kinds = type(tensor)
    if tensor.raw_data:
        bits = {kinds.INT4: 4, kinds.UINT4: 4, kinds.FLOAT: 32, kinds.INT32: 32, kinds.UINT32: 32}
        bits |= dict.fromkeys((kinds.DOUBLE, kinds.INT64, kinds.UINT64, kinds.COMPLEX64), 64)
        bits |= dict.fromkeys((kinds.FLOAT16, kinds.BFLOAT16, kinds.INT16, kinds.UINT16), 16)
        return 8 * len(tensor.raw_data) // bits.get(tensor.data_type, 8)
    counts = (
        len(field)
        for field in (
            tensor.float_data,
            tensor.int32_data,
            tensor.int64_data,
            tensor.double_data,
            tensor.uint64_data,
            tensor.string_data,
        )
    )
    packed = 2 if tensor.data_type in (kinds.INT4, kinds.UINT4) else 1
    return packed * max(counts)


def _check_node(node: Any, constants: dict[str, Any], where: str) -> None:
    """Refuse a node that makes a large tensor out of numbers that stand in the file."""
    if node.op_type not in _MAKES:
        return
    made = 1
    position = _MAKES[node.op_type]
    if position is None:
        shape = next((each.ints for each in node.attribute if each.name == "shape"), ())
        made = math.prod(max(int(each), 1) for each in shape)
        if node.op_type == "Range" and all(name in constants for name in node.input):
            start, limit, delta = (_numbers(constants[name])[:1] for name in node.input)
            if start and limit and delta and delta[0]:
                made = max(0, (limit[0] - start[0]) / delta[0])
    elif len(node.input) > position and node.input[position] in constants:
        made = math.prod(max(int(each), 1) for each in _numbers(constants[node.input[position]]))
    if not made <= MOST_MADE:
        raise _refused(
            f"the ONNX file makes {made:,.0f} numbers out of a shape ({node.op_type})", where
        )


def _numbers(tensor: Any) -> list[float]:
    """Return the numbers of a small tensor, none where they are many or make no sense."""
    import onnx

    if math.prod(tensor.dims) > 64:
        return []
    try:
        return [float(each) for each in onnx.numpy_helper.to_array(tensor).ravel()]
    except Exception:
        # What cannot be read is refused by the runtime, and makes nothing.
        return []


def _refused(what: str, where: str) -> ArtifactError:
    return ArtifactError(f"{what}; secateur writes no such file.", where=where, mend=_MEND)
