"""Tiny models, one a wiring. Every law is tried on every one of them."""

from zoo import attention, images, normalised, operations, own, sequences, tables, vision  # noqa: F401
from zoo.core import (
    ZOO,
    assert_close,
    assert_same,
    inputs_of,
    mixed_axis,
    mixing_groups,
    model_of,
    outputs,
    randomised,
    some,
    unequal_sizes,
    writes_files,
)

CLASSES_OF_ONES_OWN = own.CLASSES

__all__ = [
    "CLASSES_OF_ONES_OWN",
    "ZOO",
    "assert_close",
    "assert_same",
    "inputs_of",
    "mixed_axis",
    "mixing_groups",
    "model_of",
    "outputs",
    "randomised",
    "some",
    "unequal_sizes",
    "writes_files",
]
