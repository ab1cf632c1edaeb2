"""Planning for a latency: plan by a table, cut, measure, and correct the plan until it holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.cost.cost import Latency
from secateur.cost.race import race, ratio
from secateur.cost.runtimes import TITLE, write_for
from secateur.cost.table import LatencyTable, latency_table
from secateur.errors import BudgetError
from secateur.graph.graph import Graph
from secateur.graph.rebuild import rebuild
from secateur.planning.options import budget_of
from secateur.planning.plan import Plan, plan
from secateur.steps.asked import check_whole

if TYPE_CHECKING:
    import keras

# A plan that leaves less than this share of the budget unused is not corrected.
SLACK = 0.05
# What a plan that is to be corrected aims at: amid the budget and the slack below it.
AIM = 1 - SLACK / 2
# How often both models are opened anew for one measurement.
OPENINGS = 5


@dataclass(frozen=True)
class Trial:
    """One plan that was measured.

    Args:
        target: the share of the latency that was asked of the table.
        ratio: the share that the cut model took, measured.
    """

    target: float
    ratio: float


@dataclass(frozen=True)
class TimedPlan:
    """A plan whose latency was measured.

    Args:
        plan: the plan; what it was `asked` is the budget, not the target given to the table.
        before: the latency of the model as it is.
        after: the latency of the cut model, from calls in turn with those of `before`.
        trials: what was tried, in order.
        table: what the plans were made by.
    """

    plan: Plan
    before: Latency
    after: Latency
    trials: tuple[Trial, ...]
    table: LatencyTable

    @property
    def ratio(self) -> float:
        """Return the share of the latency that is left, as measured."""
        return ratio(self.before, self.after)

    @property
    def corrections(self) -> int:
        """Return how many plans were measured and made again."""
        return len(self.trials) - 1

    @property
    def note(self) -> str:
        """Return what was measured, in one sentence."""
        runtime = TITLE[self.before.runtime]
        again = {0: "", 1: ", the plan corrected once"}.get(
            self.corrections, f", the plan corrected {self.corrections} times"
        )
        asked = self.plan.asked["latency"]
        loose = "" if self.ratio >= (1 - SLACK) * asked else "; no plan in between was found"
        return (
            f"{self.ratio:.1%} of the latency is left where {asked:.1%} may be: "
            f"median {self.before.median_ms:.3g} -> {self.after.median_ms:.3g} ms on {runtime} "
            f"(batch {self.before.batch}, threads {self.before.threads}), measured in turn"
            f"{again}{loose}"
        )


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
    search = _Search(share / reached)
    measured: list[tuple[Trial, Plan, dict[str, Latency]]] = []
    with tempfile.TemporaryDirectory() as folder:
        whole = write_for(given or graph.model, runtime, Path(folder))
        while len(measured) < most and (target := search.next()) is not None:
            try:
                made = plan(graph, stats, latency=target, table=table, **options)
            except BudgetError:
                search.bottom(_smallest(graph, stats, target, table, options))
                continue
            known = [trial.ratio for trial, each, _ in measured if each.cuts == made.cuts]
            if known:
                search.measured(target, known[0] / reached)
                continue
            smaller = _written(graph, made, runtime, Path(folder))
            times = _raced(graph, whole, smaller, runtime, batch, threads, seconds)
            left = ratio(times["whole"], times["cut"])
            measured.append((Trial(target, left), made, times))
            search.measured(target, left / reached)
    return _best(share, measured, table, runtime)


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
    with tempfile.TemporaryDirectory() as folder:
        whole = write_for(graph.model, runtime, Path(folder))
        smaller = _written(graph, made, runtime, Path(folder))
        times = _raced(graph, whole, smaller, runtime, batch, threads, seconds)
    trial = Trial(least, ratio(times["whole"], times["cut"]))
    _best(share, [(trial, made, times)], table, runtime)


def _raced(
    graph: Graph,
    whole: Path,
    smaller: Path,
    runtime: str,
    batch: int,
    threads: int,
    seconds: float,
) -> dict[str, Latency]:
    return race(
        {"whole": whole, "cut": smaller},
        batch=batch,
        threads=threads,
        seconds=seconds,
        open_length=graph.open_length or 1,
        runtime=runtime,
        openings=OPENINGS,
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


def _best(
    share: float,
    measured: Iterable[tuple[Trial, Plan, dict[str, Latency]]],
    table: LatencyTable,
    runtime: str,
) -> TimedPlan:
    """Return the plan that uses most of the budget.

    Raises:
        BudgetError: none is within it.
    """
    entries = list(measured)
    within = [entry for entry in entries if entry[0].ratio <= share]
    if not within:
        least = min((trial.ratio for trial, _, _ in entries), default=1.0)
        raise BudgetError(
            f"latency cannot fall to {share:.1%} on {TITLE[runtime]}: the best that was measured "
            f"is {least:.1%} of the model's.",
            where="latency",
            mend="Ask for less, or allow narrower layers (a smaller floor) or more kinds of units.",
        )
    _, made, times = max(within, key=lambda entry: entry[0].ratio)
    return TimedPlan(
        replace(made, asked={"latency": share}),
        times["whole"],
        times["cut"],
        tuple(trial for trial, _, _ in entries),
        table,
    )


def _written(graph: Graph, made: Plan, runtime: str, folder: Path) -> Path:
    """Carry out a plan, and write what comes of it for a runtime."""
    cut = folder / "cut"
    cut.mkdir(exist_ok=True)
    return write_for(rebuild(graph, made.keep(graph)), runtime, cut)


class _Search:
    """The share to ask of the table next, from what came of those asked before.

    The measured share rises with the one that is asked, so that the right one lies between one
    that gave too little and one that gave too much: the line through both is followed (regula
    falsi), and left for the middle where it misses on the same side twice.
    """

    def __init__(self, share: float):
        self.share, self.aim = share, share * AIM
        # Shares asked of the table, with what was measured: nothing left, and all of it.
        self.low, self.high = (0.0, 0.0), (1.0, 1.0)
        self.lowest = 0.0
        self._target: float | None = self.aim
        self._over: bool | None = None
        self._tries = 0

    def next(self) -> float | None:
        """Return the share to ask for, or none once one was met or there is none in between."""
        return self._target

    def measured(self, target: float, ratio: float) -> None:
        """Take in what was measured for a share."""
        over = ratio > self.share
        met = not over and ratio >= (1 - SLACK) * self.share
        if met or (over and target <= self.lowest):
            self._target = None
            return
        if over:
            self.high = min(self.high, (target, ratio))
        else:
            self.low = max(self.low, (target, ratio))
        (left, below), (right, above) = self.low, self.high
        slope = (right - left) / (above - below) if above > below else 0.0
        following = left + (self.aim - below) * slope
        if over is self._over:
            following = (following + (left + right) / 2) / 2
        self._over = over
        self._go(following)

    def bottom(self, target: float) -> None:
        """Take in the least share that can be asked of the table, and ask for that."""
        self.lowest = self._target = target

    def _go(self, target: float) -> None:
        self._tries += 1
        left, right = max(self.low[0], self.lowest), self.high[0]
        margin = 0.02 * (right - left)
        target = min(max(target, left + margin), right - margin)
        self._target = target if self._tries < 24 and right - left > 1e-3 else None
