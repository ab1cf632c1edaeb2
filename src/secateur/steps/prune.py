"""Prune: observe, plan, cut and heal, at once or in rounds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.cost.measure import measure
from secateur.errors import DataError
from secateur.graph.functional import laid_out
from secateur.models.load import load_model
from secateur.planning.criteria import Criterion, criterion, needs_labels
from secateur.planning.plan import Plan
from secateur.planning.schedules import Schedule
from secateur.planning.sensitivity import Sensitivity, calibrated
from secateur.steps.asked import SEARCH, check_dataset
from secateur.steps.budgets import check, left_after_rounds
from secateur.steps.cutting import cut
from secateur.steps.finetune import FineTune
from secateur.steps.healing import heal
from secateur.steps.judge import judged_by
from secateur.steps.order import NOTHING, ZEROS
from secateur.steps.result import Note, Result, Stage, joined, perform
from secateur.steps.rounds import Rounds, check_same
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
        bytes: the share of the weights' stored bytes that may be left.
        latency: the share of the measured latency that may be left (see `plan_for_latency`).
        runtime: with `latency`, on which runtime: `onnxruntime`, `openvino` or `litert`.
        batch: with `latency`, the rows of one call.
        threads: with `latency`, the threads that one call may use.
        ratio: the share of the units that goes.
        max_drop: how many points (hundredths) of `metric` on the validation rows may be lost; the
            smallest model that loses no more is searched for.
        metric: `accuracy`, `balanced_accuracy`, `macro_f1`, `auc` or `r2`; by default `r2` for a
            value and `accuracy` for classes.
        smallest: with `max_drop`, what is to be smallest: `macs`, `params`, `bytes` or `latency`.
        trials: with `max_drop`, how many budgets are tried at most.
        sensitivity: whether to measure first how much each group matters, and to weigh its scores
            by that; by default with `max_drop` and one round.
        by: the criterion, by name or as a function `(group, stats) -> scores`.
        scope: `global` lets groups compete, `local` takes the same share from each.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays.
        keep: patterns of layers whose units stay.
        kinds: what may go; by default all kinds of units but `block` (see `plan`).
        rounds: in how many rounds the budget is reached.
        schedule: how much of what goes has gone after each round, by name or as a function
            progress -> share; without one, each round leaves the same share of what it is given.
        epochs: how many epochs of training lie between two rounds; with `max_drop`, each trial is
            trained so long after its last round too, before it is judged.
        distill: whether these epochs learn from the given model as well (see `FineTune`).
        rewind: a file of the same model early in its training. What is cut takes its weights from
            there, to be trained anew (Frankle et al. 2020, "Linear Mode Connectivity and the
            Lottery Ticket Hypothesis"); it is not healed.
        heal: whether to heal after each cut.
        samples: how many training rows criteria and healing see.
        seed: which rows these are, and what `random` chooses.
    """

    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    latency: float | None = None
    runtime: str = "onnxruntime"
    batch: int = 1
    threads: int = 1
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
    schedule: str | Schedule | None = None
    rewind: str | Path | None = None
    epochs: int = 0
    distill: bool = False
    heal: bool = True
    samples: int = 512
    seed: int = 0

    @property
    def spares(self) -> frozenset[str]:
        """Return what this does not undo: healing and training fill zeros again."""
        return NOTHING if self.heal or self.epochs else frozenset({ZEROS})

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the pruned model.

        Args:
            model: a built functional or Sequential model; it is untouched.
            data: for criteria on data, and for healing.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: nothing can be removed, or `rewind` names a file of another model.
            DataError: the criterion needs data and there is none, or data is no Dataset.
            ModelError: the model does not fit the data, or cannot be followed.
        """
        if data is not None:
            judged = self.max_drop is not None or self.sensitivity or self.epochs > 0
            labels = bool(judged) or needs_labels(criterion(self.by))
            check_dataset(data, "criteria and healing look at", "prune", model, labels=labels)
        elif self.epochs:
            raise DataError(
                "training between rounds needs data.", where="prune", mend="Pass a Dataset."
            )
        model = laid_out(model)
        if self.max_drop is not None:
            return self._within_drop(model, data)
        given, early = model, self._early(model)
        name, left = left_after_rounds(self)
        rank, measured = self._ranked(model, data)
        notes = [Note("sensitivity", "done", str(curve), curve.group) for curve in measured]
        before = measure(model)
        plans: list[Plan] = []
        stages: list[Stage] = []
        curves: list[tuple[str, Curve]] = []
        x, y = (None, None) if data is None else data.train.sample(self.samples, seed=self.seed)
        reached = 1.0
        rounds = Rounds(self, model, x, y, rank, name, tuple(left))
        for number, target in enumerate(left, start=1):
            suffix = f" {number}/{len(left)}" if len(left) > 1 else ""
            # An earlier round may have left less than it was allowed to.
            if target >= reached:
                notes.append(Note("prune", "skipped", f"round{suffix}: as little is left already"))
                continue
            start = time.perf_counter()
            made, timed = rounds.plan(model, number, reached)
            whole, smaller = model, cut(model if early is None else early, made)
            reached = rounds.reached(made, timed, reached, whole, smaller)
            plans.append(made)
            notes += [
                Note("prune", "done", f"{entry.change}, {entry.reason}", entry.group)
                for entry in made.cuts
            ]
            notes += [] if timed is None else [Note("prune", "done", timed.note)]
            stage = "cut" if early is None else "rewound"
            stages.append(Stage(f"{stage}{suffix}", smaller, time.perf_counter() - start))
            if early is not None:
                early = smaller
                notes.append(Note("heal", "skipped", "weights of early in training are trained"))
            elif self.heal and x is None:
                notes.append(Note("heal", "skipped", "there is no data to heal on"))
            elif self.heal:
                start = time.perf_counter()
                smaller, healed = heal(smaller, whole, made, x, seed=self.seed)
                notes += [told(entry) for entry in healed]
                stages.append(Stage(f"healed{suffix}", smaller, time.perf_counter() - start))
            if self.epochs and number < len(left):
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
        judge, whole, metric = judged_by(model, data, self.metric, "prune")
        self._early(model)
        rank, curves = self._ranked(model, data)
        notes = [Note("sensitivity", "done", str(curve), curve.group) for curve in curves]

        # After a last round the search trains itself.
        between: dict[str, Any] = {} if self.rounds > 1 else {"epochs": 0, "distill": False}
        between |= {name: getattr(Prune, name) for name in SEARCH}

        def attempt(share: float) -> tuple[Result, float]:
            trial = replace(
                self, max_drop=None, sensitivity=False, by=rank, **between, **{self.smallest: share}
            )
            result = trial(model, data)
            if self.epochs:
                tuned = self._tuned(result.model, data, model)
                result = joined([result, tuned])
            return result, judge(result.model)

        named = f"{metric} by {self.smallest} left"
        result, share, tried = cheapest(
            attempt, whole=whole, max_drop=self.max_drop or 0.0, trials=self.trials, named=named
        )
        notes += notes_of(tried, share, named)
        tried = tuple(replace(each, chosen=each.share == share) for each in tried)
        return replace(result, notes=(*notes, *result.notes), sensitivities=curves, tried=tried)

    def _early(self, model: keras.Model) -> keras.Model | None:
        """Return the model whose weights are gone back to, if that is asked for."""
        if self.rewind is None:
            return None
        early = load_model(self.rewind)
        check_same(early, model, self.rewind)
        return early

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


def told(entry: Any) -> Note:
    """Return what was done to one layer as a note."""
    share = "" if entry.explained is None else f", {entry.explained:.0%} of what was lost is back"
    kind = "skipped" if entry.done.startswith("left") else "done"
    return Note("heal", kind, f"{entry.done}{share}", entry.layer)
