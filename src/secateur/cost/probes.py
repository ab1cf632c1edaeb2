"""Probes: what a runtime computes with one weight, as a tiny model of any width.

A convolution stands between a cheap one that makes its channels out of one and an average over all
positions: the runtimes then keep the layout that suits them from layer to layer, as they do inside
of a net, and the same model without the layer tells what is to be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from secateur.formats.onnx import OPSET
from secateur.formats.quiet import quiet

if TYPE_CHECKING:
    from secateur.graph.graph import Graph, Weight
    from secateur.graph.sweep import Call

Kind = Literal["conv", "depthwise", "transposed", "dense", "lstm", "nothing"]
# An IR version that ONNX Runtime and OpenVINO of the last years read.
_IR = 8


@dataclass(frozen=True)
class Probe:
    """One layer at one place in a net, without its widths.

    Args:
        kind: what it computes; `nothing` is the probe's surroundings alone.
        space: the lengths of the input's spatial axes, or the time steps.
        kernel: the lengths of the kernel's spatial axes.
        strides: the steps along each.
        dilation: the distances between the kernel's elements.
        padding: `same`, `valid` or `causal`.
        groups: the groups of channels of a convolution.
        rows: how many rows of one sample a product with a matrix has.
        multiplier: how many channels a depthwise convolution makes of one.
    """

    kind: Kind
    space: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: str = "same"
    groups: int = 1
    rows: int = 1
    multiplier: int = 1

    @property
    def narrow(self) -> bool:
        """Return whether its output is as wide as its input, and so no width of its own."""
        return self.kind in ("depthwise", "nothing")

    @property
    def after(self) -> tuple[int, ...]:
        """Return the lengths of the output's spatial axes."""
        if not self.kernel:
            return self.space
        sides = zip(self.space, self.kernel, self.strides, self.dilation, strict=True)
        if self.kind == "transposed":
            more = self.padding == "valid"
            return tuple(n * s + more * max(k - s, 0) for n, k, s, _ in sides)
        if self.padding == "valid":
            return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sides)
        return tuple(-(-n // s) for n, _, s, _ in sides)

    def around(self, read: int, written: int) -> list[tuple[Probe, int]]:
        """Return what its surroundings are, at two widths, each of which counts half.

        The convolution before it is as large as its input, the average after it as its output.
        """
        if self.kind in ("dense", "lstm"):
            return [(Probe("nothing"), 8)] * 2
        wide = read * self.multiplier if self.kind == "depthwise" else written
        return [(Probe("nothing", self.space), read), (Probe("nothing", self.after), wide)]

    def runs_on(self, runtime: str) -> bool:
        """Say whether there is a tiny model of it for a runtime."""
        if runtime != "litert" or self.kind in ("dense", "nothing"):
            return True
        return self.kind in ("conv", "depthwise") and len(self.space) <= 2 and self.groups == 1


@dataclass(frozen=True)
class Place:
    """A probe at a weight, and how the weight's axes give its widths."""

    probe: Probe
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    times: int = 1
    per: int = 1

    def widths(self, lengths: Sequence[int]) -> tuple[int, int]:
        """Return the probe's input and output width where the weight has these lengths."""
        return (
            prod(lengths[axis] for axis in self.reads) * self.times,
            prod(lengths[axis] for axis in self.writes) // self.per,
        )


def places(graph: Graph) -> tuple[dict[str, list[Place]], frozenset[str]]:
    """Return the probes of each weight that multiplies, and the weights without one."""
    keys = {id(variable): key for key, variable in graph.variables.items()}
    found: dict[str, list[Place]] = {}
    covered: set[str] = set()
    for call in graph.calls:
        weights = getattr(call.operation, "weights", ())
        held = {w.name: graph.weights[keys[id(w)]] for w in weights if id(w) in keys}
        named = {name: weight for name, weight in held.items() if weight.uses}
        if not named:
            continue
        made = _probes_of(graph, call, named)
        for name, place in made.items():
            found.setdefault(named[name].key, []).append(place)
        covered |= {named[name].key for name in made}
        if "kernel" in made and made["kernel"].probe.kind == "lstm":
            # The kernel's probe runs the whole layer.
            covered.add(named["recurrent_kernel"].key)
    multiplied = {w.key for w in (*graph.weights.values(), *graph.products) if w.uses}
    return found, frozenset(multiplied - covered)


def _probes_of(graph: Graph, call: Call, named: dict[str, Weight]) -> dict[str, Place]:
    """Return the probe of each weight of a call."""
    from keras import layers

    layer = call.operation
    if not call.inputs:
        return {}
    shape = graph.tensors[call.inputs[0]].shape
    if isinstance(layer, layers.LSTM) and {"kernel", "recurrent_kernel"} <= named.keys():
        return {"kernel": Place(Probe("lstm", space=(shape[1],)), (0,), (1,), per=4)}
    if isinstance(layer, (layers.SimpleRNN, layers.GRU, layers.RNN)):
        return {}
    if not hasattr(layer, "kernel_size"):
        matrices = {name: _matrix(weight) for name, weight in named.items()}
        return {name: place for name, place in matrices.items() if place is not None}
    if not hasattr(layer, "padding") or hasattr(layer, "cell"):
        return {}
    rank = len(layer.kernel_size)
    last = layer.data_format == "channels_last"
    base = Probe(
        "conv",
        space=tuple(shape[1:-1] if last else shape[2:]),
        kernel=tuple(layer.kernel_size),
        strides=tuple(layer.strides),
        dilation=tuple(layer.dilation_rate),
        padding=layer.padding,
    )
    if isinstance(layer, (layers.SeparableConv1D, layers.SeparableConv2D)):
        after = graph.tensors[call.outputs[0]].shape
        ones = (1,) * rank
        point = Probe("conv", tuple(after[1:-1] if last else after[2:]), ones, ones, ones)
        deep = replace(base, kind="depthwise", multiplier=layer.depth_multiplier)
        return {
            "depthwise_kernel": Place(deep, (rank,), (rank,)),
            "pointwise_kernel": Place(point, (rank,), (rank + 1,)),
        }
    if isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
        deep = replace(base, kind="depthwise", multiplier=layer.depth_multiplier)
        return {"kernel": Place(deep, (rank,), (rank,))}
    if isinstance(layer, (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)):
        return {"kernel": Place(replace(base, kind="transposed"), (rank + 1,), (rank,))}
    if isinstance(layer, (layers.Conv1D, layers.Conv2D, layers.Conv3D)):
        grouped = replace(base, groups=layer.groups)
        return {"kernel": Place(grouped, (rank,), (rank + 1,), times=layer.groups)}
    return {}


def _matrix(weight: Weight) -> Place | None:
    """Return the product with a matrix that a weight stands for: what it reads, what it writes."""
    writes = tuple(axis for axis, role in enumerate(weight.roles) if role == "write")
    reads = tuple(axis for axis, role in enumerate(weight.roles) if role in ("read", None))
    # Axes past the weight's own stand for the blocks that it is in.
    reads = tuple(axis for axis in reads if weight.shape[axis] > 1)
    if not writes or not reads or len(reads) + len(writes) < 2:
        return None
    return Place(Probe("dense", rows=weight.uses), reads, writes)


def tiny_model(probe: Probe, read: int, written: int, batch: int, runtime: str) -> bytes:
    """Return a file of the probe's tiny model for a runtime, with an input named `x` or first.

    Args:
        probe: what it computes.
        read: the input's width.
        written: the output's width.
        batch: the rows of one call.
        runtime: the runtime that is to open it.
    """
    if runtime == "litert":
        return _tiny_litert(probe, read, written, batch)
    return _tiny_onnx(probe, read, written, batch)


class Nodes:
    """The nodes and constants of an ONNX graph under construction, one node after the other."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "x"

    def add(self, kind: str, *weights: tuple[int, ...] | None, **attributes: Any) -> None:
        """Add a node that reads the one before it and constants of some shapes."""
        names = []
        for shape in weights:
            names.append("" if shape is None else f"w{len(self.constants)}")
            if shape is not None:
                self.constants.append(self._numpy.from_array(_values(shape), names[-1]))
        before, self.last = self.last, f"t{len(self.nodes)}"
        node = self._helper.make_node(kind, [before, *names], [self.last], **attributes)
        self.nodes.append(node)

    def look_up(self, table: tuple[int, int]) -> None:
        """Look the input up in a table: its size, without what is behind the point, is the row."""
        from onnx import TensorProto

        self.add("Abs")
        self.add("Cast", to=TensorProto.INT64)
        self.add("Gather", table, axis=0)
        # The table comes first, then what is looked up in it.
        rows, weights = self.nodes[-1].input
        self.nodes[-1].input[:] = [weights, rows]

    def model(self, shape: tuple[int, ...]) -> bytes:
        """Return what a file of the nodes holds, with an input `x` of that shape."""
        from onnx import TensorProto

        helper, kind = self._helper, TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "probe",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(self.last, kind, None)],
            self.constants,
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR).SerializeToString()


def _tiny_onnx(probe: Probe, read: int, written: int, batch: int) -> bytes:
    nodes = Nodes()
    if probe.kind == "dense":
        nodes.add("MatMul", (read, written))
        return nodes.model((batch * probe.rows, read))
    if probe.kind == "lstm":
        weights = ((1, 4 * written, read), (1, 4 * written, written), (1, 8 * written))
        nodes.add("LSTM", *weights, hidden_size=written)
        return nodes.model((probe.space[0], batch, read))
    if not probe.space:
        nodes.add("Relu")
        return nodes.model((1, 8))
    nodes.add("Conv", (read, 1, *(1 for _ in probe.space)), (read,))
    options = conv_options(probe)
    if probe.kind == "conv":
        shape = (written, read // probe.groups, *probe.kernel)
        nodes.add("Conv", shape, (written,), group=probe.groups, **options)
    elif probe.kind == "depthwise":
        wide = read * probe.multiplier
        nodes.add("Conv", (wide, 1, *probe.kernel), (wide,), group=read, **options)
    elif probe.kind == "transposed":
        nodes.add("ConvTranspose", (read, written, *probe.kernel), (written,), **options)
    nodes.add("GlobalAveragePool")
    return nodes.model((batch, 1, *probe.space))


def conv_options(probe: Probe) -> dict[str, Any]:
    """Return the attributes of the ONNX node of a convolution."""
    options: dict[str, Any] = {
        "kernel_shape": probe.kernel,
        "strides": probe.strides,
        "dilations": probe.dilation,
    }
    if probe.padding == "same":
        options["auto_pad"] = "SAME_UPPER"
    elif probe.padding == "causal":
        options["pads"] = [(probe.kernel[0] - 1) * probe.dilation[0], 0]
    return options


def _tiny_litert(probe: Probe, read: int, written: int, batch: int) -> bytes:
    import tensorflow as tf

    # A line is a picture of height one, as the converter makes it.
    line = (1,) if len(probe.space) == 1 else ()
    space, kernel = (*line, *probe.space), (*line, *probe.kernel)
    strides, dilation = (*line, *probe.strides), (*line, *probe.dilation)
    padding = "VALID" if probe.padding == "valid" else "SAME"
    matrix, first = _values((read, written)), _values((1, 1, 1, read))
    shape = (*kernel, read, probe.multiplier if probe.kind == "depthwise" else written)
    inner = _values(shape)

    def dense(x: Any) -> Any:
        return tf.matmul(x, matrix)

    def nothing(x: Any) -> Any:
        return tf.nn.relu(x)

    def net(x: Any) -> Any:
        x = tf.nn.conv2d(x, first, 1, "SAME")
        if probe.kind == "conv":
            x = tf.nn.conv2d(x, inner, strides, padding, dilations=dilation)
        elif probe.kind == "depthwise":
            x = tf.nn.depthwise_conv2d(x, inner, (1, *strides, 1), padding, dilations=dilation)
        return tf.reduce_mean(x, (1, 2))

    call: Callable[[Any], Any] = net
    signature = (batch, *space, 1)
    if probe.kind == "dense":
        call, signature = dense, (batch * probe.rows, read)
    elif not probe.space:
        call, signature = nothing, (1, 8)
    with quiet():
        function = tf.function(call, input_signature=[tf.TensorSpec(signature, tf.float32)])
        traced = function.get_concrete_function()
        # The weights are constants of the trace: those of variables this converter would drop.
        return tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()


def _values(shape: tuple[int, ...]) -> np.ndarray:
    # Numbers near zero that are not zero: denormal ones and zeros have speeds of their own.
    size = prod(shape)
    return (np.cos(np.arange(size, dtype=np.float32)) / max(shape[-1], 1)).reshape(shape)
