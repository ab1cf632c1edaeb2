"""Whether a model fits the data: the shapes it takes and gives against those of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from secateur.errors import ModelError
from secateur.graph.given import Shape, alike, shown

if TYPE_CHECKING:
    from secateur.data.contract import Contract


def check_fits(model: keras.Model, contract: Contract, *, where: str | Path | None = None) -> None:
    """Check that a model takes what the contract's data gives, and gives what its target needs.

    Args:
        model: the model.
        contract: says what the data gives.
        where: the model's file, for the error; where None, the model's name.

    Raises:
        ModelError: a shape differs; both are named.
    """
    check_inputs(model, contract, where=where)
    check_output(model, contract, where=where)


def image_size(model: keras.Model) -> tuple[int, int, str] | None:
    """Return height, width and mode ("L" or "RGB") of the one image a model takes, if it does."""
    shapes = [_shape(each) for each in model.inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    height, width, channels = shapes[0]
    if height is None or width is None or channels not in (1, 3):
        return None
    return height, width, "L" if channels == 1 else "RGB"


def check_inputs(
    model: keras.Model, contract: Contract, *, where: str | Path | None = None
) -> None:
    """Check that a model takes what the contract's data gives, whatever comes of it.

    The arguments are those of `check_fits`.

    Raises:
        ModelError: it does not.
    """
    where = where or model.name
    wanted = {name: shape for name, (shape, _) in contract.inputs().items()}
    tensors: list[Any] = list(model.inputs or ())
    if not tensors:
        raise ModelError(
            "the model has no fixed inputs.",
            where=where,
            mend="Give it a keras.Input, or call it once on a batch.",
        )
    if len(tensors) != len(wanted):
        raise ModelError(
            f"the model takes {_names([each.name for each in tensors])}, the data gives "
            f"{_names(wanted)}.",
            where=where,
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
                where=where,
                mend="Name the model's keras.Input layers as the data's inputs.",
            )
        pairs = [(by_name[name], name, shape) for name, shape in wanted.items()]
    for tensor, name, shape in pairs:
        if not alike(_shape(tensor), shape):
            raise ModelError(
                f"the model takes samples of shape {shown(_shape(tensor))}, the data gives "
                f"{shown(shape)} for the input {name!r}.",
                where=where,
                mend=_mend(_shape(tensor), shape),
            )


def check_output(
    model: keras.Model, contract: Contract, *, where: str | Path | None = None
) -> None:
    """Check that a model gives what the contract's target needs.

    The arguments are those of `check_fits`.

    Raises:
        ModelError: it does not.
    """
    where = where or model.name
    outputs = list(model.outputs or ())
    if len(outputs) != 1:
        raise ModelError(
            f"the model has {len(outputs)} outputs; it needs one.",
            where=where,
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
            f"the model gives outputs of shape {shown(shape)}, the target is {what}, which needs "
            f"{' or '.join(shown(each) for each in allowed)}.",
            where=where,
            mend="Check that the data has the classes that the model was trained on.",
        )


def _shape(tensor: keras.KerasTensor) -> Shape:
    return tuple(tensor.shape[1:])


def _mend(model: Shape, data: Shape) -> str:
    if len(model) == 3 and len(data) == 3 and None not in model:
        mode = {1: "L", 3: "RGB"}.get(model[2] or 0)
        if mode:
            return f"Set data.image_size to [{model[0]}, {model[1]}] and data.mode to {mode}."
    return "Read the data as the model was trained on it, or build a model for this data."


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
