"""Search for the cheapest model that is still good enough: bisection, each trial healed first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from secateur.errors import BudgetError
from secateur.steps.result import Note

# Trials end when the budgets of the best and of the next cheaper one are this near.
PRECISION = 0.02

Made = TypeVar("Made")


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
    attempt: Callable[[float], tuple[Made, float]],
    *,
    whole: float,
    max_drop: float,
    trials: int,
    named: str,
    step: str = "prune",
    mend: str = "train each trial (epochs=2), or keep what is sensitive",
) -> tuple[Made, float, tuple[Trial, ...]]:
    """Return what came of the smallest budget whose metric is within the drop.

    Quality is taken to fall with the budget: the budgets are halved between the smallest that
    is good enough and the largest that is not.

    Args:
        attempt: gives, for a budget (a share of the cost), what came of it and its metric.
        whole: the metric of the whole model, a share.
        max_drop: how many points (hundredths) of it may be lost.
        trials: how many budgets are tried at most.
        named: the metric and the cost, in words.
        step: the name of the step, for errors.
        mend: what helps besides a larger drop where nothing is good enough.

    Returns:
        What came of it, its budget, and everything that was tried, in order.

    Raises:
        BudgetError: no budget that was tried is within the drop, and the least drop is named; or
            none could be met.
    """
    low, high = 0.0, 1.0
    best: tuple[Made, float] | None = None
    refused: BudgetError | None = None
    tried: list[Trial] = []
    while len(tried) < trials and high - low > PRECISION:
        share = (low + high) / 2
        try:
            result, value = attempt(share)
        except BudgetError as error:
            refused = error
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
    drops = [trial.drop for trial in tried if trial.drop is not None]
    if not drops and refused is not None:
        raise BudgetError(
            f"no budget that was tried can be met; the last one: {refused.what}",
            where=step,
            mend=refused.mend,
        )
    if best is None:
        least = np.ceil(100 * min(drops)) / 100
        raise BudgetError(
            f"no smaller model is within {max_drop:g} points of {whole:.1%} {named}; tried: "
            f"{'; '.join(map(told, tried))}.",
            where=step,
            mend=f"Allow a larger max_drop ({least:g} was reached), {mend}.",
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
