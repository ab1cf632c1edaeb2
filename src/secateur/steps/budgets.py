"""What `Prune` is asked for, checked before anything is done."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.cost.runtimes import check_runtime
from secateur.errors import BudgetError, PlanError
from secateur.planning.criteria import criterion
from secateur.planning.options import budget_of, check_options
from secateur.planning.schedules import schedule, share_at
from secateur.steps.asked import (
    check_drop,
    check_flags,
    check_idle,
    check_kinds,
    check_names,
    check_whole,
)

if TYPE_CHECKING:
    from secateur.steps.prune import Prune

STEP = "prune"


def check(step: Prune) -> None:
    """Refuse arguments that contradict each other or mean nothing, by name.

    Raises:
        BudgetError: there is no budget, more than one, or one out of range.
        PlanError: another argument is at fault.
    """
    _check_types(step)
    named = [name for name, value in budgets_of(step).items() if value is not None]
    if len(named) != 1:
        raise BudgetError(
            f"exactly one budget is needed, received {', '.join(named) or 'none'}.",
            where=STEP,
            mend=f"Give one of {', '.join(budgets_of(step))}.",
        )
    if named != ["max_drop"]:
        budget_of(**{named[0]: budgets_of(step)[named[0]]})
    criterion(step.by)
    check_options(step.scope, step.round_to, step.floor)
    check_kinds(STEP, step.kinds)
    check_drop(step, STEP)
    for wrong, name, what, mend in (
        (
            step.sensitivity and step.rounds > 1,
            "sensitivity",
            "is measured for one round alone",
            "Use rounds=1.",
        ),
        (
            step.epochs > 0 and step.rounds == 1 and step.max_drop is None,
            "epochs",
            "of training lie between two rounds, and there is one",
            "Use rounds=3, or FineTune after it.",
        ),
        (
            step.distill and not step.epochs,
            "distill",
            "is for the epochs between two rounds, and there are none",
            "Give epochs=5.",
        ),
        (
            step.schedule is not None and step.rounds == 1,
            "schedule",
            "says how a budget is divided among rounds, and there is one",
            "Use rounds=3.",
        ),
        (
            step.rewind is not None
            and not step.epochs
            and (step.rounds > 1 or step.max_drop is not None),
            "rewind",
            "takes the training back, so that it has to be trained before the next cut",
            "Give epochs=5.",
        ),
    ):
        if wrong:
            raise PlanError(f"{name} {what}.", where=STEP, mend=mend)
    _check_idle(step, named[0])
    if step.max_drop is None:
        left_after_rounds(step)


def _check_types(step: Prune) -> None:
    check_whole(STEP, 1, rounds=step.rounds, samples=step.samples)
    check_whole(STEP, 1, batch=step.batch, threads=step.threads)
    check_whole(STEP, 0, epochs=step.epochs, seed=step.seed)
    check_flags(STEP, distill=step.distill, heal=step.heal)
    if step.sensitivity is not None:
        check_flags(STEP, sensitivity=step.sensitivity)
    check_names(STEP, keep=step.keep)
    if step.rewind is not None and not isinstance(step.rewind, (str, Path)):
        raise PlanError(
            f"rewind must be the path of a model's file, received {type(step.rewind).__name__}.",
            where=f"{STEP}.rewind",
            mend="Save the model early in its training: model.save('early.keras').",
        )


def _check_idle(step: Prune, budget: str) -> None:
    """Refuse what would be passed over in silence."""
    timed = budget == "latency" or (budget == "max_drop" and step.smallest == "latency")
    if timed:
        check_runtime(step.runtime)
    check_idle(
        step,
        STEP,
        ("runtime", "batch", "threads"),
        "is for a budget that is measured, which latency is",
        "give latency=0.5 as the budget",
        idle=not timed,
    )


def budgets_of(step: Prune) -> dict[str, float | None]:
    """Return every budget by its name, `None` where it was not given."""
    return {
        "macs": step.macs,
        "params": step.params,
        "bytes": step.bytes,
        "latency": step.latency,
        "ratio": step.ratio,
        "max_drop": step.max_drop,
    }


def left_after_rounds(step: Prune) -> tuple[str, list[float]]:
    """Return the budget's name, and which share of the whole may be left after each round.

    Without a schedule each round leaves the same share of what it is given. A schedule says which
    share of all that goes has gone after each round.

    Raises:
        PlanError: the schedule has a round remove nothing.
    """
    name, value = next((n, v) for n, v in budgets_of(step).items() if v is not None)
    target = 1 - value if name == "ratio" else value
    parts = [number / step.rounds for number in range(1, step.rounds + 1)]
    if step.schedule is None:
        return name, [target**part for part in parts]
    grows = schedule(step.schedule)
    left = [1 - (1 - target) * share_at(grows, part) for part in parts[:-1]] + [target]
    for number, (before, after) in enumerate(pairwise([1.0, *left]), start=1):
        if after >= before:
            raise PlanError(
                f"the schedule {step.schedule!r} has round {number} of {step.rounds} remove "
                "nothing.",
                where=STEP,
                mend="Use linear, cubic, cosine or exponential, or fewer rounds.",
            )
    return name, left
