"""Whether a model fits the data: the shapes it takes and gives against those of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from secateur.errors import ModelError

if TYPE_CHECKING:
    from secateur.data.contract import Contract

Shape = tuple[int | None, ...]


def check_fits(model: keras.Model, contract: Contract, *, where: str | Path | None = None) -> None:
    """Check that a model takes what the contract's data gives, and gives what its target needs.

    Args:
        model: the model.
        contract: says what the data gives.
        where: the model's file, for the error; where None, the model's name.

    Raises:
        ModelError: a shape differs; both are named.
    """
    try:
        _check_inputs(model, contract)
        _check_output(model, contract)
    except ModelError as error:
        error.where = str(where or model.name)
        raise


def image_size(model: keras.Model) -> tuple[int, int, str] | None:
    """Return height, width and mode ("L" or "RGB") of the one image a model takes, if it does."""
    shapes = [_shape(each) for each in model.inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    height, width, channels = shapes[0]
    if height is None or width is None or channels not in (1, 3):
        return None
    return height, width, "L" if channels == 1 else "RGB"


def _check_inputs(model: keras.Model, contract: Contract) -> None:
    wanted = {name: shape for name, (shape, _) in contract.inputs().items()}
    tensors: list[Any] = list(model.inputs or ())
    if not tensors:
        raise ModelError(
            "the model has no fixed inputs.",
            mend="Give it a keras.Input, or call it once on a batch.",
        )
    if len(tensors) != len(wanted):
        raise ModelError(
            f"the model takes {_names([each.name for each in tensors])}, the data gives "
            f"{_names(wanted)}.",
            mend="Use `build: default` to see a model that fits, or change the columns.",
        )
    if len(wanted) == 1:
        pairs = [(tensors[0], *next(iter(wanted.items())))]
    else:
        by_name: dict[str, Any] = {each.name: each for each in tensors}
        missing = [name for name in wanted if name not in by_name]
        if missing:
            raise ModelError(
                f"the model has no input named {_names(missing)}; it has {_names(by_name)}.",
                mend="Name the model's keras.Input layers as the data's inputs.",
            )
        pairs = [(by_name[name], name, shape) for name, shape in wanted.items()]
    for tensor, name, shape in pairs:
        if not _matches(_shape(tensor), shape):
            raise ModelError(
                f"the model takes samples of shape {_show(_shape(tensor))}, the data gives "
                f"{_show(shape)} for the input {name!r}.",
                mend=_mend(_shape(tensor), shape),
            )


def _check_output(model: keras.Model, contract: Contract) -> None:
    outputs = list(model.outputs or ())
    if len(outputs) != 1:
        raise ModelError(
            f"the model has {len(outputs)} outputs; it needs one.",
            mend="Make a model that ends at the output to be predicted.",
        )
    shape = _shape(outputs[0])
    if contract.task == "regression":
        allowed, what = [(1,)], "a number"
    else:
        count = len(contract.classes)
        allowed = [(count,), (1,)] if count == 2 else [(count,)]
        what = f"{count} classes"
    if shape not in allowed:
        raise ModelError(
            f"the model gives outputs of shape {_show(shape)}, the target is {what}, which needs "
            f"{' or '.join(_show(each) for each in allowed)}.",
            mend="Check that the data has the classes that the model was trained on.",
        )


def _shape(tensor: keras.KerasTensor) -> Shape:
    return tuple(tensor.shape[1:])


def _matches(model: Shape, data: Shape) -> bool:
    return len(model) == len(data) and all(
        one is None or one == other for one, other in zip(model, data, strict=True)
    )


def _mend(model: Shape, data: Shape) -> str:
    if len(model) == 3 and len(data) == 3 and None not in model:
        mode = {1: "L", 3: "RGB"}.get(model[2] or 0)
        if mode:
            return f"Set data.image_size to [{model[0]}, {model[1]}] and data.mode to {mode}."
    return "Read the data as the model was trained on it, or build a model for this data."


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _show(shape: Shape) -> str:
    return "(" + ", ".join("any" if each is None else str(each) for each in shape) + ")"
