"""What `Select` is asked for, checked before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from secateur.cost.runtimes import check_runtime
from secateur.errors import PlanError
from secateur.planning.criteria import criterion
from secateur.planning.options import budget_of, check_options
from secateur.steps.asked import (
    check_flags,
    check_idle,
    check_kinds,
    check_mappings,
    check_names,
    check_positive,
    check_trained,
    check_whole,
)
from secateur.steps.gates import gates_by
from secateur.steps.network import STEP
from secateur.steps.quantize import Quantize

if TYPE_CHECKING:
    from secateur.steps.select import Select

# The options of `Quantize` that go with gates.
Rounded = Literal["calibration", "equalize", "correct_bias", "reduce_range", "keep"]


def check(step: Select) -> None:
    """Refuse arguments that contradict each other or mean nothing, by name.

    Raises:
        BudgetError: there is no budget, more than one, or one out of range.
        ModelError: the runtime of a latency is not known.
        PlanError: another argument is at fault.
    """
    name, _ = budget_of(macs=step.macs, params=step.params, latency=step.latency)
    if name == "latency":
        check_runtime(step.runtime)
    check_idle(
        step,
        STEP,
        ("runtime", "batch", "threads"),
        f"is for a budget of latency, received one of {name}",
        "give latency=0.5 as the budget",
        idle=name != "latency",
    )
    check_trained(step, STEP)
    check_whole(STEP, 1, epochs=step.epochs, samples=step.samples)
    check_whole(STEP, 1, batch=step.batch, threads=step.threads)
    check_positive(STEP, gate_learning_rate=step.gate_learning_rate)
    check_flags(STEP, rewind=step.rewind, heal=step.heal)
    check_mappings(STEP, quantize=step.quantize)
    check_names(STEP, keep=step.keep)
    check_kinds(STEP, step.kinds)
    check_options("global", step.round_to, step.floor)
    rounding_of(step)
    gates_by(step.gates)
    criterion(step.by)


def rounding_of(step: Select) -> Quantize:
    """Return the step that finds the ranges to begin with.

    Raises:
        PlanError: `quantize` has an option that does not go with gates, or that means nothing.
    """
    options = {} if isinstance(step.quantize, bool) else dict(step.quantize)
    wrong = [key for key in options if key not in get_args(Rounded)]
    if wrong:
        raise PlanError(
            f"there is no {wrong[0]!r} of quantize.",
            where=f"{STEP}.quantize",
            mend=f"Known are {', '.join(get_args(Rounded))}.",
        )
    return Quantize(samples=step.samples, seed=step.seed, **options)
