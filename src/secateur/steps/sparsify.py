"""Sparsify: zeros in the kernels while the model trains; its shape stays, but for empty units."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from keras import tree

from secateur.cost.measure import measure
from secateur.cost.runtimes import check_runtime
from secateur.errors import DataError, PlanError
from secateur.graph.functional import functional_of
from secateur.graph.trace import trace
from secateur.graph.weights import copied, to_numpy
from secateur.planning.patterns import Layout, NofM, Pattern, Unstructured
from secateur.planning.rewiring import METHODS
from secateur.planning.schedules import Schedule, one_shot
from secateur.steps.asked import check_dataset
from secateur.steps.emptied import cut_empty
from secateur.steps.masking import Masking, Settings, masks_for
from secateur.steps.order import ZEROS
from secateur.steps.result import Note, Result, Stage
from secateur.steps.sparsities import settings_of
from secateur.steps.training import Curve, fit
from secateur.steps.zeros import STEP, counted, on_disk, on_the_clock

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset
    from secateur.graph.graph import Graph
    from secateur.planning.plan import Plan

# Rows on which a model without its empty units must give what it gave with them.
_ROWS = 64


@dataclass(frozen=True)
class Sparsify:
    """Train a copy of a model in which more and more weights are zero, and stay it.

    Masked are the trainable kernels of rank two and more: dense, convolutional, attention and
    recurrent ones, not biases, normalisations or embeddings. The masks are constraints, after any
    constraint of the weight's own; the finished model has none of them, nor any custom object.

    Args:
        sparsity: the share of zeros, between 0 and 1; N:M patterns say it themselves.
        pattern: `Unstructured`, `NofM` or `Block`, of `secateur.planning.patterns`.
        schedule: how sparsity grows, by name or as a function progress -> share; `cubic` by
            default. Of the method `gradual` alone.
        every: steps between two updates of the masks; by default 10, and 100 for `set` and `rigl`.
        end: the share of the training after which the masks stay as they are.
        by: what says which weights go: `magnitude`, or `movement` (Sanh et al. 2020).
        method: `gradual` lets sparsity grow (Zhu & Gupta 2017). `set` (Mocanu et al. 2018) and
            `rigl` (Evci et al. 2020) have all zeros from the start and move them: at each update
            the smallest weights go, and as many come by chance or where gradients are largest. New
            weights start at zero, so an update takes only what is small from the function.
        drop: the share of the active weights that `set` and `rigl` move at the first update; it
            falls to nothing as half a cosine.
        epochs: how often the training split is passed over, at most; 0 masks by magnitude and
            trains nothing, which needs no data.
        batch_size: rows a step; `None` chooses by the number of rows.
        learning_rate: the highest rate.
        patience: stop after so many epochs without a better one, once the masks stay.
        class_weights: weigh classes alike, or by a mapping.
        augment: what to vary in the training rows.
        keep: patterns (`fnmatch`) of layers or weights that stay dense.
        also: patterns of weights that are masked though they are no kernels, such as embeddings.
        cut_empty: cut units for real that masks have left empty. The biases and scales of a unit
            of which no kernel is left are masked as well, with the last update.
        round_to: widths after that cut are multiples of it.
        runtime: `onnxruntime`, `openvino` or `litert` to measure what the zeros buy in time.
        checkpoint: a folder that keeps the state after every epoch, and within.
        resume: go on from the state in `checkpoint`, if there is one.
        seed: gives the order of rows, the variation, the dropout and the chance of `set`.
        verbose: show a progress bar.
    """

    sparsity: float | None = None
    pattern: Pattern = field(default_factory=Unstructured)
    schedule: str | Schedule | None = None
    every: int | None = None
    end: float = 0.75
    by: str = "magnitude"
    method: str = "gradual"
    drop: float = 0.3
    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float = 5e-4
    patience: int | None = None
    class_weights: bool | Mapping[str, float] = False
    augment: bool | Mapping[str, Any] | None = None
    keep: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    cut_empty: bool = True
    round_to: int = 8
    runtime: str | None = None
    checkpoint: str | None = None
    resume: bool = False
    seed: int = 0
    verbose: bool = False

    leaves: ClassVar[str] = ZEROS
    spares: ClassVar[frozenset[str]] = frozenset({ZEROS})

    def __post_init__(self) -> None:
        self.settings()
        if self.runtime is not None:
            check_runtime(self.runtime)

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the model with zeros; the given one is untouched.

        Raises:
            PlanError: a pattern of names matches nothing, or no weight can be masked.
            DataError: there is no data to train on, or it is no Dataset.
            ModelError: the model cannot be traced or does not fit the data, or the training
                diverged.
        """
        settings = self.settings()
        if self.epochs and data is None:
            raise DataError(
                "training with masks needs data.",
                where=STEP,
                mend="Pass a Dataset, or mask without training: epochs=0.",
            )
        if data is not None:
            check_dataset(data, "masks are trained on", STEP, model, labels=self.epochs > 0)
        start = time.perf_counter()
        graph = trace(model)
        layouts = kernels_of(graph, self.keep, self.also)
        before = measure(model)
        sparse, curve, notes = self._masked(graph, layouts, settings, data)
        sparse_cost = measure(sparse)
        now = graph.variables_of(sparse)
        values = {key: to_numpy(now[key]) for key in layouts}
        notes = [
            *counted(values, sparse_cost.parameters),
            *_left_dense(values, self.pattern),
            *notes,
        ]
        stages = [Stage("sparse", sparse, time.perf_counter() - start)]
        start = time.perf_counter()
        finished, plans = sparse, ()
        if self.cut_empty:
            x = _rows(graph, data, self.seed)
            finished, plans = cut_empty(sparse, x, round_to=self.round_to)
            notes.append(_told(plans))
        if plans:
            stages.append(Stage("cut", finished, time.perf_counter() - start))
        notes.append(on_disk(graph.model, finished))
        smaller = finished if plans else None
        notes.append(on_the_clock(graph.model, sparse, self.runtime, smaller))
        return Result(
            finished,
            before=before,
            after=measure(finished) if plans else sparse_cost,
            plans=plans,
            notes=tuple(notes),
            stages=tuple(stages),
            curves=() if curve is None else (("sparse", curve),),
        )

    def _masked(
        self,
        graph: Graph,
        layouts: Mapping[str, Layout],
        settings: Settings,
        data: Dataset | None,
    ) -> tuple[keras.Model, Curve | None, list[Note]]:
        """Return a copy of the model with its zeros, trained where it is to be."""
        notes: list[Note] = []
        if self.epochs and data is not None:
            masking = Masking(graph, layouts, settings)
            sparse, curve = fit(
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
                guide=masking,
            )
            masks = masking.masks
            told = f"{curve.epochs} epochs, epoch {curve.best + 1} kept"
            notes.append(Note(STEP, "done", f"{told}, masks set {masking.updates} times"))
            if masking.last == 0 and self.schedule not in ("one_shot", one_shot):
                short = f"training has fewer steps than {settings.every / self.end:g}"
                lost = "no weight moved" if self.method in METHODS else "all zeros came at once"
                notes.append(Note(STEP, "skipped", f"{lost}: {short}; give a smaller `every`"))
        else:
            curve, sparse = None, copied(graph.model)
            values = {key: to_numpy(graph.variables[key]) for key in layouts}
            dense = {key: np.ones(value.shape, bool) for key, value in values.items()}
            masks = masks_for(values, dense, values, layouts, settings, 1.0)
        variables = graph.variables_of(sparse)
        for key, mask in masks.items():
            # A product with a mask leaves zeros with a sign, which compress worse.
            variables[key].assign(np.where(mask, to_numpy(variables[key]), 0))
        return sparse, curve, notes

    def settings(self) -> Settings:
        """Check the options, and return those that say how masks come about."""
        return settings_of(self)


def kernels_of(
    graph: Graph, keep: tuple[str, ...] = (), also: tuple[str, ...] = ()
) -> dict[str, Layout]:
    """Return the kernels to mask by their keys, each with its layout.

    Args:
        graph: a traced model.
        keep: patterns of layers or weights that stay dense.
        also: patterns of weights that are masked though they are no kernels.

    Raises:
        PlanError: a pattern matches nothing, or nothing is left.
    """
    ranked = {
        key: weight
        for key, weight in graph.weights.items()
        if graph.variables[key].trainable and len(graph.variables[key].shape) >= 2
    }

    def named(key: str, pattern: str) -> bool:
        return fnmatch(key, pattern) or fnmatch(key.rpartition("/")[0], pattern)

    for where, patterns in (("keep", keep), ("also", also)):
        for pattern in patterns:
            if not any(named(key, pattern) for key in ranked):
                raise PlanError(
                    f"the pattern {pattern!r} matches no trainable weight of rank two or more.",
                    where=where,
                    mend=f"They are named like {', '.join(list(ranked)[:3]) or 'nothing'}.",
                )
    found = {}
    for key, weight in ranked.items():
        name = key.rpartition("/")[2]
        wanted = "kernel" in name or any(named(key, pattern) for pattern in also)
        if wanted and not any(named(key, pattern) for pattern in keep):
            # Blocks that a weight is in are axes after its own.
            found[key] = Layout.of(name, weight.roles[: len(graph.variables[key].shape)])
    if not found:
        raise PlanError(
            "no weight of this model can be masked: it has no trainable kernel"
            + (", those aside that stay." if keep else "."),
            where=graph.model.name,
            mend="Check `keep` and the layers' `trainable`.",
        )
    return found


def _left_dense(values: Mapping[str, np.ndarray], pattern: Pattern) -> list[Note]:
    """Tell which kernels a pattern could not be laid on."""
    dense = [key for key, value in values.items() if not (value == 0).any()]
    why = f"fewer than {pattern.m} inputs" if isinstance(pattern, NofM) else "no weight went"
    return [Note(STEP, "skipped", f"left dense: {why}", key) for key in dense]


def _rows(graph: Graph, data: Dataset | None, seed: int) -> Any:
    if data is not None:
        return data.train.sample(_ROWS, seed=seed)[0]
    rng = np.random.default_rng(seed)

    def drawn(tensor: Any) -> np.ndarray:
        shape = (_ROWS, *(graph.open_length or 1 if n is None else n for n in tensor.shape[1:]))
        # Integers are codes, and two of them are in every vocabulary.
        whole = "int" in str(tensor.dtype)
        values = rng.integers(0, 2, shape) if whole else rng.standard_normal(shape)
        return values.astype(str(tensor.dtype))

    return tree.map_structure(drawn, functional_of(graph.model).input)


def _told(plans: tuple[Plan, ...]) -> Note:
    if not plans:
        return Note(STEP, "skipped", "no unit is empty, so nothing can be cut for real")
    told = ", ".join(f"{entry.group} {entry.change}" for plan in plans for entry in plan.cuts)
    return Note(STEP, "done", f"empty units cut for real: {told}")
