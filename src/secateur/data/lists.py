"""Columns whose cells are lists of numbers: how long they are, and their numbers in a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.values import pc
from secateur.errors import DataError


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def holds_numbers(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists of numbers, or lists of such lists."""
    while is_list(kind):
        kind = kind.value_type
        if values.is_number(kind):
            return True
    return False


def list_lengths(array: pa.Array) -> np.ndarray:
    """Return how many numbers each cell holds, nested lists counted whole; a missing list holds 0.

    Raises:
        DataError: the column does not hold lists of numbers.
    """
    if not holds_numbers(array.type):
        raise DataError(f"a column of {array.type} does not hold lists of numbers.")
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    if values.is_number(array.type.value_type):
        return counts
    nested = np.concatenate([[0], np.cumsum(list_lengths(pc.list_flatten(array)))])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    return nested[bounds[1:]] - nested[bounds[:-1]]


def other_nesting(array: pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    """Tell of each cell whether its lists in lists are of other lengths than a shape says.

    A flat list of numbers has no nesting that could differ.
    """
    wrong, cells = np.zeros(len(array), bool), np.arange(len(array))
    if not holds_numbers(array.type) or values.is_number(array.type.value_type):
        return wrong
    for length in shape:
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        wrong[cells[counts != length]] = True
        cells, array = np.repeat(cells, counts), pc.list_flatten(array)
        if values.is_number(array.type):
            break
    return wrong


def list_shape(array: pa.Array) -> tuple[int, ...]:
    """Return the shape of lists of the most common length: (steps, channels), or (steps, 1)."""
    lengths = list_lengths(array)
    usual = np.bincount(lengths[lengths > 0]).argmax() if lengths.any() else 0
    first = array[int((lengths == usual).argmax())].as_py()
    shape: tuple[int, ...] = ()
    while isinstance(first, list) and first:
        shape, first = (*shape, len(first)), first[0]
    return shape if len(shape) > 1 else (*shape, 1)


def list_values(array: pa.Array) -> np.ndarray:
    """Return all numbers of a list column, one after the other; what is missing is NaN."""
    while not values.is_number(array.type):
        array = pc.list_flatten(array)
    return values.numbers(array)[0]
