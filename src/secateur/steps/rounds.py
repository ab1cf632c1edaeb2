"""One round of pruning: what its plan is made by, and what the plan really leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from secateur.cost.measure import measure
from secateur.errors import DataError, PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.criteria import Criterion, criterion, needed, needs_labels
from secateur.planning.options import kinds_of
from secateur.planning.plan import Plan, plan
from secateur.steps.timed import TimedPlan, check_reach, plan_for_latency

if TYPE_CHECKING:
    import keras

    from secateur.steps.prune import Prune


@dataclass(frozen=True)
class Rounds:
    """All rounds of one pruning.

    Args:
        step: what was asked for.
        given: the model before all rounds.
        x: the rows that criteria see, or None.
        y: their labels, or None.
        by: the criterion, weighed by what was measured where that was asked for.
        budget: the name of the budget.
        left: which share of the given model's may be left after each round.
    """

    step: Prune
    given: keras.Model
    x: Any
    y: Any
    by: str | Criterion
    budget: str
    left: tuple[float, ...]
    widths: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        # A floor is a share of the widths before all rounds.
        several = len(self.left) > 1
        widths = {each.name: len(each) for each in trace(self.given).groups} if several else {}
        object.__setattr__(self, "widths", widths)

    def plan(
        self, model: keras.Model, number: int, reached: float
    ) -> tuple[Plan, TimedPlan | None]:
        """Return the plan of a round, and what was measured of it where that was asked for.

        Args:
            model: what is left of the given model.
            number: which round it is, from 1.
            reached: the share of the budget that is left.

        Raises:
            BudgetError: the budget cannot be met; that of the last round is looked at in the first.
            PlanError: nothing can be removed.
            DataError: the criterion needs data and there is none.
        """
        step, target, last = self.step, self.left[number - 1], self.left[-1]
        graph = trace(model)
        stats = self._observed(graph)
        options: dict[str, Any] = {
            "by": self.by,
            "scope": step.scope,
            "round_to": step.round_to,
            "floor": step.floor,
            "keep": step.keep,
            "kinds": step.kinds,
            "widths": self.widths,
        }
        several = number == 1 and len(self.left) > 1
        if self.budget == "latency":
            where = step.runtime, step.batch, step.threads
            if several:
                check_reach(graph, stats, last, *where, **options)
            timed = plan_for_latency(
                graph, stats, target, *where, given=self.given, reached=reached, **options
            )
            return timed.plan, timed
        if several:
            plan(graph, stats, **self._asked(last), **options)
        return plan(graph, stats, **self._asked(target / reached), **options), None

    def reached(
        self,
        made: Plan,
        timed: TimedPlan | None,
        reached: float,
        whole: keras.Model,
        smaller: keras.Model,
    ) -> float:
        """Return the share of the budget that a plan really leaves.

        Args:
            made: the plan.
            timed: what was measured of it, against the given model.
            reached: the share that was left before it.
            whole: the model before it.
            smaller: the model after it.
        """
        return reached * self._left(made, whole, smaller) if timed is None else timed.ratio

    def _left(self, made: Plan, whole: keras.Model, smaller: keras.Model) -> float:
        if self.budget == "bytes":
            return measure(smaller).bytes / measure(whole).bytes
        if self.budget == "ratio":
            graph = trace(whole)
            allowed = kinds_of(graph, self.step.kinds)
            units = sum(len(group) for group in graph.groups if group.kind in allowed)
            return 1 - sum(len(entry.remove) for entry in made.cuts) / units
        counted = {"macs": "macs", "params": "parameters"}[self.budget]
        return made.after[counted] / made.before[counted]

    def _asked(self, share: float) -> dict[str, float]:
        return {self.budget: 1 - share if self.budget == "ratio" else share}

    def _observed(self, graph: Any) -> Any:
        rank = criterion(self.by)
        needs = needed(rank)
        if needs - {"weights"} and self.x is None:
            labels = " with labels" if needs_labels(rank) else ""
            raise DataError(
                f"the criterion {self.step.by!r} needs data{labels}, and none was given.",
                where="prune",
                mend="Pass a Dataset, or use by='l2'.",
            )
        rows = (self.x, self.y) if needs_labels(rank) else self.x
        return observe(graph, rows, needs=needs, seed=self.step.seed)


def check_same(early: keras.Model, given: keras.Model, where: object) -> None:
    """Refuse weights to rewind to that are those of a model built otherwise.

    Args:
        early: the model whose weights they are.
        given: the model that is to be pruned.
        where: the file of `early`.

    Raises:
        PlanError: naming the first difference.
    """
    one, other = trace(early), trace(given)
    if one.fingerprint() == other.fingerprint():
        return
    shapes = [{key: tuple(w.shape) for key, w in each.variables.items()} for each in (one, other)]
    there, wanted = shapes
    differs = "its layers are wired otherwise"
    for key in dict.fromkeys((*wanted, *there)):
        if there.get(key) != wanted.get(key):
            has, needs = (str(each.get(key, "no such weight")) for each in shapes)
            differs = f"{key} is {has} in it and {needs} in the given model"
            break
    raise PlanError(
        f"the weights to rewind to are those of another model: {differs}.",
        where=where,
        mend="Name a file of the model that is pruned, saved early in its training.",
    )
