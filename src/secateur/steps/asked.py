"""Checks that steps share of what they are given: data, whole numbers, patterns of names."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import DataError, PlanError
from secateur.graph.functional import functional_of, laid_out
from secateur.models.fits import check_inputs, check_output
from secateur.planning.options import KINDS
from secateur.steps.healing import LEAST_SAMPLES

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "r2")
SMALLEST = ("macs", "params", "bytes", "latency")
# What a search within `max_drop` alone looks at.
SEARCH = ("metric", "smallest", "trials")
# What says how a step trains, and does nothing where it does not train.
TRAINING = ("batch_size", "learning_rate", "patience", "class_weights", "augment")


def check_dataset(
    data: Any, what: str, step: str, model: keras.Model, *, labels: bool = False
) -> None:
    """Refuse what is no `Dataset`, and one that the model does not fit.

    Args:
        data: what was given.
        what: what is done with the training rows, for the error: "ranges are taken from".
        step: the name of the step.
        model: what the rows are for.
        labels: whether what the model gives is compared with labels.

    Raises:
        DataError: it is none.
        ModelError: the model takes rows of another shape, or, where labels are looked at, does not
            give what they need; or it cannot be followed.
    """
    if not hasattr(getattr(data, "train", None), "sample"):
        raise DataError(
            f"{what} the training rows of a Dataset, received {type(data).__name__}.",
            where=step,
            mend="Read it first: secateur.read((x, y)).",
        )
    contract = getattr(data, "contract", None)
    if contract is None:  # rows of somebody's own, which say nothing of what they are
        return
    followed = functional_of(laid_out(model))
    # The arguments of a call have no names to tell several inputs apart by.
    if followed is model or len(followed.inputs) == 1:
        check_inputs(followed, contract, where=model.name)
    if labels:
        check_output(followed, contract, where=model.name)


def check_healing(model: keras.Model, data: Dataset, samples: int, step: str) -> None:
    """Refuse before a training what `heal` would refuse after it.

    Args:
        model: what is trained, cut and healed.
        data: healing sees training rows of it.
        samples: how many rows it sees at most.
        step: the name of the step.

    Raises:
        DataError: there are too few rows, or the model takes so many at a time and no others.
    """
    rows = min(samples, data.train.rows)
    if rows < LEAST_SAMPLES:
        raise DataError(
            f"healing needs at least {LEAST_SAMPLES} training rows, and would see {rows}.",
            where=step,
            mend="Give more rows or samples, or switch healing off: heal=False.",
        )
    fixed = {tensor.shape[0] for tensor in functional_of(laid_out(model)).inputs} - {None, rows}
    if fixed:
        raise DataError(
            f"the model takes {min(fixed)} rows at a time, and healing would see {rows}.",
            where=step,
            mend="Build the model without a fixed batch size, or switch healing off: heal=False.",
        )


def check_whole(step: str, least: int, **given: Any) -> None:
    """Refuse what is no whole number of `least` or more.

    Raises:
        PlanError: naming it.
    """

    def whole(value: Any) -> bool:
        return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least

    _demand(step, given, whole, f"a whole number from {least}", "Give such a number.")


def check_flags(step: str, **given: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        PlanError: naming it.
    """

    def flag(value: Any) -> bool:
        return isinstance(value, (bool, np.bool_))

    _demand(step, given, flag, "True or False", "Give one of them.")


def check_positive(step: str, **given: Any) -> None:
    """Refuse what is no number above zero.

    Raises:
        PlanError: naming it.
    """

    def positive(value: Any) -> bool:
        return is_number(value) and value > 0

    _demand(step, given, positive, "a number above 0", "Give such a number.")


def check_mappings(step: str, **given: Any) -> None:
    """Refuse what neither switches something on or off, nor says how it is to be.

    Raises:
        PlanError: naming it.
    """

    def switch(value: Any) -> bool:
        return isinstance(value, (bool, Mapping))

    mend = "Give True for what is usual, or a mapping of options."
    _demand(step, given, switch, "True, False or a mapping", mend)


def _demand(
    step: str, given: Mapping[str, Any], fits: Callable[[Any], bool], what: str, mend: str
) -> None:
    for name, value in given.items():
        if not fits(value):
            raise PlanError(
                f"{name} must be {what}, received {value!r}.", where=f"{step}.{name}", mend=mend
            )


def check_kinds(step: str, kinds: Any) -> None:
    """Refuse what is no tuple of kinds of units; `None` leaves them to the plan.

    Raises:
        PlanError: it is none.
    """
    if kinds is None:
        return
    if not isinstance(kinds, (tuple, list)) or not kinds or any(k not in KINDS for k in kinds):
        raise PlanError(
            f"kinds cannot be {kinds!r}.", where=step, mend=f"Kinds are {', '.join(KINDS)}."
        )


def check_trained(step: Any, name: str) -> None:
    """Refuse what a step says of its training and `fit` can do nothing with, epochs aside.

    Args:
        step: a dataclass that has the arguments of `fit`; it may lack `patience`.
        name: the name of the step.

    Raises:
        PlanError: naming it.
    """
    counts = {"batch_size": step.batch_size, "patience": getattr(step, "patience", None)}
    check_whole(name, 1, **{key: value for key, value in counts.items() if value is not None})
    check_whole(name, 0, seed=step.seed)
    check_positive(name, learning_rate=step.learning_rate)
    check_flags(name, resume=step.resume, verbose=step.verbose)
    ways = {"class_weights": step.class_weights, "augment": step.augment}
    check_mappings(name, **{key: value for key, value in ways.items() if value is not None})
    check_idle(
        step,
        name,
        ("resume",),
        "goes on from a checkpoint, and no folder is named",
        "give checkpoint='folder'",
        idle=step.checkpoint is None,
    )


def is_number(value: Any) -> bool:
    """Say whether a value is a number that there is, and not one of truth."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_names(step: str, **given: Any) -> None:
    """Refuse one text where a tuple of patterns is meant: its letters would be taken for them.

    Raises:
        PlanError: naming it.
    """
    for name, value in given.items():
        several = isinstance(value, Collection) and not isinstance(value, str)
        if not several or not all(isinstance(each, str) for each in value):
            like = value if isinstance(value, str) else "conv*"
            raise PlanError(
                f"{name} must be a tuple of patterns, received {value!r}.",
                where=f"{step}.{name}",
                mend=f"Write {name}=({like!r},).",
            )


def check_idle(
    step: Any, name: str, arguments: Iterable[str], why: str, mend: str, *, idle: bool
) -> None:
    """Refuse arguments that differ from their defaults where they would do nothing.

    Args:
        step: a dataclass.
        name: the name of the step.
        arguments: of the step.
        why: the end of a sentence that begins with the argument, such as "is for a latency".
        mend: what to do but leaving the argument out, such as "give latency=0.5".
        idle: whether they would do nothing.

    Raises:
        PlanError: naming the first.
    """
    for argument in arguments if idle else ():
        if getattr(step, argument) != getattr(type(step), argument):
            raise PlanError(
                f"{argument} {why}.",
                where=f"{name}.{argument}",
                mend=f"Leave it out, or {mend}.",
            )


def check_points(step: str, **given: Any) -> None:
    """Refuse what is no number of points (hundredths); `None` asks for none.

    Raises:
        PlanError: naming it.
    """
    for name, value in given.items():
        if value is not None and not (is_number(value) and 0 <= value < 100):
            raise PlanError(
                f"{name} is in points, from 0 to below 100, received {value!r}.",
                where=f"{step}.{name}",
                mend="Use 1.0.",
            )


def check_drop(step: Any, name: str) -> None:
    """Refuse what a search for the smallest model within `max_drop` cannot do, by name.

    Args:
        step: a dataclass with `max_drop`, `metric`, `smallest` and `trials`.
        name: the name of the step.

    Raises:
        PlanError: naming what is at fault; the last three without `max_drop` would do nothing.
    """
    check_whole(name, 1, trials=step.trials)
    check_idle(
        step,
        name,
        SEARCH,
        "is for a search of the smallest model within max_drop, which is not given",
        "give max_drop=1.0 as the budget",
        idle=step.max_drop is None,
    )
    check_points(name, max_drop=step.max_drop)
    for argument, known in (("metric", (None, *METRICS)), ("smallest", SMALLEST)):
        if getattr(step, argument) not in known:
            raise PlanError(
                f"{argument} cannot be {getattr(step, argument)!r}.",
                where=f"{name}.{argument}",
                mend=f"Use one of {', '.join(filter(None, known))}.",
            )
