"""Prune: observe, plan, cut and heal, at once or in rounds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secateur.cost.measure import measure
from secateur.errors import DataError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.evaluation.metrics import Metrics
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.criteria import Criterion, criterion, needed
from secateur.planning.plan import Plan, plan
from secateur.planning.sensitivity import Sensitivity, calibrated
from secateur.steps.budgets import METRICS, check, round_by_round
from secateur.steps.cutting import cut
from secateur.steps.finetune import FineTune
from secateur.steps.healing import heal
from secateur.steps.result import Note, Result, Stage, joined, perform
from secateur.steps.search import cheapest, notes_of
from secateur.steps.sensitivity import sensitivity

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
        max_drop: how many points (hundredths) of `metric` on the validation rows may be lost; the
            smallest model that loses no more is searched for.
        metric: `accuracy`, `balanced_accuracy`, `macro_f1`, `auc` or `r2`; by default `r2` for a
            value and `accuracy` for classes.
        smallest: with `max_drop`, what is to be smallest: `macs` or `params`.
        trials: with `max_drop`, how many budgets are tried at most.
        sensitivity: whether to measure first how much each group matters, and to weigh its scores
            by that; by default with `max_drop` and one round.
        by: the criterion, by name or as a function `(group, stats) -> scores`.
        scope: `global` lets groups compete, `local` takes the same share from each.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays.
        keep: patterns of layers whose units stay.
        kinds: what may go; by default all kinds of units but `block` (see `plan`).
        rounds: in how many rounds the budget is reached, each with the same share of what is left.
        epochs: how many epochs of training lie between two rounds; with `max_drop`, each trial is
            trained so long after its last round too, before it is judged.
        distill: whether these epochs learn from the given model as well (see `FineTune`).
        heal: whether to heal after each cut.
        samples: how many training rows criteria and healing see.
        seed: which rows these are.
    """

    macs: float | None = None
    params: float | None = None
    ratio: float | None = None
    max_drop: float | None = None
    metric: str | None = None
    smallest: str = "macs"
    trials: int = 7
    sensitivity: bool | None = None
    by: str | Criterion = "taylor"
    scope: str = "global"
    round_to: int = 8
    floor: float = 0.1
    keep: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    rounds: int = 1
    epochs: int = 0
    distill: bool = False
    heal: bool = True
    samples: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the pruned model.

        Args:
            model: a built functional or Sequential model; it is untouched.
            data: for criteria on data, and for healing.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: nothing can be removed.
            DataError: the criterion needs data and there is none.
        """
        if self.max_drop is not None:
            return self._within_drop(model, data)
        given = model
        name, budgets = round_by_round(self)
        rank, measured = self._ranked(model, data)
        notes = [Note("sensitivity", "done", str(curve), curve.group) for curve in measured]
        before = measure(model)
        plans: list[Plan] = []
        stages: list[Stage] = []
        curves: list[tuple[str, Curve]] = []
        for number, budget in enumerate(budgets, start=1):
            start = time.perf_counter()
            x, y = (None, None) if data is None else data.train.sample(self.samples, seed=self.seed)
            made = self._plan(model, x, y, rank, {name: budget})
            smaller = cut(model, made)
            plans.append(made)
            suffix = f" {number}/{len(budgets)}" if len(budgets) > 1 else ""
            notes += [
                Note("prune", "done", f"{entry.change}, {entry.reason}", entry.group)
                for entry in made.cuts
            ]
            stages.append(Stage(f"cut{suffix}", smaller, time.perf_counter() - start))
            if self.heal and x is None:
                notes.append(Note("heal", "skipped", "there is no data to heal on"))
            elif self.heal:
                start = time.perf_counter()
                smaller, healed = heal(smaller, model, made, x, seed=self.seed)
                notes += [told(entry) for entry in healed]
                stages.append(Stage(f"healed{suffix}", smaller, time.perf_counter() - start))
            if self.epochs and number < len(budgets):
                between = self._tuned(smaller, data, given)
                smaller = between.model
                stages += [Stage(f"trained{suffix}", smaller, between.stages[-1].seconds)]
                curves += [(f"trained{suffix}", curve) for _, curve in between.curves]
            model = smaller
        return Result(
            model,
            before,
            measure(model),
            tuple(plans),
            tuple(notes),
            tuple(stages),
            tuple(curves),
            measured,
        )

    def _within_drop(self, model: keras.Model, data: Dataset | None) -> Result:
        """Return the smallest model that is good enough, and what was tried."""
        if data is None or not data.validation.rows:
            raise DataError(
                "max_drop needs validation rows to judge a model on, and there are none.",
                where="prune",
                mend="Pass a Dataset with a validation split, or give a budget: macs=0.5.",
            )
        whole = evaluate(model, data.validation)
        metric = self.metric or whole.headline[0]
        value = _points(whole, metric)
        rank, curves = self._ranked(model, data)
        notes = [Note("sensitivity", "done", str(curve), curve.group) for curve in curves]

        def attempt(share: float) -> tuple[Result, float]:
            trial = replace(
                self, max_drop=None, sensitivity=False, by=rank, **{self.smallest: share}
            )
            result = trial(model, data)
            if self.epochs:
                tuned = self._tuned(result.model, data, model)
                result = joined([result, tuned])
            return result, _points(evaluate(result.model, data.validation), metric)

        named = f"{metric} by {self.smallest} left"
        result, share, tried = cheapest(
            attempt, whole=value, max_drop=self.max_drop or 0.0, trials=self.trials, named=named
        )
        notes += notes_of(tried, share, named)
        return replace(result, notes=(*notes, *result.notes), sensitivities=curves)

    def _tuned(self, model: keras.Model, data: Dataset | None, teacher: keras.Model) -> Result:
        step = FineTune(epochs=self.epochs, distill=self.distill, seed=self.seed)
        return perform(step, model, data, teacher)

    def _ranked(
        self, model: keras.Model, data: Dataset | None
    ) -> tuple[str | Criterion, tuple[Sensitivity, ...]]:
        """Return the criterion, weighed by what was measured if that is asked for."""
        asked = self.sensitivity
        if asked is None:
            asked = self.max_drop is not None and self.rounds == 1
        if not asked:
            return self.by, ()
        if data is None:
            raise DataError(
                "sensitivity is measured on data with labels, and none was given.",
                where="prune",
                mend="Pass a Dataset, or switch it off: sensitivity=False.",
            )
        curves = sensitivity(
            model,
            data,
            by=self.by,
            heal=self.heal,
            round_to=self.round_to,
            floor=self.floor,
            keep=self.keep,
            kinds=self.kinds,
            samples=self.samples,
            seed=self.seed,
        )
        return calibrated(criterion(self.by), curves), curves

    def _plan(
        self, model: keras.Model, x: Any, y: Any, by: str | Criterion, budget: dict[str, Any]
    ) -> Plan:
        graph = trace(model)
        needs = needed(criterion(by))
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
            by=by,
            scope=self.scope,
            round_to=self.round_to,
            floor=self.floor,
            keep=self.keep,
            kinds=self.kinds,
            **budget,
        )


def told(entry: Any) -> Note:
    """Return what was done to one layer as a note."""
    share = "" if entry.explained is None else f", {entry.explained:.0%} of what was lost is back"
    kind = "skipped" if entry.done.startswith("left") else "done"
    return Note("heal", kind, f"{entry.done}{share}", entry.layer)


def _points(found: Metrics, metric: str) -> float:
    """Return one metric of those that are shares, the higher the better.

    Raises:
        PlanError: the task does not have it.
    """
    value = getattr(found, metric)
    if value is None:
        has = [name for name in METRICS if getattr(found, name) is not None]
        raise PlanError(
            f"a {found.task} with these classes has no {metric}.",
            where="prune",
            mend=f"Use metric={has[0]!r}." if len(has) == 1 else f"Use one of {', '.join(has)}.",
        )
    return value
