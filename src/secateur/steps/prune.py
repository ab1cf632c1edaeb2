"""Prune: observe, plan, cut and heal, at once or in rounds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.cost.measure import measure
from secateur.errors import BudgetError, DataError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.criteria import Criterion, criterion, needed
from secateur.planning.plan import Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.finetune import FineTune
from secateur.steps.healing import heal
from secateur.steps.result import Note, Result, Stage

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset
    from secateur.steps.training import Curve


@dataclass(frozen=True)
class Prune:
    """Remove units until a budget holds, and heal what is left.

    Exactly one budget is given.

    Args:
        macs: the share of the multiply-adds that may be left.
        params: the share of the parameters that may be left.
        ratio: the share of the units that goes.
        by: the criterion, by name or as a function `(group, stats) -> scores`.
        scope: `global` lets groups compete, `local` takes the same share from each.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays.
        keep: patterns of layers whose units stay.
        kinds: what may go; by default all kinds of units but `block` (see `plan`).
        rounds: in how many rounds the budget is reached, each with the same share of what is left.
        epochs: how many epochs of training lie between two rounds.
        heal: whether to heal after each cut.
        samples: how many training rows criteria and healing see.
        seed: which rows these are.
    """

    macs: float | None = None
    params: float | None = None
    ratio: float | None = None
    by: str | Criterion = "taylor"
    scope: str = "global"
    round_to: int = 8
    floor: float = 0.1
    keep: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    rounds: int = 1
    epochs: int = 0
    heal: bool = True
    samples: int = 512
    seed: int = 0

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the pruned model.

        Args:
            model: a built functional or Sequential model; it is untouched.
            data: for criteria on data, and for healing.

        Raises:
            BudgetError: the budget is out of range or cannot be met.
            PlanError: nothing can be removed.
            DataError: the criterion needs data and there is none.
        """
        name, budgets = self._budgets()
        before = measure(model)
        plans: list[Plan] = []
        notes: list[Note] = []
        stages: list[Stage] = []
        curves: list[tuple[str, Curve]] = []
        for number, budget in enumerate(budgets, start=1):
            start = time.perf_counter()
            x, y = (None, None) if data is None else data.train.sample(self.samples, seed=self.seed)
            made = self._plan(model, x, y, {name: budget})
            smaller = cut(model, made)
            plans.append(made)
            suffix = f" {number}/{len(budgets)}" if len(budgets) > 1 else ""
            notes += [
                Note(
                    "prune",
                    "done",
                    f"{entry.change}, {entry.reason}",
                    entry.group,
                )
                for entry in made.cuts
            ]
            stages.append(Stage(f"cut{suffix}", smaller, time.perf_counter() - start))
            if self.heal and x is None:
                notes.append(Note("heal", "skipped", "there is no data to heal on"))
            elif self.heal:
                start = time.perf_counter()
                smaller, healed = heal(smaller, model, made, x, seed=self.seed)
                notes += [_told(entry) for entry in healed]
                stages.append(Stage(f"healed{suffix}", smaller, time.perf_counter() - start))
            if self.epochs and number < len(budgets):
                between = FineTune(epochs=self.epochs, seed=self.seed)(smaller, data)
                smaller = between.model
                stages += [Stage(f"trained{suffix}", smaller, between.stages[-1].seconds)]
                curves += [(f"trained{suffix}", curve) for _, curve in between.curves]
            model = smaller
        return Result(
            model, before, measure(model), tuple(plans), tuple(notes), tuple(stages), tuple(curves)
        )

    def _budgets(self) -> tuple[str, list[float]]:
        """Return the budget's name and its value for each round."""
        given = {"macs": self.macs, "params": self.params, "ratio": self.ratio}
        named = [(name, value) for name, value in given.items() if value is not None]
        if len(named) != 1:
            received = ", ".join(name for name, _ in named) or "none"
            raise BudgetError(
                f"exactly one budget is needed, received {received}.",
                where="prune",
                mend=f"Give one of {', '.join(given)}.",
            )
        if self.rounds < 1:
            raise BudgetError(
                f"rounds must be at least 1, received {self.rounds}.", where="prune", mend="Use 1."
            )
        ((name, value),) = named
        if not 0 < value < 1 or self.rounds == 1:
            # `plan` tells what is wrong with a value out of range.
            return name, [value]
        each = (1 - value if name == "ratio" else value) ** (1 / self.rounds)
        return name, [1 - each if name == "ratio" else each] * self.rounds

    def _plan(self, model: keras.Model, x: Any, y: Any, budget: dict[str, float]) -> Plan:
        graph = trace(model)
        needs = needed(criterion(self.by))
        if needs - {"weights"} and x is None:
            raise DataError(
                f"the criterion {self.by!r} needs data with labels, and none was given.",
                where="prune",
                mend="Pass a Dataset, or use by='l2'.",
            )
        stats = observe(graph, None if x is None else (x, y), needs=needs, seed=self.seed)
        return plan(
            graph,
            stats,
            by=self.by,
            scope=self.scope,
            round_to=self.round_to,
            floor=self.floor,
            keep=self.keep,
            kinds=self.kinds,
            **budget,
        )


def _told(entry: Any) -> Note:
    share = "" if entry.explained is None else f", {entry.explained:.0%} of what was lost is back"
    kind = "skipped" if entry.done.startswith("left") else "done"
    return Note("heal", kind, f"{entry.done}{share}", entry.layer)
