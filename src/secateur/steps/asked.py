"""Checks that steps share of what they are given: data, whole numbers, patterns of names."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from secateur.errors import DataError, PlanError


def check_dataset(data: Any, what: str, step: str) -> None:
    """Refuse what is no `Dataset`.

    Args:
        data: what was given.
        what: what is done with the training rows, for the error: "ranges are taken from".
        step: the name of the step.

    Raises:
        DataError: it is none.
    """
    if not hasattr(getattr(data, "train", None), "sample"):
        raise DataError(
            f"{what} the training rows of a Dataset, received {type(data).__name__}.",
            where=step,
            mend="Read it first: secateur.read((x, y)).",
        )


def check_whole(step: str, least: int, **given: Any) -> None:
    """Refuse what is no whole number of `least` or more.

    Raises:
        PlanError: naming it.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise PlanError(
                f"{name} must be a whole number from {least}, received {value!r}.",
                where=f"{step}.{name}",
                mend="Give such a number.",
            )


def check_names(step: str, **given: Any) -> None:
    """Refuse one text where a tuple of patterns is meant: its letters would be taken for them.

    Raises:
        PlanError: naming it.
    """
    for name, value in given.items():
        if isinstance(value, str):
            raise PlanError(
                f"{name} must be a tuple of patterns, received {value!r}.",
                where=f"{step}.{name}",
                mend=f"Write {name}=({value!r},).",
            )
