"""What an exported model takes and gives, read from the file, and whether a contract agrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from secateur.data.contract import Contract
from secateur.errors import ModelError
from secateur.formats.artifact import TensorSpec

if TYPE_CHECKING:
    import onnx

Output = Literal["probabilities", "logits", "value"]

_NORMALISES = {"Softmax", "Sigmoid"}
# Operations that only change how a tensor is held, not what is in it.
_CARRIES = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"}


def specs(values: Iterable[Any]) -> tuple[TensorSpec, ...]:
    """Return the name, shape and NumPy type of each of an ONNX graph's inputs or outputs."""
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(
            axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim
        )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found.append(TensorSpec(name=value.name, shape=(None, *shape[1:]), dtype=str(dtype)))
    return tuple(found)


def output_kind(model: onnx.ModelProto, contract: Contract | None) -> Output:
    """Return what the model's output is.

    A softmax or sigmoid at the end makes probabilities. Anything else is logits where the contract
    says that the task is a classification, and a value otherwise.
    """
    target = None if contract is None else contract.target
    if target is not None and target.classes is None:
        return "value"
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _CARRIES:
        node = makers.get(node.input[0])
    if node is not None and node.op_type in _NORMALISES:
        return "probabilities"
    return "value" if target is None else "logits"


def check_contract(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], contract: Contract
) -> None:
    """Raise `ModelError` where the model does not take or give what the contract describes.

    Without outputs only what it takes is looked at: features are not what a contract describes.
    """
    wanted = contract.inputs()
    if len(wanted) != len(inputs):
        raise ModelError(
            f"the model takes {_names(inputs)} and the contract gives {', '.join(wanted)}.",
            mend="Export the model with the contract of the data that it was trained on.",
        )
    for spec in inputs:
        # One input needs no name to be told apart, so any model of one input fits.
        name = spec.name if len(inputs) > 1 else next(iter(wanted))
        if name not in wanted:
            raise ModelError(
                f"the model's input {name!r} is not one of the contract's, {', '.join(wanted)}.",
                mend="Name the model's inputs as the contract does.",
            )
        shape, dtype = wanted[name]
        if not _fits(spec.shape[1:], shape) or not np.can_cast(dtype, spec.dtype, "same_kind"):
            raise ModelError(
                f"the model's input {name!r} takes {spec.shape[1:]} {spec.dtype} and the contract "
                f"gives {tuple(shape)} {dtype}.",
                mend="Export the model with the contract of the data that it was trained on.",
            )
    if contract.target is not None and outputs:
        _check_units(outputs[0], contract)


def _check_units(output: TensorSpec, contract: Contract) -> None:
    units = int(np.prod([axis or 1 for axis in output.shape[1:]]))
    if contract.task == "regression":
        right, expected = units == 1, "one value"
    else:
        classes = len(contract.classes)
        right = units == classes or (units == 1 and classes == 2)
        expected = f"{classes} classes"
    if not right:
        raise ModelError(
            f"the model gives {units} numbers a row and the contract has {expected}.",
            mend="Export the model with the contract of the data that it was trained on.",
        )


def _fits(model: tuple[int | None, ...], data: tuple[int, ...]) -> bool:
    return len(model) == len(data) and all(
        axis is None or axis == length for axis, length in zip(model, data, strict=True)
    )


def _names(inputs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(spec.name for spec in inputs)
