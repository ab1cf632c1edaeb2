"""Regularize: train with a penalty that drives whole units to zero, and cut for real what is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.cost.measure import measure
from secateur.errors import DataError, PlanError
from secateur.graph.trace import trace
from secateur.planning.options import budget_of, check_options
from secateur.steps.asked import (
    check_dataset,
    check_flags,
    check_healing,
    check_idle,
    check_kinds,
    check_names,
    check_trained,
    check_whole,
)
from secateur.steps.cutting import cut
from secateur.steps.emptied import close, outputs
from secateur.steps.healing import heal
from secateur.steps.order import NOTHING
from secateur.steps.prune import told
from secateur.steps.regularizing import PENALTIES, Regularizing, Settings
from secateur.steps.result import Note, Result, Stage
from secateur.steps.training import fit

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset
    from secateur.graph.graph import Graph
    from secateur.planning.plan import Plan

STEP = "regularize"
# GReg grows to a strength at which nothing is left; the others weigh against the loss throughout.
STRENGTHS = {"greg": 1.0}
STRENGTH = 1e-3
# Rows on which the cut model must give what it gave before.
_ROWS = 64


@dataclass(frozen=True)
class Regularize:
    """Train a copy of a model with a penalty, and cut the units that it has driven to zero.

    | penalty | drives to zero | paper |
    |---|---|---|
    | `group_lasso` | units: all their slices as one vector | Yuan & Lin 2006; Wen et al. 2016, \
"Learning Structured Sparsity in Deep Neural Networks" |
    | `slimming` | units: the scales (`gamma`) of their normalisations | Liu et al. 2017, \
"Learning Efficient Convolutional Networks through Network Slimming" |
    | `greg` | the units that a budget lets go, by a square penalty that grows | Wang et al. 2021, \
"Neural Pruning via Growing Regularization" |
    | `l1` | weights of the kernels, one by one | Tibshirani 1996 |
    | `elastic_net` | the same, half of it squared | Zou & Hastie 2005 |
    | `l2` | nothing exactly; makes small what the loss does not hold | Hoerl & Kennard 1970 |

    The penalty ends at `end` of the training. Then what is to go is taken away for good, and the
    rest of the training is without a penalty, so that what stays can take its place. What goes is
    what is zero, as far as `round_to` and `floor` let it; with a budget it is what meets the
    budget, the smallest units first: a penalty on units then pulls only at those that would go
    now, and the strength is raised on the way while too few are zero.

    Args:
        penalty: `group_lasso`, `slimming`, `greg`, `l1`, `elastic_net` or `l2`.
        strength: what the penalty adds to the gradient of the loss by one element: a norm counts
            with the root of its number of elements, so that small and large units are pulled alike.
            It acts once it is not small against those gradients, in a trained model 1e-4 to 1e-2.
            By default 1e-3. For `greg` it is what the strength grows to, by default 1.
        proximal: lay it on as a step of its own after that of the optimizer, so that zeros are
            exact; else its gradient is added to that of the loss.
        epochs: how often the training split is passed over, at most.
        end: the share of the training after which the penalty ends.
        batch_size: rows a step; `None` chooses by the number of rows.
        learning_rate: the highest rate.
        patience: stop after so many epochs without a better one, once the penalty has ended.
        class_weights: weigh classes alike, or by a mapping.
        augment: what to vary in the training rows.
        macs: the share of the multiply-adds that may be left.
        params: the share of the parameters that may be left.
        threshold: where zeros are not exact, a unit counts as zero whose norm is no larger than
            this share of the largest in its group.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays; the largest so many are not penalised.
        keep: patterns of layers whose units stay.
        kinds: what may go; by default all kinds of units but `block` (see `plan`).
        heal: whether to heal after the cut, where that changes what the model gives.
        samples: how many training rows healing sees.
        checkpoint: a folder that keeps the state after every epoch, and within.
        resume: go on from the state in `checkpoint`, if there is one.
        seed: gives the order of rows, the variation and the dropout.
        verbose: show a progress bar.
    """

    penalty: str = "group_lasso"
    strength: float | None = None
    proximal: bool = True
    epochs: int = 10
    end: float = 0.75
    batch_size: int | None = None
    learning_rate: float = 1e-3
    patience: int | None = None
    class_weights: bool | Mapping[str, float] = False
    augment: bool | Mapping[str, Any] | None = None
    macs: float | None = None
    params: float | None = None
    threshold: float = 0.01
    round_to: int = 8
    floor: float = 0.1
    keep: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    heal: bool = True
    samples: int = 512
    checkpoint: str | None = None
    resume: bool = False
    seed: int = 0
    verbose: bool = False

    spares: ClassVar[frozenset[str]] = NOTHING

    def __post_init__(self) -> None:
        check_whole(STEP, 1, epochs=self.epochs, samples=self.samples)
        check_flags(STEP, proximal=self.proximal, heal=self.heal)
        check_names(STEP, keep=self.keep)
        check_kinds(STEP, self.kinds)
        check_trained(self, STEP)
        check_idle(
            self,
            STEP,
            ("threshold",),
            f"is for zeros that are not exact, and those of {self.penalty} are",
            "give proximal=False",
            idle=self.settings().exact,
        )

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the smaller model; the given one is untouched.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: nothing can be penalised or removed, or a pattern matches nothing.
            DataError: there is no data, it is no Dataset, or it has too few rows to heal on.
            ModelError: the model cannot be traced or does not fit the data, or the training
                diverged.
        """
        if data is None:
            raise DataError("a penalty needs training.", where=STEP, mend="Pass a Dataset.")
        check_dataset(data, "a penalty is trained on", STEP, model, labels=True)
        if self.heal:
            check_healing(model, data, self.samples, STEP)
        start = time.perf_counter()
        graph = trace(model)
        before = measure(model)
        guide = Regularizing(graph, self.settings())
        trained, curve = fit(
            graph.model,
            data,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            class_weights=self.class_weights,
            augment=self.augment,
            checkpoint=self.checkpoint,
            resume=self.resume,
            seed=self.seed,
            verbose=self.verbose,
            guide=guide,
        )
        told = f"{curve.epochs} epochs, epoch {curve.best + 1} kept"
        notes = [Note(STEP, "done", told)]
        notes += [
            Note(STEP, "skipped", f"{self.penalty} sees none of its weights", name)
            for name in guide.unseen
        ]
        made = guide.plan()
        notes += self._told(guide, made)
        stages = [Stage("regularized", trained, time.perf_counter() - start)]
        final = trained
        if made.cuts:
            start = time.perf_counter()
            final = cut(trained, made)
            stages.append(Stage("cut", final, time.perf_counter() - start))
            start = time.perf_counter()
            healed, more = self._healed(graph, trained, final, made, data)
            notes += more
            if healed is not final:
                final = healed
                stages.append(Stage("healed", final, time.perf_counter() - start))
        return Result(
            final,
            before=before,
            after=measure(final),
            plans=(made,) if made.cuts else (),
            notes=tuple(notes),
            stages=tuple(stages),
            curves=(("regularized", curve),),
        )

    def settings(self) -> Settings:
        """Check the options, and return those that say how the penalty works."""
        if self.penalty not in PENALTIES:
            raise PlanError(
                f"there is no penalty {self.penalty!r}.",
                where="penalty",
                mend=f"Use one of {', '.join(PENALTIES)}.",
            )
        strength = self.strength
        if strength is None:
            strength = STRENGTHS.get(self.penalty, STRENGTH)
        for name, value, most in (
            ("strength", strength, float("inf")),
            ("end", self.end, 1.0),
            ("threshold", self.threshold, 1.0),
        ):
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not (0 < value <= most and value < float("inf"))
            ):
                raise PlanError(
                    f"{name} must be above 0{' and at most 1' if most == 1 else ''}, "
                    f"received {value!r}.",
                    where=name,
                    mend="Give a number in that range.",
                )
        check_options("global", self.round_to, self.floor)
        budget = None
        if self.macs is not None or self.params is not None:
            budget = budget_of(macs=self.macs, params=self.params)
        if self.penalty == "greg" and budget is None:
            raise PlanError(
                "greg lets those units go that a budget says, and there is none.",
                where="penalty",
                mend="Give macs=0.5, or use group_lasso.",
            )
        return Settings(
            penalty=self.penalty,
            strength=float(strength),
            proximal=self.proximal,
            threshold=self.threshold,
            end=self.end,
            budget=budget,
            round_to=self.round_to,
            floor=self.floor,
            keep=tuple(self.keep),
            kinds=None if self.kinds is None else tuple(self.kinds),
        )

    def _told(self, guide: Regularizing, made: Plan) -> list[Note]:
        """Tell for each group how many units are zero and what is cut."""
        cuts, zeros = {each.group: each for each in made.cuts}, guide.zeros
        notes = []
        for units in guide.penalty.units:
            name, count = units.group.name, zeros[units.group.name]
            gone = len(cuts[name].remove) if name in cuts else 0
            if not gone and not count:
                continue
            said = f"{count} of {len(units.group)} units went to zero"
            if gone > count:
                said += f", {gone - count} more go for the budget"
            if gone:
                said += f", {cuts[name].change}"
            if count > gone:
                why = (
                    "the budget is met"
                    if made.asked
                    else f"widths are multiples of {self.round_to}"
                )
                said += f", {count - gone} of the zeros stay: {why}"
            notes.append(Note(STEP, "done" if gone else "skipped", said, name))
        if not any(zeros.values()) and not made.cuts:
            notes.append(
                Note(
                    STEP,
                    "skipped",
                    "no unit went to zero, so nothing is cut: raise strength "
                    f"(now {self.settings().strength:g}) or epochs, or give a budget",
                )
            )
        elif not made.cuts:
            notes.append(Note(STEP, "skipped", "nothing is cut; a smaller round_to would cut more"))
        return notes

    def _healed(
        self, graph: Graph, trained: keras.Model, smaller: keras.Model, made: Plan, data: Dataset
    ) -> tuple[keras.Model, list[Note]]:
        """Return the cut model, healed if it gives something else than before."""
        x, _ = data.train.sample(_ROWS, seed=self.seed)
        if close(outputs(smaller, x), outputs(trained, x)):
            return smaller, [
                Note("heal", "skipped", "the cut changes nothing that the model gives")
            ]
        mixing = graph.mixing(made.keep(graph))
        why = "the cut changes what the model gives"
        if mixing:
            why += f": {', '.join(mixing[:3])} normalise across units that went"
        notes = [Note(STEP, "done", why)]
        if not self.heal:
            return smaller, notes
        x, _ = data.train.sample(self.samples, seed=self.seed)
        healed, done = heal(smaller, trained, made, x, seed=self.seed)
        return healed, [*notes, *(told(each) for each in done)]
