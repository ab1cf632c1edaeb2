"""Search for the cheapest model that is still good enough: bisection, each trial healed first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secateur.errors import BudgetError
from secateur.steps.result import Note, Result

# Trials end when the budgets of the best and of the next cheaper one are this near.
PRECISION = 0.02


@dataclass(frozen=True)
class Trial:
    """A budget that was tried.

    Args:
        share: the budget.
        value: the metric that came of it, `None` where the budget could not be met.
        drop: how many points that is below the metric of the whole model.
        why: why it could not be met.
        chosen: whether it is the one that was taken.
    """

    share: float
    value: float | None = None
    drop: float | None = None
    why: str = ""
    chosen: bool = False


def cheapest(
    attempt: Callable[[float], tuple[Result, float]],
    *,
    whole: float,
    max_drop: float,
    trials: int,
    named: str,
) -> tuple[Result, float, tuple[Trial, ...]]:
    """Return the result of the smallest budget whose metric is within the drop.

    Quality is taken to fall with the budget: the budgets are halved between the smallest that
    is good enough and the largest that is not.

    Args:
        attempt: gives, for a budget (a share of the cost), what came of it and its metric.
        whole: the metric of the whole model, a share.
        max_drop: how many points (hundredths) of it may be lost.
        trials: how many budgets are tried at most.
        named: the metric and the cost, in words.

    Returns:
        The result, its budget, and everything that was tried, in order.

    Raises:
        BudgetError: no budget that was tried is within the drop; the nearest is named.
    """
    low, high = 0.0, 1.0
    best: tuple[Result, float] | None = None
    tried: list[Trial] = []
    while len(tried) < trials and high - low > PRECISION:
        share = (low + high) / 2
        try:
            result, value = attempt(share)
        except BudgetError as error:
            tried.append(Trial(share, why=error.what))
            low = share
            continue
        # So that what a hundredth of the rows is worth is a point.
        drop = round(100 * (whole - value), 9)
        tried.append(Trial(share, value, drop))
        if drop <= max_drop:
            best, high = (result, share), share
        else:
            low = share
    if best is None:
        raise BudgetError(
            f"no smaller model is within {max_drop:g} points of {whole:.1%} {named}; tried: "
            f"{'; '.join(map(told, tried))}.",
            where="prune",
            mend="Allow a larger max_drop, train each trial (epochs=2), or keep what is sensitive.",
        )
    return (*best, tuple(tried))


def told(trial: Trial) -> str:
    """Return a trial in words."""
    if trial.value is None or trial.drop is None:
        return f"{trial.share:.1%}: cannot be met"
    way = "below" if trial.drop >= 0 else "above"
    return f"{trial.share:.1%}: {trial.value:.1%}, {abs(trial.drop):.2f} points {way} the whole"


def notes_of(tried: tuple[Trial, ...], chosen: float, named: str) -> list[Note]:
    """Return one note for each budget that was tried."""
    return [
        Note(
            "search",
            "done",
            f"tried {told(trial)}{' (chosen)' if trial.share == chosen else ''}",
            named,
        )
        for trial in tried
    ]
