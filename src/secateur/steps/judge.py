"""Judge smaller models by one metric on the validation rows, of which points may be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secateur.errors import DataError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.steps.asked import METRICS

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset


def judged_by(
    model: keras.Model, data: Dataset | None, metric: str | None, step: str
) -> tuple[Callable[[keras.Model], float], float, str]:
    """Return what judges a model, what it gives for the whole one, and the name of the metric.

    Args:
        model: the whole model.
        data: its validation rows are judged on.
        metric: a metric that is a share, the higher the better; by default `r2` for a value and
            `accuracy` for classes.
        step: the name of the step, for errors.

    Raises:
        DataError: there are no validation rows.
        PlanError: the task does not have the metric.
    """
    split = getattr(data, "validation", None)
    if split is None or not split.rows:
        raise DataError(
            "max_drop needs validation rows to judge a model on, and there are none.",
            where=step,
            mend="Pass a Dataset with a validation split, or give a budget: macs=0.5.",
        )
    whole = evaluate(model, split)
    name = metric or whole.headline[0]
    if getattr(whole, name) is None:
        has = [each for each in METRICS if getattr(whole, each) is not None]
        raise PlanError(
            f"a {whole.task} with these classes has no {name}.",
            where=step,
            mend=f"Use metric={has[0]!r}." if len(has) == 1 else f"Use one of {', '.join(has)}.",
        )
    return lambda smaller: getattr(evaluate(smaller, split), name), getattr(whole, name), name
