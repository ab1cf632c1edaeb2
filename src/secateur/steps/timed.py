"""Planning for a latency: plan by a table, cut, measure, and correct the plan until it holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.cost.table import LatencyTable, latency_table
from secateur.errors import BudgetError
from secateur.graph.graph import Graph
from secateur.graph.rebuild import rebuild
from secateur.planning.options import budget_of
from secateur.planning.plan import Plan, plan
from secateur.steps.asked import check_whole
from secateur.steps.latency import Timing, within_latency

if TYPE_CHECKING:
    import keras

_MEND = "Ask for less, or allow narrower layers (a smaller floor) or more kinds of units."


@dataclass(frozen=True)
class TimedPlan:
    """A plan whose latency was measured.

    Args:
        plan: the plan; what it was `asked` is the budget, not the target given to the table.
        timing: what was measured of the model as it is, and cut.
        table: what the plans were made by.
    """

    plan: Plan
    timing: Timing
    table: LatencyTable

    @property
    def ratio(self) -> float:
        """Return the share of the latency that is left, as measured."""
        return self.timing.ratio

    @property
    def corrections(self) -> int:
        """Return how many plans were measured and made again."""
        return self.timing.corrections

    @property
    def note(self) -> str:
        """Return what was measured, in one sentence."""
        return self.timing.told("plan")


def plan_for_latency(
    graph: Graph,
    stats: Any,
    share: float,
    runtime: str = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
    *,
    given: keras.Model | None = None,
    reached: float = 1.0,
    cache: str | Path | None = None,
    seconds: float = 4.0,
    most: int = 6,
    **options: Any,
) -> TimedPlan:
    """Plan so that the cut model takes a share of the model's measured latency.

    The plan is made by a table of measured latencies (`latency_table`), carried out, exported and
    timed against the model, one call of each in turn. Where it takes more time than it may, or over
    5 % less than that, the table is asked for another share: what was missed is corrected in the
    plan. The least important units a millisecond go first (Shen et al. 2022, "HALP").

    Args:
        graph: a traced model; the model is untouched.
        stats: what `observe` gathered for the criterion.
        share: the share of the latency that may be left, between 0 and 1.
        runtime: `onnxruntime`, `openvino` or `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        given: the model whose latency the share is of, where that is not the one to be planned
            for but one that it was cut from.
        reached: the share of its latency that the model takes, as measured.
        cache: the JSON file of samples that the table is made from; the user's by default.
        seconds: how long the two models are timed, in turn, each time.
        most: how many plans are measured at the most.
        options: what `plan` takes besides the budget: `by`, `scope`, `round_to`, `floor`, ...

    Raises:
        BudgetError: the budget is out of range or cannot be met; the best that was measured is
            named.
        PlanError: nothing can be removed, or an option is wrong.
        ModelError: the runtime is not known, or cannot run the model.
        MissingExtraError: the runtime is not installed.
    """
    budget_of(latency=share)
    check_whole("latency", 1, batch=batch, threads=threads)
    table = latency_table(graph, runtime=runtime, batch=batch, threads=threads, cache=cache)

    def attempt(target: float) -> Plan:
        return plan(graph, stats, latency=target, table=table, **options)

    made, timing = within_latency(
        graph.model if given is None else given,
        share,
        attempt,
        lambda made: rebuild(graph, made.keep(graph)),
        lambda refused: _smallest(graph, stats, refused, table, options),
        mend=_MEND,
        # The target is part of a plan.
        alike=lambda one, other: one.cuts == other.cuts,
        runtime=runtime,
        batch=batch,
        threads=threads,
        open_length=graph.open_length,
        reached=reached,
        seconds=seconds,
        most=most,
    )
    return TimedPlan(replace(made, asked={"latency": share}), timing, table)


def check_reach(
    graph: Graph,
    stats: Any,
    share: float,
    runtime: str = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
    *,
    cache: str | Path | None = None,
    seconds: float = 4.0,
    **options: Any,
) -> None:
    """Refuse a share of the latency that the smallest model by the table does not meet, measured.

    Args:
        graph: a traced model; the model is untouched.
        stats: what `observe` gathered for the criterion.
        share: the share of the latency that may be left, between 0 and 1.
        runtime: `onnxruntime`, `openvino` or `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        cache: the JSON file of samples that the table is made from; the user's by default.
        seconds: how long the two models are timed, in turn.
        options: what `plan` takes besides the budget.

    Raises:
        BudgetError: it does not; what was measured is named.
    """
    table = latency_table(graph, runtime=runtime, batch=batch, threads=threads, cache=cache)
    least = _smallest(graph, stats, 0.0, table, options)
    made = plan(graph, stats, latency=least, table=table, **options)
    within_latency(
        graph.model,
        share,
        lambda _: made,
        lambda made: rebuild(graph, made.keep(graph)),
        lambda _: least,
        mend=_MEND,
        runtime=runtime,
        batch=batch,
        threads=threads,
        open_length=graph.open_length,
        seconds=seconds,
        most=1,
    )


def _smallest(
    graph: Graph, stats: Any, refused: float, table: LatencyTable, options: dict[str, Any]
) -> float:
    """Return the least share that a plan can reach by the table, to a hundredth of it.

    Raises:
        BudgetError: no plan saves anything.
    """
    low, high = refused, 0.9999
    plan(graph, stats, latency=high, table=table, **options)
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        try:
            plan(graph, stats, latency=middle, table=table, **options)
            high = middle
        except BudgetError:
            low = middle
    return high
