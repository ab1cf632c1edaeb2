"""Select: train the pruning network, so that a model learns which of its units it needs."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from secateur.cost.measure import measure
from secateur.cost.runtimes import TITLE
from secateur.cost.table import LatencyTable, latency_table
from secateur.errors import BudgetError, DataError
from secateur.formats.calls import uses
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.criteria import Criterion, criterion, needed, needs_labels
from secateur.planning.options import budget_of, held_by, kinds_of, sparing
from secateur.planning.plan import Plan, plan
from secateur.planning.scoring import scores_of
from secateur.steps.asked import check_dataset, check_healing
from secateur.steps.aware import Rounding
from secateur.steps.cutting import cut
from secateur.steps.gates import gates_by
from secateur.steps.healing import heal
from secateur.steps.network import STEP, PruningNetwork
from secateur.steps.order import GRIDS, NOTHING
from secateur.steps.prune import told
from secateur.steps.regions import regions
from secateur.steps.result import Note, Result, Stage
from secateur.steps.selecting import Selecting, Settle
from secateur.steps.selections import Rounded, check, rounding_of
from secateur.steps.timed import plan_for_latency
from secateur.steps.training import default_batch_size, fit

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset
    from secateur.graph.graph import Graph

# A table of latencies may be off by this much; the cut is measured.
_NEAR = 1.5
# The lowest and the highest logit that gates begin with: open, and ranked by the criterion.
_START = (0.5, 2.5)
_LEARNED = "selection is learned from"


@dataclass(frozen=True)
class Select:
    """Learn which units stay, together with the weights, so that a budget holds.

    A copy of the model is trained inside of a `PruningNetwork`: each unit that may go has a gate,
    and the loss adds what the open gates cost beyond the budget, by an augmented Lagrangian
    (Gallego-Posada et al. 2022, "Controlled Sparsity via Constrained Optimization"). Then the gates
    say which units go, under the same budget: they are cut for real, and the epochs left train
    what was chosen.

    Exactly one budget is given.

    Args:
        macs: the share of the multiply-adds that may be left.
        params: the share of the parameters that may be left.
        latency: the share of the measured latency that may be left. Gates are trained by what an
            element of each layer costs in a table of latencies; the cut is measured and corrected.
        runtime: with `latency`, on which runtime: `onnxruntime`, `openvino` or `litert`.
        batch: with `latency`, the rows of one call.
        threads: with `latency`, the threads that one call may use.
        gates: `hard_concrete`, `soft` or `top_k` (see `secateur.steps.gates`).
        by: the criterion that ranks the units before the training, by name or as a function.
        epochs: how often the training split is passed over.
        batch_size: rows a step; `None` chooses by the number of rows.
        learning_rate: the highest rate of the weights.
        gate_learning_rate: the highest rate of the gates' logits.
        class_weights: weigh classes alike, or by a mapping.
        augment: what to vary in the training rows.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays.
        keep: patterns of layers whose units stay.
        kinds: what may go; by default all kinds of units but `block` (see `plan`).
        quantize: whether to round weights and activations to eight bits while the gates are
            learned, by steps that are learned as well; normalization is folded first, and the
            result's `quantization` has the ranges. A mapping says how ranges are found to begin
            with, and what is not rounded: `calibration`, `equalize`, `correct_bias`,
            `reduce_range` and `keep` of `Quantize`.
        rewind: whether the units that are chosen go on from the weights of the given model (Renda,
            Frankle & Carbin 2020, "Comparing Rewinding and Fine-tuning in Neural Network Pruning"),
            cut and healed, or from those learned beside the gates; what is quantized always goes on
            from the latter.
        heal: whether to heal after the cut; what is quantized is not.
        samples: how many training rows the criterion and healing see.
        checkpoint: a folder that keeps the state after every epoch, and within.
        resume: go on from the state in `checkpoint`, if there is one.
        seed: gives the order of rows, the gates' draws, the variation and the dropout.
        verbose: show a progress bar.
    """

    macs: float | None = None
    params: float | None = None
    latency: float | None = None
    runtime: str = "onnxruntime"
    batch: int = 1
    threads: int = 1
    gates: str = "hard_concrete"
    by: str | Criterion = "l2"
    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float = 5e-4
    gate_learning_rate: float = 0.05
    class_weights: bool | Mapping[str, float] = False
    augment: bool | Mapping[str, Any] | None = None
    round_to: int = 8
    floor: float = 0.1
    keep: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    quantize: bool | Mapping[Rounded, Any] = False
    rewind: bool = True
    heal: bool = True
    samples: int = 512
    checkpoint: str | None = None
    resume: bool = False
    seed: int = 0
    verbose: bool = False

    spares: ClassVar[frozenset[str]] = NOTHING

    @property
    def leaves(self) -> str | None:
        """Return what later steps may not undo."""
        return GRIDS if self._rounds else None

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the model that was selected; the given one is untouched.

        Args:
            model: a built functional or Sequential model.
            data: what it learns from.

        Raises:
            BudgetError: the budget cannot be met, whatever is selected; nothing is trained.
            PlanError: nothing can be removed, or a pattern matches nothing.
            DataError: there is no data, or too little to heal on.
            ModelError: the model cannot be traced or does not fit the data, or the training
                diverged; the last good checkpoint stays.
        """
        if data is None:
            raise DataError("selection is learned from data.", where=STEP, mend="Pass a Dataset.")
        check_dataset(data, _LEARNED, STEP, model, labels=True)
        if self.heal and not self._rounds:
            check_healing(model, data, self.samples, STEP)
        selecting, before = self._selecting(model, data)
        size = self.batch_size or default_batch_size(data.train.rows)
        selecting.steps, selecting.epochs = math.ceil(data.train.rows / size), self.epochs
        start = time.perf_counter()
        _, curve = fit(
            selecting.graph.model,
            data,
            **self._training(self.epochs),
            until=selecting.until,
            checkpoint=self.checkpoint,
            callbacks=[Settle(selecting.choosing)],
            teaching=selecting,
        )
        result = selecting.network.finish()
        name, share = self._budget()
        expected = curve.metrics["left"][selecting.choosing - 1]
        notes = [
            Note(
                STEP,
                "done",
                f"{expected:.1%} of the {name} expected to be left where {share:.1%} may be, after "
                f"{selecting.choosing} epochs",
            ),
            *before,
            *result.notes,
        ]
        whole, smaller = selecting.network.whole(), result.model
        if selecting.only:
            whole, smaller = selecting.graph.model, cut(selecting.graph.model, result.plan)
        stages = [Stage("cut", smaller, time.perf_counter() - start)]
        curves = [("selected", curve)]
        if self.heal and not self._rounds and result.plan:
            start = time.perf_counter()
            x, _ = data.train.sample(self.samples, seed=self.seed)
            smaller, healed = heal(smaller, whole, result.plan, x, seed=self.seed)
            notes += [told(entry) for entry in healed]
            stages.append(Stage("healed", smaller, time.perf_counter() - start))
        if left := self.epochs - selecting.until:
            start = time.perf_counter()
            folder = self._folder(selecting.graph, result.plan)
            smaller, curve = fit(smaller, data, **self._training(left), checkpoint=folder)
            stages.append(Stage("fine-tuned", smaller, time.perf_counter() - start))
            curves.append(("fine-tuned", curve))
        return replace(
            result,
            model=smaller,
            before=measure(model),
            notes=tuple(notes),
            stages=tuple(stages),
            curves=tuple(curves),
        )

    def network(
        self, model: keras.Model, data: Dataset | None = None, *, steps: int
    ) -> PruningNetwork:
        """Return the pruning network around a copy of a model, to be trained as any Keras model.

        What `Select` says of training does not count then, but for how much faster gates learn than
        weights: `compile` and `fit` say the rest.

        Args:
            model: a built functional or Sequential model; it is untouched.
            data: for criteria on data, and for the ranges to start from.
            steps: after how many steps of training the gates are to be clear. With a `Settle`
                among the callbacks of `fit` they are settled then.

        Raises:
            BudgetError: the budget cannot be met, whatever is selected.
            PlanError: nothing can be removed, or a pattern matches nothing.
            DataError: there is no data where it is needed.
            ModelError: the model cannot be traced, or does not take such data.

        Example:
            >>> network = Select(macs=0.5).network(model, steps=1000)  # doctest: +SKIP
            >>> network.compile("adam", "sparse_categorical_crossentropy")  # doctest: +SKIP
            >>> network.fit(x, y, epochs=10)  # doctest: +SKIP
            >>> smaller = network.finish().model  # doctest: +SKIP
        """
        if data is not None:
            # What the network learns is the caller's to say.
            labels = needs_labels(criterion(self.by))
            check_dataset(data, _LEARNED, STEP, model, labels=labels)
        return self._selecting(model, data)[0].around(steps)

    def _selecting(
        self, model: keras.Model, data: Dataset | None
    ) -> tuple[Selecting, tuple[Note, ...]]:
        """Return what is to be trained, and notes of what was done to the model first."""
        name, share = self._budget()
        rounding, notes = None, ()
        if self._rounds and data is None:
            raise DataError("ranges start from data.", where=STEP, mend="Pass a Dataset.")
        if self._rounds:
            quantized = rounding_of(self)(model, data)
            model, notes = quantized.model, quantized.notes
            assert quantized.quantization is not None
            chosen = regions(uses(model)[0], quantized.quantization.kept)
            rounding = Rounding(quantized.quantization, chosen)
        graph = trace(model)
        rank = criterion(self.by)
        rows = None
        if data is not None and needed(rank) > {"weights"}:
            x, y = data.train.sample(self.samples, seed=self.seed)
            rows = (x, y) if needs_labels(rank) else x
        stats = observe(graph, rows, needs=needed(rank), seed=self.seed)
        table = self._table(graph) if name == "latency" else None
        self._check_reach(graph, stats, rank, table)
        selecting = Selecting(
            graph,
            gates_by(self.gates),
            self._start(graph, rank, stats),
            _prices(graph, name, table),
            share=share,
            decide=partial(self._decide, graph),
            rounding=rounding,
            speed=self.gate_learning_rate / self.learning_rate,
            only=self.rewind and not self._rounds,
            seed=self.seed,
            asked=repr((name, self.runtime, self.batch, self.threads, self._options())),
        )
        return selecting, notes

    def _training(self, epochs: int) -> dict[str, Any]:
        """Return what `fit` is told of a training of so many epochs."""
        return {
            "epochs": epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "class_weights": self.class_weights,
            "augment": self.augment,
            "resume": self.resume,
            "seed": self.seed,
            "verbose": self.verbose,
        }

    def _folder(self, graph: Graph, made: Plan) -> Path | None:
        """Return where the state of training what was chosen is kept: a folder for each choice."""
        if self.checkpoint is None:
            return None
        name = hashlib.sha256(made.keep(graph).tobytes()).hexdigest()[:12]
        return Path(self.checkpoint) / f"chosen-{name}"

    def _budget(self) -> tuple[str, float]:
        return budget_of(macs=self.macs, params=self.params, latency=self.latency)

    def _options(self) -> dict[str, Any]:
        """Return what a plan is told beside its budget and criterion."""
        return {
            "round_to": self.round_to,
            "floor": self.floor,
            "keep": self.keep,
            "kinds": self.kinds,
        }

    @property
    def _rounds(self) -> bool:
        # A mapping without entries asks for rounding as well.
        return self.quantize is not False

    def _table(self, graph: Graph) -> LatencyTable:
        return latency_table(graph, runtime=self.runtime, batch=self.batch, threads=self.threads)

    def _check_reach(
        self, graph: Graph, stats: Any, rank: Criterion, table: LatencyTable | None
    ) -> None:
        """Refuse what no selection can meet before it is trained for."""
        name, share = self._budget()
        if table is None:
            plan(graph, stats, by=rank, **{name: share}, **self._options())
            return
        near = min(_NEAR * share, 0.999)
        try:
            plan(graph, stats, by=rank, latency=near, table=table, **self._options())
        except BudgetError as error:
            raise BudgetError(
                f"latency cannot fall to {share:.1%} on {TITLE[self.runtime]}: by what its layers "
                f"cost, not even {near:.1%} is within reach.",
                where="latency",
                mend=error.mend,
            ) from error

    def _start(self, graph: Graph, rank: Criterion, stats: Any) -> dict[str, np.ndarray]:
        """Return a logit for each unit of the groups that have gates, in the criterion's order."""
        allowed, held = kinds_of(graph, self.kinds), held_by(graph, self.keep)
        low, high = _START
        found = {}
        for group in (sparing(each, self.keep) for each in graph.groups if each.kind in allowed):
            if group.name not in held and group.free.any():
                place = np.argsort(np.argsort(scores_of(rank, group, stats), kind="stable"))
                found[group.name] = low + (high - low) * (place + 0.5) / len(group)
        return found

    def _decide(
        self, graph: Graph, wanted: Mapping[str, np.ndarray]
    ) -> tuple[Plan, tuple[Note, ...]]:
        """Return the plan that keeps what the gates want most, and what was measured for it."""

        def gates(group: Any, stats: Any) -> np.ndarray:
            return wanted.get(group.name, np.zeros(len(group)))

        # That a unit is missed more where fewer are left has been learned.
        gates.additive = True  # type: ignore[attr-defined]
        name, share = self._budget()
        stats = observe(graph)
        options: dict[str, Any] = {**self._options(), "by": gates}
        if name != "latency":
            return plan(graph, stats, **{name: share}, **options), ()
        timed = plan_for_latency(
            graph, stats, share, self.runtime, self.batch, self.threads, **options
        )
        return timed.plan, (Note(STEP, "done", timed.note),)


def _prices(graph: Graph, name: str, table: LatencyTable | None) -> dict[str, float]:
    """Return what an element of each weight costs."""
    parts = (*graph.weights.values(), *graph.products)
    if table is not None:
        return {
            part.key: table.cost(part.key, part.shape) / math.prod(part.shape)
            for part in parts
            if math.prod(part.shape)
        }
    if name == "macs":
        return {part.key: float(part.uses) for part in parts}
    return dict.fromkeys(graph.weights, 1.0)
