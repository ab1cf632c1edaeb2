"""Factorize: layers of low rank as products of smaller ones, where that measures faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.cost.measure import measure
from secateur.cost.runtimes import check_runtime
from secateur.cost.stacks import check_stacks
from secateur.errors import BudgetError, PlanError
from secateur.graph.trace import trace
from secateur.planning.options import budget_of
from secateur.planning.ranks import COSTS, Choice
from secateur.steps.asked import (
    check_dataset,
    check_drop,
    check_flags,
    check_idle,
    check_names,
    check_whole,
    is_number,
)
from secateur.steps.factorable import subjects_of, told
from secateur.steps.factors import METHODS, forms_of
from secateur.steps.inputs import Watched, watched
from secateur.steps.judge import judged_by
from secateur.steps.latency import within_latency
from secateur.steps.order import NOTHING
from secateur.steps.ranking import STEP, Ranking
from secateur.steps.result import Note, Result, Stage
from secateur.steps.search import Trial, cheapest, notes_of
from secateur.steps.subject import Subject

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset

Choices = dict[str, Choice]


@dataclass(frozen=True)
class Factorize:
    """Write dense layers, projections, tables and convolutions as products of smaller ones.

    Dense, EinsumDense (the projections of attentions, which are laid open for it) and Embedding
    layers become two of their singular value decomposition. Convolutions become two by that of
    their patches (`svd`), two along the axes of space (`spatial`, Jaderberg et al. 2014), or three
    (`tucker`, Kim et al. 2016). The last of the layers has the bias and the activation. With data
    the error that counts is that of the layer's outputs, and the bias takes up the mean of what is
    lost.

    Exactly one of `energy`, `vbmf`, `macs`, `params`, `bytes`, `latency` and `max_drop` is given. A
    layer stays as it is where no rank makes it smaller, or where its factors do not measure faster;
    a note says so.

    Args:
        energy: the share of the mean square of each layer's output (without data: of its squared
            weights) that its factors give at least, between 0 and 1.
        vbmf: take the ranks that are above the noise of the weights (Nakajima et al. 2013).
        macs: the share of the model's multiply-adds that may be left.
        params: the share of its parameters that may be left.
        bytes: the share of their bytes that may be left.
        latency: the share of the model's measured latency that may be left: ranks are shared out by
            multiply-adds, and the factorized model is exported and timed until that holds.
        max_drop: how many points (hundredths) of `metric` on the validation rows may be lost; the
            smallest model that loses no more is searched for, without any training.
        metric: `accuracy`, `balanced_accuracy`, `macro_f1`, `auc` or `r2`; by default `r2` for a
            value and `accuracy` for classes.
        smallest: with `max_drop`, what is to be smallest: `macs`, `params`, `bytes` or `latency`.
        trials: with `max_drop`, how many budgets are tried at most.
        data_aware: whether factors are fitted to what the layers read, if there is data.
        conv: the method for convolutions, `svd`, `spatial` or `tucker`; `auto` takes the best of
            them, and `tucker` with `vbmf`.
        round_to: ranks are multiples of it.
        layers: patterns (`fnmatch`) of the layers that may be factorized; all of them if empty.
        keep: patterns of layers that stay as they are.
        faster: whether each layer is timed against its factors, and kept where they are slower.
            Where both are about as fast, the next run may decide otherwise; without it the same
            seed gives the same factors, as long as no latency is asked for.
        runtime: what is timed on, `onnxruntime` or `openvino`; without `faster` a latency may be
            asked of `litert` as well.
        batch: the rows of one timed call.
        threads: the threads that a timed call may use.
        samples: how many training rows are looked at; no labels are needed.
        seed: which rows these are.
    """

    energy: float | None = None
    vbmf: bool = False
    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    latency: float | None = None
    max_drop: float | None = None
    metric: str | None = None
    smallest: str = "macs"
    trials: int = 7
    data_aware: bool = True
    conv: str = "auto"
    round_to: int = 8
    layers: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    faster: bool = True
    runtime: str = "onnxruntime"
    batch: int = 1
    threads: int = 1
    samples: int = 512
    seed: int = 0

    spares: ClassVar[frozenset[str]] = NOTHING

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the model with factors in place of layers; the given one is untouched.

        Args:
            model: a built functional or Sequential model.
            data: for factors that are fitted to what the layers read, and for `max_drop`.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: nothing can be factorized, a pattern matches no layer, or the task does not
                have the metric.
            DataError: the data is no Dataset, has too few rows, or none to judge a model on.
            ModelError: the model cannot be traced or does not fit the data, or the runtime cannot
                run it.
        """
        if self.faster:
            check_stacks(self.runtime)
        judged = self.max_drop is not None
        if data is not None:
            check_dataset(data, "factors are fitted to", STEP, model, labels=judged)
        start = time.perf_counter()
        judging = None
        if judged:
            judging = judged_by(model, data, self.metric, STEP)
        graph = trace(model)
        subjects, notes = subjects_of(graph, self.layers, self.keep)
        seen = self._seen(graph, subjects, data, notes) if subjects else {}
        forms = {
            subject.path: forms_of(subject, seen.get(subject.path), self._methods)
            for subject in subjects
        }
        before = measure(model)
        ranking = Ranking(self, graph, subjects, forms, before, self._counted)
        notes += ranking.notes

        chosen: Choices = {}
        found: list[Note] = []
        tried: tuple[Trial, ...] = ()
        # A budget of what is counted says by how much it is missed where there is nothing to do.
        if any(ranking.options.values()) or self._name in COSTS:
            if judging is not None:
                chosen, found, tried = self._within_drop(ranking, *judging)
            else:
                chosen, found = self._held(self._name, self._share, ranking)
        notes += ranking.kept(chosen)
        if not chosen:
            said = "; ".join(str(note) for note in notes[:3])
            raise PlanError(
                "nothing in this model can be factorized.",
                where=model.name,
                mend=said or "It has no dense, convolutional or embedding layer.",
            )
        done = [
            Note(STEP, "done", ranking.said(path, chosen[path]) + told(graph, subject), path)
            for path, subject in ranking.subjects.items()
            if path in chosen
        ]
        smaller = ranking.build(chosen)
        stage = Stage("factorized", smaller, time.perf_counter() - start)
        return Result(
            smaller,
            before,
            measure(smaller),
            notes=(*done, *found, *notes),
            stages=(stage,),
            tried=tried,
        )

    @property
    def _name(self) -> str:
        """Return the name of what says the ranks."""
        return _given(self)[0]

    @property
    def _share(self) -> float | None:
        """Return the share of a cost that may be left, if that is asked for."""
        return getattr(self, self._name) if self._name in (*COSTS, "latency") else None

    @property
    def _counted(self) -> str | None:
        """Return the cost that ranks are shared out by, if there is a budget."""
        name = self.smallest if self.max_drop is not None else self._name
        if name == "latency":
            return "macs"
        return name if name in COSTS else None

    @property
    def _methods(self) -> tuple[str, ...]:
        if self.conv != "auto":
            return (self.conv,)
        return ("tucker",) if self.vbmf else METHODS

    def _seen(
        self, graph: Any, subjects: list[Subject], data: Dataset | None, notes: list[Note]
    ) -> dict[str, Watched]:
        """Return what layers read, by their paths, and say why it is not known of others."""
        if not self.data_aware:
            return {}
        if data is None:
            notes.append(Note(STEP, "skipped", "there is no data, so factors fit weights alone"))
            return {}
        x, _ = data.train.sample(self.samples, seed=self.seed)
        wanted = {id(subject.layer): subject.around for subject in subjects}
        found, seen = watched(graph, wanted, x, seed=self.seed), {}
        for subject in subjects:
            each = found[id(subject.layer)]
            if isinstance(each, str):
                notes.append(Note(STEP, "skipped", f"data is not used: {each}", subject.path))
                continue
            seen[subject.path] = each
            features = subject.weights.shape[1]
            if each.places < features:
                few = f"{each.places} places for {features} inputs"
                more = f"{each.needed} samples would give as many"
                notes.append(Note(STEP, "skipped", f"little data: {few}; {more}", subject.path))
        return seen

    def _held(self, name: str, share: float | None, ranking: Ranking) -> tuple[Choices, list[Note]]:
        """Return choices that hold what is asked for, and what was measured of them."""
        if name != "latency" or share is None:
            return ranking.chosen(share), []

        def least(refused: float) -> float:
            # Above it by what a rounding may take off.
            found = ranking.least() * (1 + 1e-9)
            if found < 1:
                return found
            raise BudgetError(
                f"latency cannot fall to {share:.1%}: no factors are faster than their layer.",
                where="latency",
                mend=f"Prune instead.{ranking.slower}",
            )

        chosen, timing = within_latency(
            ranking.graph.model,
            share,
            ranking.chosen,
            ranking.build,
            least,
            mend="Ask for that or more, allow lower ranks with round_to=, or prune first.",
            runtime=self.runtime,
            batch=self.batch,
            threads=self.threads,
            open_length=ranking.graph.open_length,
        )
        return chosen, [Note(STEP, "done", timing.told("choice of ranks"))]

    def _within_drop(
        self,
        ranking: Ranking,
        judge: Callable[[keras.Model], float],
        whole: float,
        metric: str,
    ) -> tuple[Choices, list[Note], tuple[Trial, ...]]:
        """Return the choices of the smallest model that is good enough, and what was tried."""

        def attempt(share: float) -> tuple[tuple[Choices, list[Note]], float]:
            chosen, measured = self._held(self.smallest, share, ranking)
            return (chosen, measured), judge(ranking.build(chosen))

        named = f"{metric} by {self.smallest} left"
        (chosen, measured), share, tried = cheapest(
            attempt,
            whole=whole,
            max_drop=self.max_drop or 0.0,
            trials=self.trials,
            named=named,
            step=STEP,
            mend="keep what is sensitive, or give a budget and train after it",
        )
        notes = [*measured, *notes_of(tried, share, named)]
        return chosen, notes, tuple(replace(each, chosen=each.share == share) for each in tried)


def _given(step: Factorize) -> list[str]:
    """Return the names of what says the ranks, of which there is to be one."""
    shares = (*COSTS, "latency", "max_drop")
    given = ["energy"] * (step.energy is not None) + ["vbmf"] * bool(step.vbmf)
    return given + [name for name in shares if getattr(step, name) is not None]


def _check(step: Factorize) -> None:
    """Refuse arguments that contradict each other or mean nothing, by name."""
    check_flags(STEP, vbmf=step.vbmf, data_aware=step.data_aware, faster=step.faster)
    given = _given(step)
    if len(given) != 1:
        raise BudgetError(
            f"one thing must say the ranks, received {', '.join(given) or 'none'}.",
            where=STEP,
            mend=f"Give one of energy, vbmf, {', '.join(COSTS)}, latency, max_drop.",
        )
    if step._share is not None:
        budget_of(**{given[0]: step._share})
    if "latency" in (given[0], step.smallest):
        (check_stacks if step.faster else check_runtime)(step.runtime)
    check_drop(step, STEP)
    check_idle(
        step,
        STEP,
        ("runtime", "batch", "threads"),
        "says where times are taken, and none are",
        "time layers (faster=True) or give latency=0.5 as the budget",
        idle=not step.faster and "latency" not in (given[0], step.smallest),
    )
    if step.energy is not None and not (is_number(step.energy) and 0 < step.energy < 1):
        raise PlanError(
            f"energy must be a share between 0 and 1, received {step.energy!r}.",
            where="energy",
            mend="0.95 leaves out a twentieth.",
        )
    if step.conv not in ("auto", *METHODS):
        raise PlanError(
            f"conv cannot be {step.conv!r}.",
            where="conv",
            mend=f"Use auto, {', '.join(METHODS)}.",
        )
    check_names(STEP, layers=step.layers, keep=step.keep)
    check_whole(STEP, 1, round_to=step.round_to, samples=step.samples)
    check_whole(STEP, 1, batch=step.batch, threads=step.threads)
    check_whole(STEP, 0, seed=step.seed)
