"""What `Prune` is asked for, checked before anything is done."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from secateur.cost.runtimes import check_runtime
from secateur.errors import BudgetError, PlanError
from secateur.planning.criteria import criterion
from secateur.planning.options import KINDS, budget_of, check_options
from secateur.planning.schedules import schedule, share_at

if TYPE_CHECKING:
    from secateur.steps.prune import Prune

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "r2")
SMALLEST = ("macs", "params", "bytes", "latency")


def check(step: Prune) -> None:
    """Refuse arguments that contradict each other or mean nothing, by name.

    Raises:
        BudgetError: there is no budget, more than one, or one out of range.
        PlanError: another argument is at fault.
    """
    named = [name for name, value in budgets_of(step).items() if value is not None]
    if len(named) != 1:
        raise BudgetError(
            f"exactly one budget is needed, received {', '.join(named) or 'none'}.",
            where="prune",
            mend=f"Give one of {', '.join(budgets_of(step))}.",
        )
    if named != ["max_drop"]:
        budget_of(**{named[0]: budgets_of(step)[named[0]]})
    criterion(step.by)
    check_options(step.scope, step.round_to, step.floor)
    unknown = [kind for kind in step.kinds or () if kind not in KINDS]
    for wrong, name, what, mend in (
        (
            step.max_drop is not None and not 0 <= step.max_drop < 100,
            "max_drop",
            f"is in points, from 0 to below 100, received {step.max_drop!r}",
            "Use 1.0.",
        ),
        (
            step.metric is not None and step.metric not in METRICS,
            "metric",
            f"cannot be {step.metric!r}",
            f"Use one of {', '.join(METRICS)}.",
        ),
        (
            step.smallest not in SMALLEST,
            "smallest",
            f"cannot be {step.smallest!r}",
            f"Use one of {', '.join(SMALLEST)}.",
        ),
        (
            step.sensitivity and step.rounds > 1,
            "sensitivity",
            "is measured for one round alone",
            "Use rounds=1.",
        ),
        (step.trials < 1, "trials", f"must be at least 1, received {step.trials}", "Use 7."),
        (step.rounds < 1, "rounds", f"must be at least 1, received {step.rounds}", "Use 1."),
        (step.epochs < 0, "epochs", f"must be at least 0, received {step.epochs}", "Use 0."),
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
        (step.batch < 1, "batch", f"must be at least 1, received {step.batch}", "Use 1."),
        (step.threads < 1, "threads", f"must be at least 1, received {step.threads}", "Use 1."),
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
        (step.samples < 1, "samples", f"must be at least 1, received {step.samples}", "Use 512."),
        (
            bool(unknown) or step.kinds == (),
            "kinds",
            f"cannot be {step.kinds!r}",
            f"Kinds are {', '.join(KINDS)}.",
        ),
    ):
        if wrong:
            raise PlanError(f"{name} {what}.", where="prune", mend=mend)
    if "latency" in (*named, step.smallest if named == ["max_drop"] else ""):
        check_runtime(step.runtime)
    if step.max_drop is None:
        left_after_rounds(step)


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
                where="prune",
                mend="Use linear, cubic, cosine or exponential, or fewer rounds.",
            )
    return name, left
