"""Whether the rows that are given fit a model: inputs by their shapes, labels by its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import DataError, ModelError
from secateur.graph.ending import ending

# Shapes of one row, without the axis of rows; `None` is a length that is left open.
Shape = tuple[int | None, ...]


def arrays_of(model: keras.Model, x: Any) -> list[Any]:
    """Return what is given for each of `model.inputs`, in their order.

    Raises:
        DataError: the model takes more or fewer inputs, or rows of another shape.
    """
    tensors: list[Any] = list(model.inputs)
    if isinstance(x, Mapping):
        names = [tensor.name for tensor in tensors]
        arrays = [x[name] for name in names] if set(names) <= set(x) else list(x.values())
    else:
        arrays = list(x) if isinstance(x, (list, tuple)) else [x]
    if len(arrays) != len(tensors):
        raise DataError(
            f"the model takes {', '.join(tensor.name for tensor in tensors)}, received "
            f"{len(arrays)} arrays.",
            where=model.name,
            mend="Give one array for each input, in the order of model.inputs or by their names.",
        )
    for tensor, array in zip(tensors, arrays, strict=True):
        wanted, received = tuple(tensor.shape[1:]), tuple(np.shape(array)[1:])
        if not alike(wanted, received) or not np.ndim(array):
            raise DataError(
                f"the model takes rows of shape {shown(wanted)}, received {shown(received)}.",
                where=tensor.name,
                mend="Give rows as the model was trained on.",
            )
    return arrays


def labels_of(model: keras.Model, x: Any, y: Any) -> np.ndarray:
    """Return labels as an array that the loss of a model is taken with (see `loss_for`).

    Args:
        model: a functional or Sequential model.
        x: inputs, of as many rows.
        y: class codes, of which truth is one, or floats to be predicted.

    Raises:
        ModelError: the model has several outputs.
        DataError: the labels are no numbers, too few or too many, or not of the output's shape, or
            there are more classes than the model tells apart.
    """
    if len(model.outputs) != 1:
        raise ModelError(
            f"the model has {len(model.outputs)} outputs, and labels are compared with one.",
            where=model.name,
            mend="Make a model that ends at the output to be predicted, or use a criterion without "
            "labels: by='l2' on weights alone, by='wanda' on inputs.",
        )
    try:
        labels = np.asarray(y)
    except ValueError:
        labels = np.asarray(None)
    if labels.dtype.kind not in "biuf":
        raise _wrong(
            f"labels are numbers, received {labels.dtype if labels.ndim else type(y).__name__}",
            "Give class codes: np.unique(y, return_inverse=True)[1].",
        )
    rows = len(tree.flatten(x)[0])
    if not labels.ndim or len(labels) != rows:
        count = len(labels) if labels.ndim else 1
        raise _wrong(f"{rows} rows need as many labels, received {count}", "Give one a row.")
    shape: Shape = tuple(model.outputs[0].shape[1:])
    if labels.dtype.kind == "f":
        _check_values(model, labels, shape)
        return labels
    labels = labels.astype("int32") if labels.dtype.kind == "b" else labels
    _check_codes(labels, shape)
    return labels


def alike(model: Shape, data: Shape) -> bool:
    """Say whether rows of a shape are what a model takes."""
    return len(model) == len(data) and all(
        one is None or one == other for one, other in zip(model, data, strict=True)
    )


def shown(shape: Shape) -> str:
    """Write a shape, with "any" for a length that is left open."""
    return "(" + ", ".join("any" if each is None else str(each) for each in shape) + ")"


def _check_codes(labels: np.ndarray, shape: Shape) -> None:
    """Refuse codes that are not one a place, or of more classes than there are."""
    found = tuple(labels.shape[1:])
    if not any(alike(each, found) for each in (shape[:-1], (*shape[:-1], 1))):
        raise _wrong(
            f"whole numbers are class codes, which are of shape "
            f"{shown((len(labels), *shape[:-1]))} for this model, received {shown(labels.shape)}",
            "Give y.argmax(axis=-1) in place of one number a class, or values as floats.",
        )
    # One output tells two classes apart.
    count = max(2, (shape[-1] or 0) if shape else 0)
    if len(labels) and not (labels.min() >= 0 and labels.max() < count):
        raise _wrong(
            f"the model tells {count} classes apart, received codes from {labels.min()} to "
            f"{labels.max()}",
            "Give codes from 0, or, where they are values to be predicted, floats.",
        )


def _check_values(model: keras.Model, labels: np.ndarray, shape: Shape) -> None:
    """Refuse floats that are not of the output's shape, or stand for classes."""
    found = tuple(labels.shape[1:])
    if ending(model) == "softmax" and shape[-1:] != (1,):
        raise _wrong(
            f"floats are values to be predicted, and the model gives the chances of {shape[-1]} "
            "classes",
            "Give class codes: y.argmax(axis=-1) of one number a class, y.astype(int) of codes.",
        )
    may_lack = (shape[:-1],) if shape[-1:] == (1,) else ()
    if not any(alike(each, found) for each in (shape, *may_lack)):
        raise _wrong(
            f"values to be predicted are of shape {shown((len(labels), *shape))} for this model, "
            f"received {shown(labels.shape)}",
            "Give class codes as integers, or values of that shape.",
        )


def _wrong(what: str, mend: str) -> DataError:
    return DataError(f"{what}.", where="y", mend=mend)
