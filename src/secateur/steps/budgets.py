"""What `Prune` is asked for, checked before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.errors import BudgetError, PlanError
from secateur.planning.criteria import criterion
from secateur.planning.options import KINDS, budget_of, check_options

if TYPE_CHECKING:
    from secateur.steps.prune import Prune

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "r2")
SMALLEST = ("macs", "params")


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
            f"Use {' or '.join(SMALLEST)}.",
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


def budgets_of(step: Prune) -> dict[str, float | None]:
    """Return every budget by its name, `None` where it was not given."""
    return {
        "macs": step.macs,
        "params": step.params,
        "ratio": step.ratio,
        "max_drop": step.max_drop,
    }


def round_by_round(step: Prune) -> tuple[str, list[float]]:
    """Return the budget's name and what it is in each round, as a share of what is left then."""
    name, value = next((n, v) for n, v in budgets_of(step).items() if v is not None)
    each = (1 - value if name == "ratio" else value) ** (1 / step.rounds)
    return name, [1 - each if name == "ratio" else each] * step.rounds
