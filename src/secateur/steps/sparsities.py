"""What `Sparsify` is asked for, checked before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.errors import PlanError
from secateur.planning.patterns import Unstructured
from secateur.planning.rewiring import METHODS
from secateur.planning.schedules import schedule, share_at
from secateur.steps.asked import (
    TRAINING,
    check_flags,
    check_idle,
    check_names,
    check_trained,
    check_whole,
    is_number,
)
from secateur.steps.masking import Settings

if TYPE_CHECKING:
    from secateur.steps.sparsify import Sparsify

STEP = "sparsify"
# What says how masks are trained, and does nothing without training.
_MASKS = ("schedule", "every", "end", *TRAINING)


def settings_of(step: Sparsify) -> Settings:
    """Check the options of a step, and return those that say how masks come about.

    Raises:
        PlanError: an option is wrong, contradicts another, or would do nothing.
    """
    _check_choice("method", step.method, ("gradual", *METHODS))
    _check_choice("by", step.by, ("magnitude", "movement"))
    _check_types(step)
    gradual = step.method == "gradual"
    every = step.every if step.every is not None else 10 if gradual else 100
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise _wrong("every", "a whole number of steps from 1", every, "Use 10.")
    if not is_number(step.end) or not 0 < step.end <= 1:
        raise _wrong("end", "a share of the training above 0", step.end, "Use 0.75.")
    if not is_number(step.drop) or not 0 < step.drop < 1:
        raise _wrong("drop", "a share between 0 and 1", step.drop, "Use 0.3.")
    if not gradual:
        _check_dynamic(step)
    grows = schedule(step.schedule or "cubic")
    if share_at(grows, 1.0) != 1:
        raise PlanError(
            f"the schedule ends at {share_at(grows, 1.0):g} of the sparsity, not at 1.",
            where="schedule",
            mend="Return 1 for progress 1, and lower sparsity instead.",
        )
    if step.by == "movement" and (not gradual or not step.epochs or share_at(grows, 0.0) > 0):
        raise PlanError(
            "weights have not moved before training, so movement cannot choose among them.",
            where="by",
            mend="Use by='magnitude', or a gradual method with epochs and schedule='cubic'.",
        )
    _check_idle(step)
    return Settings(
        sparsity=_share(step),
        pattern=step.pattern,
        schedule=grows,
        every=every,
        end=step.end,
        by=step.by,
        method=step.method,
        drop=step.drop,
        seed=step.seed,
        cut_empty=step.cut_empty,
    )


def _check_types(step: Sparsify) -> None:
    check_whole(STEP, 0, epochs=step.epochs)
    check_whole(STEP, 1, round_to=step.round_to)
    check_flags(STEP, cut_empty=step.cut_empty)
    check_names(STEP, keep=step.keep, also=step.also)
    check_trained(step, STEP)
    if not hasattr(step.pattern, "masks"):
        raise _wrong("pattern", "a pattern of zeros", step.pattern, "Use NofM(2, 4) for 2:4.")


def _check_idle(step: Sparsify) -> None:
    """Refuse what would be passed over in silence."""
    for names, idle, why, mend in (
        (_MASKS, not step.epochs, "is of the training, and epochs is 0", "give epochs=5"),
        (
            ("drop",),
            step.method == "gradual",
            "is of the methods that move zeros, set and rigl",
            "choose one: method='rigl'",
        ),
        (
            ("round_to",),
            not step.cut_empty,
            "is of the cut of empty units, which is off",
            "give cut_empty=True",
        ),
    ):
        check_idle(step, STEP, names, why, mend, idle=idle)


def _check_dynamic(step: Sparsify) -> None:
    if not isinstance(step.pattern, Unstructured):
        raise PlanError(
            f"{step.method} moves single weights, which breaks {step.pattern!r}.",
            where="pattern",
            mend="Use Unstructured(), or method='gradual'.",
        )
    if step.schedule is not None or not step.epochs:
        raise PlanError(
            f"{step.method} has all its zeros from the start and moves them in training; "
            f"received {'a schedule' if step.epochs else 'epochs=0'}.",
            where="schedule" if step.epochs else "epochs",
            mend="Leave the schedule out." if step.epochs else "Give epochs.",
        )


def _share(step: Sparsify) -> float:
    fixed, value = step.pattern.fixed, step.sparsity
    if fixed is not None and value in (None, fixed):
        return fixed
    if fixed is not None:
        raise PlanError(
            f"{step.pattern!r} has {fixed:.3g} of its weights zero, not {value!r}.",
            where="sparsity",
            mend="Leave sparsity out, or choose another pattern.",
        )
    if value is None or not is_number(value) or not 0 < value < 1:
        raise _wrong("sparsity", "a share between 0 and 1", value, "0.8 makes four of five zero.")
    return float(value)


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PlanError(
            f"there is no {name} {value!r}.", where=name, mend=f"Use one of {', '.join(known)}."
        )


def _wrong(name: str, wanted: str, value: object, mend: str) -> PlanError:
    return PlanError(f"{name} must be {wanted}, received {value!r}.", where=name, mend=mend)
