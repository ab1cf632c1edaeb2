"""What a trace of Keras needs before tf2onnx can translate it, and what tf2onnx lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Handler = Callable[[Any, Any, str, list[Any]], None]


def handlers() -> dict[str, tuple[Handler, list[Any]]]:
    """Return how to translate operations, as tf2onnx takes it for one call.

    Handlers that are given with the call hold for this call; those of the decorator `tf_op` would
    hold for everybody in the process.
    """
    return {"Erfc": (_erfc, []), "Conv3D": (_conv3d, [])}


def traced(call: Callable[..., Any], signature: list[Any]) -> Any:
    """Return `call` as a `tf.function` that is traced and holds nothing compiled by XLA.

    Keras compiles grouped convolutions, which TensorFlow cannot run on a CPU otherwise, and a
    compiled function cannot be inlined. Only then is the trace taken again, with every function
    inside of it called as plain Python: functions in need of AutoGraph would not survive that.
    """
    import tensorflow as tf

    function = tf.function(call, input_signature=signature, autograph=False)
    if not _compiles(function.get_concrete_function().graph.as_graph_def()):
        return function
    function = tf.function(call, input_signature=signature, autograph=False)
    eager = tf.config.functions_run_eagerly()
    # The switch is the process's, and there is no other: a function that another thread calls
    # meanwhile runs slower, with the same result.
    tf.config.run_functions_eagerly(True)
    try:
        function.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(eager)
    return function


def _compiles(definition: Any) -> bool:
    return any(each.attr["_XlaMustCompile"].b for each in definition.library.function)


def _erfc(graph: Any, node: Any, name: str, _: list[Any]) -> None:
    """Write the complement of the error function, as in the exact GELU, as 1 - Erf(x)."""
    from tf2onnx import utils

    x, out = node.input[0], node.output[0]
    shapes, dtypes = node.output_shapes, node.output_dtypes
    dtype = utils.map_onnx_to_numpy_type(dtypes[0])
    one = graph.make_const(utils.make_name(f"{name}/one"), np.ones((), dtype))
    graph.remove_node(name)
    erf = graph.make_node("Erf", [x], op_name_scope=name, shapes=shapes, dtypes=dtypes)
    graph.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        outputs=[out],
        name=name,
        shapes=shapes,
        dtypes=dtypes,
    )


def _conv3d(graph: Any, node: Any, name: str, _: list[Any]) -> None:
    """Write a convolution over volumes with its groups, which tf2onnx counts over photos only."""
    from tf2onnx.onnx_opset.nn import ConvOp

    layout = node.attr["data_format"].s.decode()
    channels = graph.get_shape(node.input[0])[layout.index("C")]
    each = graph.get_shape(node.input[1])[-2]
    ConvOp.version_13(graph, node)
    node.set_attr("group", channels // each)
